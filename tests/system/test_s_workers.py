# SPDX-License-Identifier: MIT
"""WORKERS above 1: processes that share the public listener under a supervisor. Whoever of them is killed, every 2xx is kept."""
import functools
import os
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest
from enginelib import EngineOracle, log_events
from reeldlib import TOKEN, Oracle, http_request, wait_until

# A lease of somebody who died runs out after 45 s: what is done sooner was taken back.
TAKEN_BACK_S = 30


def pids(reeld):
    """number → pid of the workers, as they were started last."""
    return {line["number"]: line["pid"] for line in log_events(reeld, "worker.started")}


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_ready(reeld):
    return log_events(reeld, "supervisor.ready")


def start(reeld):
    reeld.spawn()
    wait_until(lambda: all_ready(reeld) or not reeld.running, lambda: "all workers to be ready:\n" + reeld.process.output())
    assert reeld.running, reeld.process.output()
    return reeld


def metric(reeld, number, name):
    text = http_request(reeld.admin_port + number, "GET", "/metrics").body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def accepted(reeld, number):
    return metric(reeld, number, 'reeld_webhooks_total{endpoint="recording",status="200"')


def acknowledge(oracle, sids):
    """All at once, so that more than one worker is busy."""
    replies = []
    threads = [threading.Thread(target=lambda sid=sid: replies.append(oracle.post(sid))) for sid in sids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(reply is not None and reply.status == 200 for reply in replies), replies


def until_each(condition, oracle, workers, what):
    """Posts recordings until the condition holds for every worker."""
    sids = iter(oracle.recordings)

    def holds():
        acknowledge(oracle, [sid for sid, _ in zip(sids, range(8))])
        return all(condition(number) for number in range(workers))
    wait_until(holds, what)


class Senders:
    """Posts every recording, again until it is acknowledged: who asks a worker that is killed gets no answer, like Twilio."""

    def __init__(self, oracle, count=4):
        self.oracle, self.todo = oracle, list(oracle.recordings)
        self.lock = threading.Lock()
        self.refused = []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]

    def run(self):
        while True:
            with self.lock:
                if not self.todo:
                    return
                sid = self.todo.pop()
            reply = self.oracle.post(sid)
            if reply is None or reply.status != 200:
                with self.lock:
                    self.todo.append(sid)
                    if reply is not None:
                        self.refused.append(reply)
            time.sleep(0.005)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        with self.lock:
            self.todo.clear()
        for thread in self.threads:
            thread.join(30)

    def finish(self):
        wait_until(lambda: self.oracle.acknowledged == set(self.oracle.recordings), lambda: f"{len(self.todo)} callbacks to be acknowledged")


def test_every_worker_serves_requests_and_each_private_listener_shows_all_recordings(sandbox, daemon):
    peer = sandbox(count=400, size=2000)
    reeld = start(daemon(peer, WORKERS=3))
    oracle = Oracle(reeld, peer)
    until_each(lambda number: accepted(reeld, number) > 0, oracle, 3, "all to serve")
    oracle.settle()
    oracle.check()
    assert sum(accepted(reeld, number) for number in range(3)) == len(oracle.acknowledged)
    for number in range(3):
        shown = {item["sid"] for item in http_request(reeld.admin_port + number, "GET", "/api/recordings?limit=100").json["recordings"]}
        assert shown <= oracle.acknowledged and len(shown) == min(100, len(oracle.acknowledged))
    assert {line["worker"] for line in reeld.logs() if line["event"] == "reeld.started"} == {0, 1, 2}
    assert {Path(f"/proc/{pid}/comm").read_text(encoding="utf-8") for pid in pids(reeld).values()} == {"reeld\n"}
    assert reeld.command("healthcheck").returncode == 0
    assert reeld.stop() == 0
    assert not reeld.leftovers()


def kill_workers_under_load(reeld, oracle, kills, dice):
    with Senders(oracle) as senders:
        for _ in range(kills):
            time.sleep(dice.uniform(0.05, 0.4))
            victim = dice.randrange(3)
            pid = pids(reeld)[victim]
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda victim=victim, pid=pid: pids(reeld)[victim] != pid, f"worker {victim} to be started again")
        senders.finish()
    assert all(reply.status == 503 for reply in senders.refused), senders.refused
    oracle.settle(TAKEN_BACK_S)
    oracle.check()
    wait_until(lambda: [alive(pid) for pid in pids(reeld).values()] == [True] * 3, "three workers")
    assert reeld.running and reeld.stop() == 0


