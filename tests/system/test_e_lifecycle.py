# SPDX-License-Identifier: MIT
"""Signals, restarts, rotation, full disks: what an operator does to a running daemon, and what disks do."""
import base64
import http.client
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import time

import pytest
from reeldlib import ACCOUNT, TOKEN, Oracle, Process, callback_params, http_request, wait_until


def events(reeld, name):
    return [line for line in reeld.logs() if line.get("event") == name]


def stalled_downloads(sandbox, daemon, stall, **env):
    """A daemon with four downloads under way that stand still for `stall`."""
    peer = sandbox(count=4, fault="stall", fault_attempts=1, stall=stall)
    reeld = daemon(peer, **env).start()
    oracle = Oracle(reeld, peer)
    for sid in oracle.recordings:
        oracle.post(sid)
    wait_until(lambda: peer.stats()["faults"]["stall"] == 4, "all downloads to stand still")
    return peer, reeld, oracle


def test_sigterm_lets_running_jobs_finish(sandbox, daemon):
    _, reeld, oracle = stalled_downloads(sandbox, daemon, "1s", SHUTDOWN_GRACE="30s")
    assert reeld.stop() == 0
    assert {row["status"] for row in reeld.query("SELECT status FROM recordings")} == {"stored"}
    oracle.check()


def test_sigterm_releases_what_outlasts_the_grace(sandbox, daemon):
    peer, reeld, oracle = stalled_downloads(sandbox, daemon, "60s", SHUTDOWN_GRACE="200ms")
    began = time.monotonic()
    assert reeld.stop() == 0
    assert time.monotonic() - began < 15, "much longer than the grace"
    rows = reeld.query("SELECT status, attempts, lease_owner FROM recordings")
    assert [(row["status"], row["attempts"], row["lease_owner"]) for row in rows] == [("pending", 0, None)] * 4, "released, not charged"
    assert not reeld.leftovers()
    reeld.start()
    oracle.settle(20)
    oracle.check()
    assert peer.stats()["faults"]["stall"] == 4


def test_sigterm_stops_accepting_at_once(sandbox, daemon):
    _, reeld, oracle = stalled_downloads(sandbox, daemon, "2s", SHUTDOWN_GRACE="30s")
    idle = socket.create_connection(("127.0.0.1", reeld.port))
    reeld.process.signal(signal.SIGTERM)

    def refused():
        try:
            return reeld.get("/readyz", headers={"Connection": "close"}).status == 503
        except (OSError, http.client.HTTPException):
            return True
    wait_until(refused, "the listener to close or to say that it is not ready")
    assert reeld.process.wait() == 0
    idle.close()
    oracle.check()


def test_a_second_sigterm_leaves_at_once_and_loses_nothing(sandbox, daemon):
    _, reeld, oracle = stalled_downloads(sandbox, daemon, "60s", SHUTDOWN_GRACE="60s")
    began = time.monotonic()
    reeld.process.signal(signal.SIGTERM)
    wait_until(lambda: events(reeld, "reeld.stopping"), "the first signal to be noticed")
    time.sleep(1.1)  # within a second it would be taken for the first
    reeld.process.signal(signal.SIGTERM)
    assert reeld.process.wait(10) == 1
    assert time.monotonic() - began < 10
    reeld.start()
    # Leases of the life before run out; or the same owner takes them back at once.
    oracle.settle(90)
    oracle.check()


def test_a_backlog_survives_a_kill(sandbox, daemon):
    peer = sandbox(count=50)
    reeld = daemon(peer).start()
    oracle = Oracle(reeld, peer)
    peer.stop()
    for sid in oracle.recordings:
        assert oracle.post(sid).status == 200
    reeld.kill()
    oracle.sandbox = sandbox(count=50, port=peer.port)
    reeld.start()
    oracle.settle(90)
    oracle.check()
    assert reeld.stop() == 0


def test_one_process_per_data_directory(sandbox, daemon):
    reeld = daemon(sandbox(count=1)).start()
    second = reeld.command("serve", env={"LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": "off"})
    assert second.returncode == 1
    assert f"in use by process {reeld.process.child.pid}:" in second.stderr, second.stderr
    assert reeld.ready()


