# SPDX-License-Identifier: MIT
"""Reconciling against the binary: what callbacks missed is archived, by the daemon and by the command, once, by one process at a time."""
import http.server
import json
import subprocess
import threading
import time
import urllib.request

import pytest
from enginelib import EngineOracle, log_events
from reeldlib import BINARY, Oracle, wait_until


def settled(reeld, peer, oracle_class=Oracle):
    """Every recording that the sandbox has is archived, each once."""
    oracle = oracle_class(reeld, peer)
    oracle.acknowledged = set(oracle.recordings)
    oracle.settle()
    oracle.check()
    return oracle


def summary(result):
    assert result.returncode == 0, (result.stdout, result.stderr)
    return next(line for line in result.stdout.splitlines() if line.startswith("since "))


def results(reeld):
    return {name[len('reeld_reconcile_recordings_total{result="'):-2]: int(value) for name, value in reeld.metrics().items()
            if name.startswith("reeld_reconcile_recordings_total")}


def test_lost_callbacks_are_archived_by_the_daemon_itself(sandbox, daemon):
    peer = sandbox(count=40, fault="lost:0.5")
    reeld = daemon(peer, RECONCILE_EVERY="1s").start()
    sent = peer.deliver_all(reeld)["sent"]
    assert 0 < sent < 40
    settled(reeld, peer)
    missed = results(reeld)
    assert missed["missing"] >= 40 - sent and missed["seen"] >= 40 and missed["healed"] >= 40 - sent
    wait_until(lambda: reeld.metrics().get('reeld_reconcile_runs_total{outcome="completed"}', 0) > 0, "a walk to end")
    assert abs(reeld.metrics()["reeld_reconcile_last_success_timestamp_seconds"] - time.time()) < 120
    trails = reeld.query("SELECT r.recording_sid, e.detail FROM recordings r JOIN recording_events e ON e.recording_id = r.id WHERE e.n = 1")
    assert sum(row["detail"] == "completed, reconciled" for row in trails) >= 40 - sent
    # Walks that find nothing change nothing.
    runs = reeld.metrics()['reeld_reconcile_runs_total{outcome="completed"}']
    wait_until(lambda: reeld.metrics()['reeld_reconcile_runs_total{outcome="completed"}'] >= runs + 2, "two more walks")
    settled(reeld, peer)
    assert reeld.stop() == 0


def test_recordings_of_trunks_which_never_call_back(sandbox, daemon):
    peer = sandbox(count=12, fault="trunk:1")
    reeld = daemon(peer, RECONCILE_EVERY="1s").start()
    assert peer.deliver_all(reeld)["sent"] == 0
    settled(reeld, peer)
    assert {row["source"] for row in reeld.query("SELECT source FROM recordings")} == {"Trunking"}


def test_an_end_that_was_lost_after_its_beginning_came(sandbox, daemon):
    peer = sandbox(count=10, fault="reorder,lost:1")
    reeld = daemon(peer).start()
    assert peer.deliver_all(reeld)["in_progress"] == 10
    wait_until(lambda: len(reeld.query("SELECT 1 FROM recordings WHERE status = 'pending'")) == 10, "rows that wait")
    assert ", 0 missing, 10 incomplete; 10 put to work" in summary(reeld.command("reconcile"))
    settled(reeld, peer)


def test_the_command_beside_a_running_daemon(sandbox, daemon):
    peer = sandbox(count=30)
    reeld = daemon(peer).start()
    first = peer.recordings()[0]["sid"]
    done = reeld.command("reconcile")
    assert "30 recordings at Twilio, 0 known, 30 missing, 0 incomplete; 30 put to work" in summary(done)
    assert "reeld serve is fetching them" in done.stdout
    settled(reeld, peer)
    assert "30 known, 0 missing, 0 incomplete; 0 put to work" in summary(reeld.command("reconcile"))
    # What people decided stays.
    assert reeld.command("recordings", "delete", first).returncode == 0
    assert "30 known, 0 missing, 0 incomplete; 0 put to work" in summary(reeld.command("reconcile"))
    assert reeld.recording(first)["status"] == "deleted"


def test_without_a_daemon_the_command_says_so_and_the_next_one_fetches_them(sandbox, daemon):
    peer = sandbox(count=5)
    reeld = daemon(peer)
    refused = reeld.command("reconcile")
    assert refused.returncode == 1 and "no ledger at" in refused.stderr
    assert reeld.command("migrate").returncode == 0
    done = reeld.command("reconcile")
    assert "5 put to work" in summary(done) and "no reeld serve is at work" in done.stdout
    assert {row["status"] for row in reeld.query("SELECT status FROM recordings")} == {"pending"}
    reeld.start()
    settled(reeld, peer)