def test_kill_nine_of_random_workers_under_load_loses_nothing(sandbox, daemon):
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    peer = sandbox(count=300, size=20000, fault="500,truncate,reset:0.05")
    reeld = start(daemon(peer, WORKERS=3, MAX_ATTEMPTS="50"))
    kill_workers_under_load(reeld, Oracle(reeld, peer), 6, random.Random(seed))
    ended = log_events(reeld, "worker.ended")
    assert len(ended) == 6 and {line["signal"] for line in ended} == {9}, ended


def test_kill_nine_of_random_workers_on_postgres_loses_nothing(sandbox, space, replica):
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    peer = sandbox(count=150, size=20000)
    reeld = start(replica(space, peer, WORKERS=3, MAX_ATTEMPTS="50"))
    kill_workers_under_load(reeld, EngineOracle(reeld, peer), 4, random.Random(seed))


def test_a_restarted_worker_takes_its_leases_back(sandbox, daemon):
    peer = sandbox(count=6, fault="stall", fault_attempts=1, stall="60s")
    reeld = start(daemon(peer, WORKERS=2, LOG_LEVEL="debug"))
    oracle = Oracle(reeld, peer)
    acknowledge(oracle, oracle.recordings)
    wait_until(lambda: peer.stats()["faults"]["stall"] == 6, "all downloads to stand still")
    for pid in pids(reeld).values():
        os.kill(pid, signal.SIGKILL)
    oracle.settle(TAKEN_BACK_S)
    oracle.check()
    assert log_events(reeld, "lease.reclaimed")
    assert {row["lease_epoch"] for row in reeld.query("SELECT lease_epoch FROM recordings")} == {1}, "leased anew instead of taken back"


def stalled(sandbox, daemon, stall, **env):
    peer = sandbox(count=4, fault="stall", fault_attempts=1, stall=stall)
    reeld = start(daemon(peer, WORKERS=2, **env))
    oracle = Oracle(reeld, peer)
    acknowledge(oracle, oracle.recordings)
    wait_until(lambda: peer.stats()["faults"]["stall"] == 4, "all downloads to stand still")
    return reeld, oracle


@pytest.mark.parametrize("whole_group", [False, True])
def test_sigterm_lets_all_workers_finish(sandbox, daemon, whole_group):
    """Service managers and terminals send it to the workers as well."""
    reeld, oracle = stalled(sandbox, daemon, "1s", SHUTDOWN_GRACE="30s")
    if whole_group:
        os.killpg(reeld.process.child.pid, signal.SIGTERM)
    else:
        reeld.process.signal(signal.SIGTERM)

    def refused():
        try:
            socket.create_connection(("127.0.0.1", reeld.port)).close()
        except ConnectionRefusedError:
            return True
        return False
    wait_until(refused, "nobody to take connections")
    assert reeld.process.wait() == 0
    oracle.check()
    assert {line["worker"] for line in log_events(reeld, "reeld.drained")} == {0, 1}
    assert not any(alive(pid) for pid in pids(reeld).values())


def test_a_second_sigterm_ends_all_at_once_and_loses_nothing(sandbox, daemon):
    reeld, oracle = stalled(sandbox, daemon, "60s", SHUTDOWN_GRACE="60s")
    reeld.process.signal(signal.SIGTERM)
    wait_until(lambda: log_events(reeld, "supervisor.stopping"), "the first signal to be noticed")
    reeld.process.signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):  # the same one, to the group
        reeld.process.wait(1.2)
    reeld.process.signal(signal.SIGTERM)
    assert reeld.process.wait(10) == 1
    assert not any(alive(pid) for pid in pids(reeld).values())
    start(reeld)
    oracle.settle(TAKEN_BACK_S)
    oracle.check()


def test_kill_nine_of_the_supervisor_ends_the_workers(sandbox, daemon):
    reeld, oracle = stalled(sandbox, daemon, "60s")
    os.kill(reeld.process.child.pid, signal.SIGKILL)
    reeld.process.child.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids(reeld).values()), "the workers to end")
    start(reeld)
    oracle.settle(TAKEN_BACK_S)
    oracle.check()
    assert reeld.stop() == 0


def strand(reeld, oracle, workers):
    """Events in the journal of every worker, none of them in the ledger, and everybody killed."""
    lock = sqlite3.connect(os.path.join(reeld.data, "ledger.db"), isolation_level=None, timeout=30)
    lock.execute("BEGIN IMMEDIATE")
    until_each(lambda number: http_request(reeld.admin_port + number, "GET", "/readyz").json["inbox"]["events"] >= 5, oracle, workers, "events in every journal")
    reeld.kill()
    lock.execute("ROLLBACK")
    lock.close()
    assert not reeld.query("SELECT * FROM recordings")