def test_a_damaged_ledger_is_told_with_its_reason_and_events_are_still_taken(sandbox, daemon):
    peer = sandbox(count=1)
    reeld = daemon(peer).start()
    assert reeld.stop() == 0
    # The index that claims go by: nothing needs it before the start.
    with sqlite3.connect(os.path.join(reeld.data, "ledger.db")) as database:
        page_size = database.execute("PRAGMA page_size").fetchone()[0]
        page = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'recordings_due'").fetchone()[0]
    with open(os.path.join(reeld.data, "ledger.db"), "r+b") as file:
        file.seek((page - 1) * page_size)
        file.write(b"\xff" * page_size)
    reeld.start()
    down = wait_until(lambda: events(reeld, "dependency.down"), "the ledger to be down")
    assert down[0]["dependency"] == "ledger" and "malformed" in down[0]["detail"], down
    ready = reeld.get("/readyz")
    assert ready.status == 200 and ready.json["dependencies"]["ledger"]["up"] is False
    assert reeld.post(callback_params(peer.recordings()[0])).status == 200
    assert reeld.stop() == 0


def test_a_port_that_is_taken_is_one_clear_line(daemon, sandbox):
    reeld = daemon(sandbox(count=1)).start()
    other = reeld.command("serve", env={"DATA_DIR": reeld.data + "2", "ADMIN_LISTEN": "off"})
    assert other.returncode == 1
    lines = [line for line in other.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1 and lines[0].startswith("reeld: LISTEN: ") and str(reeld.port) in lines[0], other.stderr
    other = reeld.command("serve", env={"DATA_DIR": reeld.data + "2", "LISTEN": "127.0.0.1:0"})
    assert other.returncode == 1
    lines = [line for line in other.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1 and lines[0].startswith("reeld: ADMIN_LISTEN: ") and str(reeld.admin_port) in lines[0], other.stderr


def test_sighup_takes_a_rotated_token(sandbox, daemon, tmp_path):
    peer = sandbox(count=3, auth_token="old_token,new_token")
    secret = tmp_path / "token"
    secret.write_text("old_token\n")
    reeld = daemon(peer, TWILIO_AUTH_TOKEN="", TWILIO_AUTH_TOKEN_FILE=str(secret)).start()
    first, second, third = listed(peer, "old_token")
    assert reeld.post(callback_params(first), token="old_token").status == 200
    assert reeld.post(callback_params(second), token="new_token").status == 403
    secret.write_text("new_token,old_token\n")
    reeld.process.signal(signal.SIGHUP)
    wait_until(lambda: len(events(reeld, "reload.accounts")) == 1, "the reload")
    assert reeld.post(callback_params(second), token="new_token").status == 200
    assert reeld.post(callback_params(third), token="old_token").status == 200
    # What is wrong is refused and the old ones stay.
    secret.write_text("\n")
    reeld.process.signal(signal.SIGHUP)
    wait_until(lambda: len(events(reeld, "reload.failed")) == 1, "the bad reload")
    assert reeld.post(callback_params(third), token="new_token").status == 200
    wait_until(lambda: len(reeld.files()) == 3, "all three to be archived")
    assert reeld.stop() == 0
    assert "old_token" not in reeld.process.output() and "new_token" not in reeld.process.output(), "a secret in the log"


def listed(peer, token):
    credentials = base64.b64encode(f"{ACCOUNT}:{token}".encode()).decode()
    return http_request(peer.port, "GET", f"/2010-04-01/Accounts/{ACCOUNT}/Recordings.json",
                        headers={"Authorization": "Basic " + credentials}).json["recordings"]


def make_certificate(directory, name):
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=" + name,
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def presented(reeld):
    """The certificate the listener shows, and the answer to a health request over it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", reeld.port, timeout=10, context=context)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
        return ssl.DER_cert_to_PEM_cert(connection.sock.getpeercert(True)), status
    finally:
        connection.close()


def test_https_and_sighup_takes_a_renewed_certificate(sandbox, daemon, tmp_path):
    peer = sandbox(count=1)
    old, new = make_certificate(tmp_path, "old"), make_certificate(tmp_path, "new")
    live = tmp_path / "live.pem", tmp_path / "live.key"
    for source, target in zip(old, live):
        target.write_bytes(source.read_bytes())
    reeld = daemon(peer, TLS_CERT=str(live[0]), TLS_KEY=str(live[1]))
    reeld.spawn()

    def answers():
        try:
            return presented(reeld)
        except OSError:
            return None
    assert wait_until(answers, lambda: reeld.process.output()) == (old[0].read_text(), 200)
    assert reeld.command("healthcheck", env={"ADMIN_LISTEN": "off"}).returncode == 0, "the certificate is for another name than 127.0.0.1"
    other = reeld.command("serve", env={"TLS_CERT": str(tmp_path / "none.pem"), "DATA_DIR": reeld.data + "2", "LISTEN": "127.0.0.1:0"})
    assert other.returncode == 1 and "TLS_CERT" in other.stderr and "No such file or directory" in other.stderr, other.stderr
    for source, target in zip(new, live):
        target.write_bytes(source.read_bytes())
    reeld.process.signal(signal.SIGHUP)
    wait_until(lambda: presented(reeld)[0] == new[0].read_text(), "the new certificate")
    live[0].write_text("not a certificate")
    reeld.process.signal(signal.SIGHUP)
    wait_until(lambda: events(reeld, "reload.failed"), "the bad reload")
    assert presented(reeld) == (new[0].read_text(), 200), "the good one stays"
    assert reeld.stop() == 0


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk_refuses_and_recovers_without_a_restart(sandbox, daemon, small_disk):
    peer = sandbox(count=400, size=20000)
    reeld = daemon(peer, DATA_DIR=str(small_disk / "data"), JOURNAL_SEGMENT="64KiB", JOURNAL_MAX="8MiB").start()
    reeld.data = str(small_disk / "data")
    oracle = Oracle(reeld, peer)
    sids = list(oracle.recordings)
    for sid in sids[:5]:
        assert oracle.post(sid).status == 200
    oracle.settle()
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    refusal = None
    for sid in sids[5:]:
        reply = oracle.post(sid)
        assert reply is not None, "the daemon died:\n" + reeld.process.output()[-3000:]
        if reply.status != 200:
            refusal = reply
            break
    assert refusal is not None and refusal.status == 503, f"every event was accepted on a full disk: {refusal}"
    assert refusal.json == {"error": "Temporarily unable to store the event"}
    assert int(refusal.headers["Retry-After"]) >= 1
    wait_until(lambda: reeld.get("/readyz").status == 503, "readyz to say that nothing can be accepted")
    assert reeld.get("/healthz").status == 200
    filler.unlink()
    wait_until(lambda: reeld.ready(), lambda: f"ready again: {reeld.get('/readyz')}")
    wait_until(lambda: oracle.post(sids[-1]).status == 200, "events to be accepted again")
    for sid in sids[200:250]:
        assert oracle.post(sid).status == 200
    oracle.settle(90)
    oracle.check()
    assert reeld.stop() == 0


def test_a_reader_of_the_log_that_stops_does_not_stop_the_daemon(sandbox, daemon):
    peer = sandbox(count=200)
    reeld = daemon(peer, LOG_LEVEL="debug")
    read_end, write_end = os.pipe()
    try:
        reeld.process = Process([os.path.abspath(os.environ.get("REELD_BINARY", "build/reeld")), "serve"], reeld.env, reeld.directory + "/unread.log",
                                stderr=write_end)
        wait_until(reeld.ready, "ready")
        peer.deliver_all(reeld)
        oracle = Oracle(reeld, peer)
        oracle.adopt()
        assert len(oracle.acknowledged) == 200
        oracle.settle()
        oracle.check()
        assert reeld.stop() == 0
    finally:
        os.close(read_end)
        os.close(write_end)


def test_credentials_and_numbers_never_reach_the_log(sandbox, daemon):
    peer = sandbox(count=5, fault="429,500:0.5")
    reeld = daemon(peer, LOG_LEVEL="debug", RETRY_MAX="200ms").start()
    peer.deliver_all(reeld)
    oracle = Oracle(reeld, peer)
    oracle.adopt()
    oracle.settle()
    assert reeld.stop() == 0
    output = reeld.process.output()
    numbers = {row[name] for row in reeld.query("SELECT from_number, to_number FROM calls") for name in row}
    assert TOKEN not in output and "Basic " not in output and "Authorization" not in output
    assert numbers and not [number for number in numbers if number in output]
