# SPDX-License-Identifier: MIT
"""The main job on Postgres, Redis and S3, together and each alone beside the embedded others, and the commands on them."""
import hashlib
import http.server
import subprocess
import threading
import urllib.request

import pytest
from enginelib import EngineDaemon, EngineOracle, Swift, secrets_in
from reeldlib import TOKEN, Oracle, callback_params, free_port, wait_until

SECRET = "nobody-may-read-this"


def archive_all(reeld, peer, oracle_class=EngineOracle):
    oracle = oracle_class(reeld, peer)
    assert peer.deliver_all(reeld)["failed"] == 0
    oracle.adopt()
    assert len(oracle.acknowledged) == peer.count
    oracle.settle()
    oracle.check()
    return oracle


def curl(url, path):
    """Fetches it as a person with the link would; the HTTP status."""
    done = subprocess.run(["curl", "-s", "--noproxy", "*", "-m", "20", "-o", str(path), "-w", "%{http_code}", url], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_all_three_together(sandbox, space, replica, tmp_path):
    peer = sandbox(count=25, fault="404-first,500,truncate:0.1,dup:0.3", fault_attempts=1)
    reeld = replica(space, peer).start()
    kinds = {name: state["kind"] for name, state in reeld.get("/readyz").json["dependencies"].items()}
    assert kinds == {"ledger": "postgres", "idempotency": "redis", "twilio": "rest", "store": "s3"}
    oracle = archive_all(reeld, peer)
    rows = {row["recording_sid"]: row for row in reeld.query("SELECT * FROM recordings")}
    calls = {row["twilio_sid"]: row for row in reeld.query("SELECT * FROM calls")}
    for sid, recording in list(oracle.recordings.items())[:5]:
        headers, data = space.object(oracle.expected_key(sid))
        assert headers["Content-Type"] == "audio/wav" and int(headers["Content-Length"]) == len(data)
        assert headers["ETag"].strip('"') == hashlib.md5(data).hexdigest() == rows[sid]["md5"]
        told = {name.lower()[len("x-amz-meta-"):]: value for name, value in headers.items() if name.lower().startswith("x-amz-meta-")}
        assert told["recording-sid"] == sid and told["call-sid"] == recording["call_sid"], told
        assert rows[sid]["url"] == f"http://127.0.0.1:{space.swift.port}/{space.bucket}/{rows[sid]['key']}"
        assert calls[recording["call_sid"]]["duration"] is not None and calls[recording["call_sid"]]["status"] == "COMPLETED"
        # The link that the command makes opens it without credentials, the plain URL does not.
        made = reeld.command("recordings", "url", sid)
        assert made.returncode == 0 and not secrets_in(made.stdout, Swift.secret)
        assert curl(made.stdout.strip(), tmp_path / "fetched") == 200 and (tmp_path / "fetched").read_bytes() == data
        assert curl(rows[sid]["url"], tmp_path / "refused") in (400, 401, 403)
    log = reeld.process.output()
    assert reeld.stop() == 0
    assert not secrets_in(log, Swift.secret, TOKEN)


def test_the_duration_of_a_call_is_kept_where_it_is_known(sandbox, space, replica):
    peer = sandbox(count=2)
    reeld = replica(space, peer, UNKNOWN_CALL="archive")
    assert reeld.command("migrate").returncode == 0
    first, second = peer.recordings()
    space.execute(f"INSERT INTO calls (twilio_sid, duration, recording_url) VALUES ('{first['call_sid']}', 7, NULL), ('{second['call_sid']}', NULL, NULL)")
    reeld.start()
    archive_all(reeld, peer)
    durations = {row["twilio_sid"]: row["duration"] for row in reeld.query("SELECT * FROM calls")}
    assert durations == {first["call_sid"]: 7, second["call_sid"]: int(second["duration"])}


def test_what_never_becomes_audio_is_dead_with_a_note_and_no_object(sandbox, space, replica):
    peer = sandbox(count=3, fault="xml-body", fault_attempts=0)
    reeld = replica(space, peer, MAX_ATTEMPTS="2", RETRY_MAX="100ms").start()
    peer.deliver_all(reeld)
    wait_until(lambda: [row["status"] for row in reeld.query("SELECT status FROM recordings")] == ["dead"] * 3, lambda: reeld.process.output()[-3000:])
    assert space.keys() == {}
    for row in reeld.query("SELECT * FROM calls"):
        assert "dead" in row["notes"] and row["recording_url"] is None, row
    listing = reeld.command("jobs", "list")
    assert listing.returncode == 0 and listing.stdout.count("dead") >= 3
    peer.set_faults("")
    assert reeld.command("jobs", "retry", "--all-dead").returncode == 0
    wait_until(lambda: {row["status"] for row in reeld.query("SELECT status FROM recordings")} == {"stored"}, lambda: reeld.process.output()[-3000:])
    assert len(space.keys()) == 3


def test_postgres_with_the_directory_and_the_table_in_the_process(sandbox, space, replica):
    peer = sandbox(count=8)
    reeld = replica(space, peer, REDIS_URL="", S3_BUCKET="", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", S3_ENDPOINT="").start()
    archive_all(reeld, peer, Oracle)
    assert space.keys() == {} and space.redis_keys() == []


def test_s3_with_sqlite(sandbox, space, daemon):
    peer = sandbox(count=8)
    reeld = daemon(peer, **space.storage()).start()
    peer.deliver_all(reeld)
    oracle = Oracle(reeld, peer)
    oracle.adopt()
    oracle.settle()
    assert reeld.files() == {}
    assert set(space.keys()) == {"recordings/" + oracle.expected_path(sid) for sid in oracle.acknowledged}
    for sid in oracle.acknowledged:
        _, data = space.object("recordings/" + oracle.expected_path(sid))
        assert (len(data), hashlib.sha256(data).hexdigest()) == oracle.expected_bytes(sid)


def test_redis_with_sqlite_knows_duplicates_after_a_restart(sandbox, space, daemon):
    peer = sandbox(count=4)
    reeld = daemon(peer, **space.filter()).start()
    oracle = Oracle(reeld, peer)
    for sid in oracle.recordings:
        assert oracle.post(sid).status == 200
    oracle.settle()
    wait_until(lambda: len(space.redis_keys()) >= 4, "the keys to be set")
    assert reeld.stop() == 0
    reeld.start()
    wait_until(lambda: reeld.metrics()['reeld_dependency_up{dependency="idempotency"}'] == 1, "Redis to be connected")
    for sid in oracle.recordings:
        reply = wait_until(lambda: (lambda r: r if "recordingUrl" in r.json else None)(oracle.post(sid)), "Redis to answer before the disk")
        assert reply.json["recordingUrl"] == reeld.recording(sid)["url"]
    oracle.check()


def test_a_deletion_by_command_takes_the_recording_out_of_redis(sandbox, space, daemon):
    peer = sandbox(count=2)
    reeld = daemon(peer, **space.filter()).start()
    oracle = Oracle(reeld, peer)
    for sid in oracle.recordings:
        assert oracle.post(sid).status == 200
    oracle.settle()
    first, second = sorted(oracle.recordings)
    wait_until(lambda: len([key for key in space.redis_keys() if ":url:" in key]) == 2, "the URLs to be set")
    assert reeld.command("recordings", "delete", first).returncode == 0
    keys = " ".join(space.redis_keys()).lower()
    assert first[2:].lower() not in keys and second[2:].lower() in keys, keys
    unreachable = reeld.command("recordings", "delete", second, env={"REDIS_URL": "redis://127.0.0.1:1"})
    assert unreachable.returncode == 0 and "Redis cannot be reached" in unreachable.stderr, unreachable
    assert reeld.recording(second)["status"] == "deleted"


def test_a_duplicate_to_another_replica_is_one_recording(sandbox, space, replica):
    peer = sandbox(count=12)
    first, second = replica(space, peer, "first").start(), replica(space, peer, "second").start()
    oracle = EngineOracle(first, peer)
    for sid in oracle.recordings:
        for reeld in (first, second, first):
            assert oracle.post(sid, via=reeld).status == 200
    oracle.settle()
    oracle.check()
    assert {item["media_complete"] for item in peer.listing().values()} == {1}, "fetched once"
    wait_until(lambda: all(reeld.metrics()["reeld_inbox_events"] == 0 for reeld in (first, second)), "both journals to be forwarded")
    caught = sum(value for reeld in (first, second) for name, value in reeld.metrics().items() if name.startswith("reeld_duplicates_total"))
    assert caught == 2 * len(oracle.recordings), "every further one was seen to be one"
    assert first.stop() == 0 and second.stop() == 0


def test_any_number_of_migrations_at_once_is_one(space, replica):
    reeld = replica(space)
    results = []
    threads = [threading.Thread(target=lambda: results.append(reeld.command("migrate"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.returncode for result in results] == [0] * 5, results
    assert sum("applied" in result.stdout for result in results) == 1, results
    assert {"calls", "recordings", "recording_events", "call_segments"} <= space.tables()


def test_without_migrations_it_says_so(space, replica):
    reeld = replica(space, MIGRATE="off")
    result = reeld.command("check")
    assert result.returncode == 1 and any(line.startswith("FAIL") and "ledger" in line and "migrat" in line for line in result.stdout.splitlines()), result


def lines(result):
    """What check found: subject → (verdict, words)."""
    return {line.split()[1]: (line.split()[0], line) for line in result.stdout.splitlines()}


def test_check_reaches_each_engine_and_names_the_broken_one(sandbox, space, replica):
    peer = sandbox(count=1)
    reeld = replica(space, peer)
    assert reeld.command("migrate").returncode == 0
    good = reeld.command("check")
    assert good.returncode == 0 and {verdict for verdict, _ in lines(good).values()} == {"ok"}, good
    assert {"ledger", "redis", "storage", "twilio", "journal", "config"} <= set(lines(good))
    assert space.keys() == {} and space.uploads() == [], "the probe is removed"
    nobody = free_port()
    broken = [
        ("ledger", {"DATABASE_URL": f"postgresql://reeld:{SECRET}@127.0.0.1:{nobody}/x"}),
        ("ledger", {"DATABASE_URL": f"postgresql://reeld:{SECRET}@127.0.0.1:{space.postgres.port}/no_such_database"}),
        ("redis", {"REDIS_URL": f"redis://:{SECRET}@127.0.0.1:{nobody}"}),
        ("redis", {"REDIS_URL": f"redis://someone:{SECRET}@127.0.0.1:{space.redis.port}"}),
        ("storage", {"S3_ENDPOINT": f"http://127.0.0.1:{nobody}", "AWS_SECRET_ACCESS_KEY": SECRET}),
        ("storage", {"AWS_SECRET_ACCESS_KEY": SECRET}),
        ("storage", {"S3_BUCKET": "no-such-bucket"}),
    ]
    for subject, env in broken:
        result = reeld.command("check", env=env)
        failed = {name for name, (verdict, _) in lines(result).items() if verdict == "FAIL"}
        assert result.returncode == 1 and failed == {subject}, (subject, env, result)
        assert not secrets_in(result.stdout + result.stderr, SECRET, Swift.secret, TOKEN), result


def test_the_commands_on_postgres_and_s3(sandbox, space, replica, tmp_path):
    peer = sandbox(count=3)
    reeld = replica(space, peer).start()
    oracle = archive_all(reeld, peer)
    first, second, _ = oracle.recordings
    listing = reeld.command("recordings", "list")
    assert listing.returncode == 0 and all(sid in listing.stdout for sid in oracle.recordings)
    assert second not in reeld.command("recordings", "list", "--prefix", oracle.expected_key(first)).stdout
    assert reeld.command("jobs", "list").stdout.count("RE") == 0
    shown = reeld.command("jobs", "show", first)
    assert shown.returncode == 0 and "stored" in shown.stdout and "received" in shown.stdout
    deleted = reeld.command("recordings", "delete", first)
    assert deleted.returncode == 0 and reeld.recording(first)["status"] == "deleted", deleted
    assert set(space.keys()) == {oracle.expected_key(sid) for sid in oracle.recordings if sid != first}
    assert reeld.command("recordings", "delete", first).returncode == 0, "as the API: it is gone"
    assert reeld.command("recordings", "url", first).returncode == 1
    # A late duplicate does not bring it back.
    assert reeld.post(callback_params(oracle.recordings[first])).status == 200
    wait_until(lambda: reeld.metrics()["reeld_inbox_events"] == 0, "the duplicate to be forwarded")
    assert reeld.recording(first)["status"] == "deleted" and len(space.keys()) == 2


class LengthLess(http.server.BaseHTTPRequestHandler):
    """Passes requests on and answers in chunks, so that nobody is told the length of the media."""
    protocol_version = "HTTP/1.1"
    origin = None

    def do_GET(self):
        request = urllib.request.Request(self.origin + self.path, headers={"Authorization": self.headers["Authorization"]})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while data := answer.read(65536):
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("length", ["known", "unknown"])
def test_a_long_recording_goes_up_in_parts(sandbox, space, replica, length):
    peer = sandbox(count=1, size="12MB")
    reeld = replica(space, peer, MULTIPART_THRESHOLD="5MiB", TRANSFER_BUFFER="256KiB")
    if length == "unknown":
        LengthLess.origin = peer.url
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), LengthLess)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        reeld.env["TWILIO_API_BASE"] = f"http://127.0.0.1:{server.server_address[1]}"
    reeld.start()
    oracle = archive_all(reeld, peer)
    headers, _ = space.object(oracle.expected_key(next(iter(oracle.recordings))))
    assert headers["ETag"].strip('"').partition("-")[2].isdigit(), f"not in parts: {headers['ETag']}"
    assert reeld.stop() == 0
    if length == "unknown":
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name, value", [
    ("DATABASE_URL", f"postgresql://u:{SECRET}@h:notaport/x"), ("DATABASE_URL", f"mysql://u:{SECRET}@h/x"),
    ("DATABASE_URL", f"postgresql://u:{SECRET}@h/x?no_such_option=1"),
    ("REDIS_URL", f"http://:{SECRET}@h"), ("REDIS_URL", f"redis://:{SECRET}@h:99999"), ("REDIS_URL", f"redis://:{SECRET}@h/x"),
    ("S3_ENDPOINT", f"ftp://u:{SECRET}@h"), ("S3_ENDPOINT", f"http://u:{SECRET}@h"), ("S3_BUCKET", "Not_A/Bucket"), ("S3_PREFIX", "../up"),
    ("S3_ADDRESSING", "sideways"), ("S3_SSE", "rot13"), ("MULTIPART_THRESHOLD", "1MiB"), ("AWS_SECRET_ACCESS_KEY", ""),
    ("AWS_REQUEST_CHECKSUM_CALCULATION", "never")])
def test_a_bad_setting_of_an_engine_is_one_line_without_secrets(tmp_path, name, value):
    env = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET, "S3_BUCKET": "bucket", name: value}

    class Nowhere:
        """Nothing is reached before the settings are right."""
        @staticmethod
        def env():
            return env
    reeld = EngineDaemon(str(tmp_path / "reeld"), "http://127.0.0.1:9", Nowhere)
    result = reeld.command("serve", seconds=30)
    said = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    assert result.returncode == 1 and len(said) == 1 and name in said[0], result
    assert not secrets_in(result.stdout + result.stderr, SECRET, TOKEN), result


def test_rediss_without_tls_support_says_so(tmp_path, replica, space):
    reeld = replica(space, REDIS_URL=f"rediss://:{SECRET}@127.0.0.1:{space.redis.port}")
    result = reeld.command("check")
    _, words = lines(result)["redis"]
    if "hiredis_ssl" in words:
        assert result.returncode == 1
        started = reeld.command("serve", seconds=30)
        said = [line for line in started.stderr.splitlines() if not line.startswith("{")]
        assert started.returncode == 1 and len(said) == 1 and "REDIS_URL: rediss://" in said[0] and not secrets_in(started.stderr, SECRET), started
    else:
        # Built with hiredis_ssl: a handshake with a server that speaks none.
        assert result.returncode == 1 and lines(result)["redis"][0] == "FAIL", result