def journals(reeld):
    return sorted(path.name for path in Path(reeld.data).glob("worker-*"))


@pytest.mark.parametrize("fewer", [1, 2])
def test_fewer_workers_forward_the_journals_that_are_left(sandbox, daemon, fewer):
    peer = sandbox(count=300, size=2000)
    reeld = start(daemon(peer, WORKERS=4))
    oracle = Oracle(reeld, peer)
    strand(reeld, oracle, 4)
    assert journals(reeld) == ["worker-1", "worker-2", "worker-3"]
    reeld.env["WORKERS"] = str(fewer)
    reeld.start()
    oracle.settle()
    oracle.check()
    wait_until(lambda: journals(reeld) == ["worker-1", "worker-2", "worker-3"][:fewer - 1], lambda: f"left journals to be removed: {journals(reeld)}")
    assert len(log_events(reeld, "stray.removed")) == 4 - fewer
    assert metric(reeld, 0, "reeld_inbox_events") == 0
    assert reeld.stop() == 0


def test_left_journals_survive_kills_of_who_forwards_them(sandbox, daemon):
    dice = random.Random(7)
    peer = sandbox(count=400, size=500)
    reeld = start(daemon(peer, WORKERS=3))
    oracle = Oracle(reeld, peer)
    strand(reeld, oracle, 3)
    reeld.env["WORKERS"] = "1"
    for _ in range(8):
        reeld.spawn()
        time.sleep(dice.uniform(0.01, 0.12))
        reeld.kill()
    # More of them again: their journals are begun anew, or gone on with.
    reeld.env["WORKERS"] = "3"
    start(reeld)
    acknowledge(oracle, [sid for sid in oracle.recordings if sid not in oracle.acknowledged][:30])
    oracle.settle()
    oracle.check()
    assert reeld.stop() == 0


def test_a_left_journal_that_cannot_be_opened_is_told_and_holds_up_nothing(sandbox, daemon):
    peer = sandbox(count=3)
    reeld = daemon(peer)
    os.makedirs(os.path.join(reeld.data, "worker-2"))
    Path(reeld.data, "worker-1").write_text("no directory", encoding="utf-8")
    Path(reeld.data, "worker-2", "mine").write_text("somebody's", encoding="utf-8")
    reeld.start()
    oracle = Oracle(reeld, peer)
    acknowledge(oracle, oracle.recordings)
    oracle.settle()
    oracle.check()
    wait_until(lambda: log_events(reeld, "stray.not_removed"), "the other one to be looked at")
    told = log_events(reeld, "stray.failed")
    assert len(told) == 1 and told[0]["level"] == "error" and "worker-1/journal" in told[0]["detail"], told
    assert journals(reeld) == ["worker-1", "worker-2"] and os.listdir(os.path.join(reeld.data, "worker-2")) == ["mine"]
    assert reeld.stop() == 0


def test_damaged_segments_of_a_left_journal_are_not_removed(sandbox, daemon):
    reeld = start(daemon(sandbox(count=1), WORKERS=2))
    assert reeld.stop() == 0
    segment = max(Path(reeld.data, "worker-1", "journal").glob("*-*"), key=lambda path: path.stat().st_size)
    with segment.open("r+b") as file:
        file.write(b"\xff" * 64)
    damaged = segment.read_bytes()
    reeld.env["WORKERS"] = "1"
    reeld.start()
    wait_until(lambda: log_events(reeld, "stray.not_removed"), "the left journal to be looked at")
    assert reeld.stop() == 0
    assert segment.read_bytes() == damaged


def test_one_supervisor_or_process_per_data_directory(sandbox, daemon):
    reeld = start(daemon(sandbox(count=1), WORKERS=2))
    for workers in ("1", "2"):
        second = reeld.command("serve", env={"LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": "off", "WORKERS": workers})
        assert second.returncode == 1
        assert f"in use by process {reeld.process.child.pid}:" in second.stderr, second.stderr
    # Also while worker 0 is away, and the supervisor, as long as somebody works there.
    os.kill(reeld.process.child.pid, signal.SIGSTOP)
    os.kill(pids(reeld)[0], signal.SIGKILL)
    third = reeld.command("serve", env={"LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": "off", "WORKERS": "1"})
    os.kill(reeld.process.child.pid, signal.SIGCONT)
    assert third.returncode == 1 and "in use by process" in third.stderr, third.stderr
    wait_until(lambda: len(log_events(reeld, "reeld.started")) == 3, "worker 0 to be there again")
    assert reeld.stop() == 0