def test_a_dry_run_lists_and_changes_nothing(sandbox, daemon):
    peer = sandbox(count=7, fault="trunk:0.5")
    reeld = daemon(peer).start()
    sids = {recording["sid"] for recording in peer.recordings()}
    done = reeld.command("reconcile", "--dry-run", "--since", "3d")
    assert "7 missing, 0 incomplete; nothing was changed" in summary(done)
    rows = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("RE")]
    assert {row[0] for row in rows} == sids and all(row[1].endswith("Z") and row[2].startswith("CA") and row[5] == "missing" for row in rows)
    assert {row[4] for row in rows} == {"Trunking", "StartCallRecordingAPI"}
    assert reeld.query("SELECT * FROM recordings") == []
    assert reeld.query("SELECT lease_epoch, finished_at FROM reconcile") == [{"lease_epoch": 0, "finished_at": None}]


def test_since_takes_durations_and_days(sandbox, daemon):
    peer = sandbox(count=0, existing=20, days=10)
    reeld = daemon(peer)
    assert reeld.command("migrate").returncode == 0
    days = sorted({recording["date_created"][5:16] for recording in peer.recordings()}, key=lambda text: time.strptime(text, "%d %b %Y"))
    assert len(days) == 10
    since = time.strftime("%Y-%m-%d", time.strptime(days[4], "%d %b %Y"))
    assert " 12 recordings at Twilio" in summary(reeld.command("reconcile", "--dry-run", "--since", since))
    assert " 20 recordings at Twilio" in summary(reeld.command("reconcile", "--dry-run", "--since", "30d"))
    for bad in ("7", "2999-01-01", "yesterday", "2026-13-01", "-1d", "0s"):
        refused = reeld.command("reconcile", "--since", bad)
        assert refused.returncode == 2 and "--since" in refused.stderr, refused
    for arguments in (["--until", "7d"], ["now"]):
        assert reeld.command("reconcile", *arguments).returncode == 2


def test_wrong_credentials_end_it_with_one_line(sandbox, daemon):
    peer = sandbox(count=3)
    reeld = daemon(peer)
    assert reeld.command("migrate").returncode == 0
    refused = reeld.command("reconcile", env={"TWILIO_AUTH_TOKEN": "wrong"})
    assert refused.returncode == 1 and "HTTP 401" in refused.stderr and "wrong" not in refused.stderr + refused.stdout
    assert "recordings at Twilio" not in refused.stdout, "it looked at none"
    nobody = reeld.command("reconcile", env={"TWILIO_ACCOUNT_SID": ""})
    assert nobody.returncode == 1 and "TWILIO_ACCOUNT_SID" in nobody.stderr


class Twilio:
    """Stands before the sandbox: counts the lists of each day, and holds one back."""

    def __init__(self, peer):
        self.days, self.held, self.release = [], None, threading.Event()
        twilio = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if "/Recordings.json?" in self.path and "DateCreated=" in self.path:
                    day = self.path.split("DateCreated=")[1][:10]
                    twilio.days.append(day)
                    if day == twilio.held:
                        twilio.release.wait(60)
                request = urllib.request.Request(peer.url + self.path, headers={"Authorization": self.headers["Authorization"]})
                try:
                    with urllib.request.urlopen(request, timeout=30) as answer:
                        body, status, kind = answer.read(), answer.status, answer.headers["Content-Type"]
                except urllib.error.HTTPError as error:
                    body, status, kind = error.read(), error.code, error.headers["Content-Type"]
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def twilio():
    made = []

    def make(peer):
        made.append(Twilio(peer))
        return made[-1]

    yield make
    for server in made:
        server.close()


def day_of(ago):
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() - ago * 86400))


def check_resumed(reeld, before, days, cut):
    """Kills a walk at the day `cut` days ago, and has another one continue it."""
    since = f"{days}d"
    before.held = day_of(cut)
    walk = subprocess.Popen([BINARY, "reconcile", "--since", since], env=reeld.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: day_of(cut) in before.days, lambda: f"the walk to come to {day_of(cut)}: {before.days}")
    finally:
        walk.kill()
        walk.communicate()
    assert before.days == [day_of(ago) for ago in range(cut + 1)]
    before.days.clear()
    before.held = None
    before.release.set()
    # The dead one's lease runs out first.
    done = reeld.command("reconcile", "--since", since, seconds=120)
    assert "is reconciling; waiting for it to end" in done.stderr and "continuing the walk that was cut" in done.stderr, done.stderr
    # The days since (with an overlap), then those that were left; none of those that were done.
    assert before.days == [day_of(0), day_of(1)] + [day_of(ago) for ago in range(cut, days + 1)], before.days
    assert "put to work" in summary(done) and len(reeld.query("SELECT 1 FROM recordings")) == days


def test_a_walk_that_was_killed_is_continued_where_it_was(sandbox, daemon, twilio):
    peer = sandbox(count=0, existing=20, days=20)
    before = twilio(peer)
    reeld = daemon(peer, TWILIO_API_BASE=before.url)
    assert reeld.command("migrate").returncode == 0
    check_resumed(reeld, before, 20, 10)
    # A walk that came to its end leaves nothing to continue.
    before.days.clear()
    assert "20 known" in summary(reeld.command("reconcile", "--since", "20d"))
    assert len(before.days) == 21
    reeld.start()
    settled(reeld, peer)


def test_a_walk_that_was_killed_is_continued_on_postgres_by_another_replica(sandbox, space, replica, twilio):
    peer = sandbox(count=0, existing=12, days=12)
    before = twilio(peer)
    reeld = replica(space, peer, TWILIO_API_BASE=before.url)
    assert reeld.command("migrate").returncode == 0
    check_resumed(reeld, before, 12, 6)


def test_restart_begins_anew(sandbox, daemon, twilio):
    peer = sandbox(count=0, existing=9, days=9)
    before = twilio(peer)
    reeld = daemon(peer, TWILIO_API_BASE=before.url)
    assert reeld.command("migrate").returncode == 0
    before.held = day_of(5)
    walk = subprocess.Popen([BINARY, "reconcile", "--since", "9d"], env=reeld.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: day_of(5) in before.days, "the walk to come there")
    walk.terminate()
    out, err = walk.communicate(timeout=30)
    assert walk.returncode == 1 and "interrupted; the next one continues" in err, (out, err)
    before.days.clear()
    before.held = None
    before.release.set()
    done = reeld.command("reconcile", "--since", "9d", "--restart")
    assert "waiting" not in done.stderr and "continuing" not in done.stderr, "an interrupted one gives its lease back"
    assert " 9 recordings at Twilio" in summary(done)
    assert before.days == [day_of(ago) for ago in range(10)]


def test_of_two_replicas_one_walks(sandbox, space, replica):
    peer = sandbox(count=25, fault="lost:0.6")
    first = replica(space, peer, name="first", RECONCILE_EVERY="3s").start()
    second = replica(space, peer, name="second", RECONCILE_EVERY="3s").start()
    peer.deliver_all(first)
    settled(first, peer, EngineOracle)
    wait_until(lambda: sum(len(log_events(each, "reconcile.completed")) for each in (first, second)) >= 4, "four walks")
    ends = sorted(line["time"] for each in (first, second) for line in log_events(each, "reconcile.completed"))
    times = [time.mktime(time.strptime(end[:19], "%Y-%m-%dT%H:%M:%S")) + float(end[19:23]) for end in ends]
    # The schedule is shared: nine tenths of three seconds lie between the end of one and the begin of the next, whoever walks.
    assert all(later - earlier > 2.6 for earlier, later in zip(times, times[1:])), ends
    for each in (first, second):
        assert log_events(each, "reconcile.failed") == [] and each.stop() == 0


def test_a_stop_in_the_middle_of_a_walk_is_quick_and_gives_the_lease_back(sandbox, daemon, twilio):
    peer = sandbox(count=3)
    before = twilio(peer)
    before.held = day_of(1)
    reeld = daemon(peer, TWILIO_API_BASE=before.url, RECONCILE_EVERY="1s").start()
    wait_until(lambda: day_of(1) in before.days, "the walk to hang")
    assert reeld.stop() == 0
    assert reeld.query("SELECT lease_owner FROM reconcile") == [{"lease_owner": None}]
    before.held = None
    before.release.set()
    reeld.start()
    settled(reeld, peer)


def test_the_log_of_a_walk_is_one_line(sandbox, daemon):
    peer = sandbox(count=6, fault="trunk:1")
    reeld = daemon(peer, RECONCILE_EVERY="1s").start()
    settled(reeld, peer)
    wait_until(lambda: log_events(reeld, "reconcile.completed"), "a walk to end")
    line = log_events(reeld, "reconcile.completed")[0]
    assert line["missing"] == 6 and line["healed"] == 6 and line["seen"] == 6 and line["level"] == "info", json.dumps(line)


def test_a_twilio_that_asks_for_a_week_is_left_alone_without_holding_the_lease(daemon):
    class Week(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(429)
            self.send_header("Retry-After", "604800")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Week) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        reeld = daemon(TWILIO_API_BASE=f"http://127.0.0.1:{server.server_address[1]}")
        assert reeld.command("migrate").returncode == 0
        for _ in range(2):
            result = reeld.command("reconcile", "--since", "2d", seconds=30)
            assert result.returncode == 1, result
            assert "604800 s" in result.stderr and "the next one continues" in result.stderr, result.stderr
            assert "is reconciling" not in result.stderr, "the lease was not given back"
        server.shutdown()