class Manager:
    """Hears what is said on NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(30)

    def hear(self):
        return self.socket.recv(1000).decode().splitlines()[0]


def test_sighup_reloads_each_worker_and_the_service_manager_is_told_by_the_supervisor(sandbox, daemon, tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    token = tmp_path / "token"
    token.write_text(TOKEN, encoding="utf-8")
    peer = sandbox(count=100)
    reeld = daemon(peer, WORKERS=3, TWILIO_AUTH_TOKEN="", TWILIO_AUTH_TOKEN_FILE=token, NOTIFY_SOCKET=tmp_path / "notify").spawn()
    assert manager.hear() == "READY=1"
    assert [http_request(reeld.admin_port + number, "GET", "/healthz").status for number in range(3)] == [200] * 3, "ready before all were"
    new = "0" * 32
    token.write_text(new, encoding="utf-8")
    reeld.process.signal(signal.SIGHUP)
    assert manager.hear() == "RELOADING=1" and manager.hear() == "READY=1"
    wait_until(lambda: {line["worker"] for line in log_events(reeld, "reload.accounts")} == {0, 1, 2}, "each to reload")
    oracle = Oracle(reeld, peer)
    reeld.post = functools.partial(reeld.post, token=new)
    until_each(lambda number: accepted(reeld, number) > 0, oracle, 3, "each to take the new token")
    reeld.process.signal(signal.SIGTERM)
    assert manager.hear() == "STOPPING=1"
    assert reeld.process.wait() == 0


@pytest.mark.parametrize("env, message", [
    ({"WORKERS": "0"}, 'WORKERS: "0" is out of range (1..64)'),
    ({"WORKERS": "65"}, 'WORKERS: "65" is out of range (1..64)'),
    ({"WORKERS": "many"}, 'WORKERS: "many" is not a number'),
    ({"WORKERS": "3", "ADMIN_LISTEN": "127.0.0.1:65534"}, "WORKERS: each worker has a port of its own"),
    ({"WORKERS": "3", "TWILIO_ACCOUNTS_FILE": "/nonexistent/accounts"}, "/nonexistent/accounts"),
    ({"WORKERS": "3", "LISTEN": "127.0.0.1:1", "TLS_CERT": "/nonexistent/cert.pem", "TLS_KEY": "/nonexistent/key.pem"}, ""),
])
def test_what_is_wrong_is_told_once_and_ends_it(daemon, env, message):
    reeld = daemon(**env).spawn()
    assert reeld.process.wait(20) == 1
    told = [line for line in reeld.process.output().splitlines() if line.startswith("reeld: ")]
    assert len(told) == 1 and message in told[0], reeld.process.output()


def test_a_worker_that_cannot_start_at_first_ends_all_of_them(daemon):
    reeld = daemon(WORKERS=3)
    port = reeld.admin_port + 2
    with socket.create_server(("127.0.0.1", port)):
        assert reeld.spawn().process.wait(30) == 1
    told = [line for line in reeld.process.output().splitlines() if line.startswith("reeld: ")]
    assert len(told) == 1 and f"ADMIN_LISTEN: cannot listen on \"127.0.0.1:{port}\"" in told[0], reeld.process.output()
    assert not any(alive(pid) for pid in pids(reeld).values())


def test_the_options_of_a_worker_are_for_the_supervisor_only(daemon):
    reeld = daemon()
    for arguments in (["--worker", "0/2"], ["--worker", "2/2", "--owner", "x"], ["--worker", "0/2", "--owner", "host:1:00000000"], ["--workers", "3"]):
        told = reeld.command("serve", *arguments)
        assert told.returncode == 2 and "usage" in told.stderr, told


def test_no_connection_waits_for_a_worker_that_is_away(sandbox, daemon):
    """One socket for all: who hangs, or is not there, keeps nobody waiting."""
    peer = sandbox(count=60)
    reeld = start(daemon(peer, WORKERS=2))
    oracle = Oracle(reeld, peer)
    stopped = pids(reeld)[1]
    os.kill(stopped, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        for sid in oracle.recordings:
            acknowledge(oracle, [sid])
        assert time.monotonic() - begun < 20
        assert accepted(reeld, 0) == 60
    finally:
        os.kill(stopped, signal.SIGCONT)
    oracle.settle()
    oracle.check()
    assert reeld.stop() == 0
