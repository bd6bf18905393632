# SPDX-License-Identifier: MIT
"""The private listener's API: who may ask, what is answered, audio as it lies on disk, lists while others write."""
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from reeldlib import ACCOUNT, Oracle, callback_params, http_request, wait_until

TOKEN = "correct-horse-battery-staple"
ITEM = {"sid", "accountSid", "callSid", "conferenceSid", "status", "attempts", "nextAttemptAt", "lastError", "errorCode", "key", "url", "bytes", "md5",
        "sha256", "contentType", "duration", "channels", "source", "startTime", "receivedAt", "storedAt", "deletedAtTwilioAt"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Api:
    """The API of one daemon, as a client with the token sees it."""

    def __init__(self, daemon, token=None):
        self.daemon, self.token = daemon, token

    def request(self, method, target, **headers):
        head = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None:
            head.setdefault("Authorization", "Bearer " + self.token)
        reply = http_request(self.daemon.admin_port, method, target, headers=head)
        if target.startswith("/api/"):
            assert reply.headers["Cache-Control"] == "no-store", "private data may be cached"
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
        if reply.status >= 400:
            assert reply.headers["Content-Type"] == "application/json"
            if method != "HEAD":
                assert list(reply.json) == ["error"] and reply.json["error"], reply
        return reply

    def get(self, target, **headers):
        return self.request("GET", target, **headers)

    def pages(self, query=""):
        cursor = None
        while True:
            reply = self.get("/api/recordings?" + query + (f"&cursor={cursor}" if cursor else ""))
            assert reply.status == 200, reply
            yield reply.json["recordings"]
            cursor = reply.json["nextCursor"]
            if cursor is None:
                return

    def sids(self, query=""):
        return [item["sid"] for page in self.pages(query) for item in page]


def archive(sandbox, daemon, count=3, size=20000, **env):
    peer = sandbox(count=count, size=size)
    reeld = daemon(peer, **env).start()
    peer.deliver_all(reeld)
    oracle = Oracle(reeld, peer)
    oracle.adopt()
    oracle.settle()
    return peer, reeld, oracle


@pytest.fixture
def stored(sandbox, daemon):
    _, reeld, _ = archive(sandbox, daemon)
    return Api(reeld)


def file_of(api, item):
    return Path(api.daemon.data, item["key"]).read_bytes()


def test_a_token_is_needed_where_one_is_set_and_can_be_changed(daemon, tmp_path):
    secret = tmp_path / "token"
    secret.write_text(TOKEN + "\n")
    reeld = daemon(ADMIN_TOKEN_FILE=secret).start()
    api = Api(reeld)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer " + TOKEN[:-1]}, {"Authorization": "Bearer " + TOKEN + "x"},
                    {"Authorization": "Bearer"}, {"Authorization": "Bearer "}, {"Authorization": "Basic " + TOKEN}, {"Authorization": TOKEN}):
        for method, target in (("GET", "/api/stats"), ("GET", "/api/recordings"), ("POST", "/api/recordings/RE" + "0" * 32 + "/retry"),
                               ("GET", "/api/recordings/RE" + "0" * 32 + "/audio"), ("DELETE", "/api/recordings/RE" + "0" * 32)):
            reply = api.request(method, target, **headers)
            assert reply.status == 401 and reply.headers["WWW-Authenticate"].startswith("Bearer"), (headers, reply)
    assert Api(reeld, TOKEN).get("/api/stats").status == 200
    assert api.get("/api/stats", Authorization="bEARER   " + TOKEN).status == 200
    for target in ("/metrics", "/healthz", "/readyz"):
        assert api.get(target).status == 200
    with socket.create_connection(("127.0.0.1", reeld.admin_port), timeout=20) as peer:
        peer.sendall(f"GET /api/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n"
                     f"Authorization: Bearer {TOKEN}\r\n\r\n".encode())
        assert peer.recv(4096).startswith(b"HTTP/1.1 401 "), "two Authorization headers"
    secret.write_text("another\n")
    reeld.process.signal(signal.SIGHUP)
    wait_until(lambda: Api(reeld, "another").get("/api/stats").status == 200, "the new token to hold")
    assert Api(reeld, TOKEN).get("/api/stats").status == 401
    secret.write_text("")
    reeld.process.signal(signal.SIGHUP)
    wait_until(lambda: any(line["event"] == "reload.failed" for line in reeld.logs()), "the reload to be refused")
    assert api.get("/api/stats").status == 401 and Api(reeld, "another").get("/api/stats").status == 200
    assert reeld.stop() == 0
    log = reeld.process.output()
    assert TOKEN not in log and "another" not in log.replace("another process", "")


def test_web_pages_cannot_use_it(stored):
    port = stored.daemon.admin_port
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", "[::1]:1", "LOCALHOST", "10.1.2.3", f"[fe80::1]:{port}"):
        assert stored.get("/api/stats", Host=host).status == 200, host
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "1.2.3", "[::1", "127.0.0.1:x", "2130706433",
                 "localhost:1:2", "@127.0.0.1", "127.0.0.1 ", ""):
        reply = stored.get("/api/stats", Host=host)
        assert reply.status == 403 or host == "127.0.0.1 ", (host, reply)
    sid = stored.sids()[0]
    target = f"/api/recordings/{sid}/retry"
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"http://127.0.0.1:{port + 1}"}, {"Origin": f"ftp://127.0.0.1:{port}"},
                    {"Sec-Fetch-Site": "cross-site"}, {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "cross-site"}):
        for method, path in (("POST", target), ("DELETE", f"/api/recordings/{sid}")):
            assert stored.request(method, path, **headers).status == 403, headers
    assert stored.request("POST", target, Origin=f"http://127.0.0.1:{port}", Sec_Fetch_Site="same-origin").status == 409
    assert stored.get(f"/api/recordings/{sid}").json["status"] == "stored"
    assert stored.get("/api/stats").headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in stored.get("/api/stats").headers


def test_paths_and_methods(stored):
    sid = stored.sids()[0]
    for method in ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"):
        for target in ("/nonsense", "/api", "/api/", "/api/recordings/", "/api/recordings/x", f"/api/recordings/{sid}x", f"/api/recordings/{sid}/",
                       f"/api/recordings/{sid}/nonsense", "/api/recordings/../stats", f"/api/recordings/CA{sid[2:]}"):
            assert stored.request(method, target).status == 404, (method, target)
    for target, allow in (("/api/stats", "GET, HEAD"), ("/api/recordings", "GET, HEAD"), (f"/api/recordings/{sid}", "GET, HEAD, DELETE"),
                          (f"/api/recordings/{sid}/retry", "POST"), ("/api/recordings/retry", "POST"), (f"/api/recordings/{sid}/audio", "GET, HEAD")):
        reply = stored.request("PUT", target)
        assert reply.status == 405 and reply.headers["Allow"] == allow, (target, reply.headers)
    unknown = "/api/recordings/RE" + "0" * 32
    for method, target in (("GET", unknown), ("HEAD", unknown), ("DELETE", unknown), ("POST", unknown + "/retry"), ("GET", unknown + "/audio")):
        assert stored.request(method, target).status == 404


def test_head_is_get_without_the_body(stored):
    sid = stored.sids()[0]
    for target in ("/api/stats", "/api/recordings", f"/api/recordings/{sid}", f"/api/recordings/{sid}/audio", "/api/recordings?limit=0", "/nonsense"):
        get, head = stored.get(target), stored.request("HEAD", target)
        assert head.body == b"" and head.status == get.status and len(get.body) == int(get.headers["Content-Length"])
        drop = {"Date"}
        assert {k: v for k, v in head.headers.items() if k not in drop} == {k: v for k, v in get.headers.items() if k not in drop}, target


def test_a_recording_with_all_that_is_known_of_it(sandbox, daemon):
    peer, reeld, _ = archive(sandbox, daemon)
    api = Api(reeld)
    truth = peer.listing()
    items = [item for page in api.pages() for item in page]
    assert {item["sid"] for item in items} == set(truth) and len(items) == len(truth)
    for item in items:
        assert set(item) == ITEM
        assert item["status"] == "stored" and item["bytes"] == truth[item["sid"]]["bytes"] and item["sha256"] == truth[item["sid"]]["sha256"]
        assert item["accountSid"] == ACCOUNT and item["url"].endswith(item["key"]) and item["attempts"] == 0
        assert TIME.fullmatch(item["storedAt"]) and TIME.fullmatch(item["receivedAt"])
        assert item["errorCode"] is None and item["lastError"] is None and item["nextAttemptAt"] is None and item["deletedAtTwilioAt"] is None
        single = api.get(f"/api/recordings/{item['sid']}").json
        events = single.pop("events")
        assert single == item and set(single) == ITEM
        assert [event["what"] for event in events] == ["received", "leased", "stored"] or events[-1]["what"] == "stored", events
        assert all(set(event) == {"at", "what", "detail"} and TIME.fullmatch(event["at"]) for event in events)
        for q in (item["sid"], item["callSid"], item["conferenceSid"]):
            if q is not None:
                assert item["sid"] in api.sids(f"q={q}")
                assert all(q in (other["sid"], other["callSid"], other["conferenceSid"]) for page in api.pages(f"q={q}") for other in page)
    assert api.sids("q=CA" + "0" * 32) == []
    assert api.sids("status=dead") == [] and len(api.sids("status=stored&limit=1")) == len(truth)


def test_bad_parameters_are_named(stored):
    for query, word in (("status=nonsense", "status"), ("status=stored&status=dead", "status"), ("limit=0", "limit"), ("limit=201", "limit"),
                        ("limit=-1", "limit"), ("limit=1e1", "limit"), ("limit=99999999999999999999", "limit"), ("q=abc", "q"), ("q=RE123", "q"),
                        ("cursor=x", "cursor"), ("cursor=-5", "cursor"), ("cursor=" + "9" * 70, "cursor"), ("status=%zz", "status"), ("q=%00", "status")):
        reply = stored.get("/api/recordings?" + query)
        assert reply.status == 400 and word in reply.json["error"], (query, reply)
    assert stored.get("/api/recordings?limit=200&status=&q=&cursor=&unknown=1").status == 200
    assert stored.get(f"/api/recordings/{stored.sids()[0]}/audio?as=nonsense").status == 400


def test_ranges_are_those_of_the_file(stored):
    item = [item for page in stored.pages() for item in page][0]
    audio = f"/api/recordings/{item['sid']}/audio"
    data = file_of(stored, item)
    size = len(data)
    whole = stored.get(audio)
    assert whole.status == 200 and whole.body == data and hashlib.sha256(whole.body).hexdigest() == item["sha256"]
    assert whole.headers["Content-Type"] == item["contentType"] and whole.headers["Accept-Ranges"] == "bytes"
    assert whole.headers["ETag"] == f'"{item["sha256"]}"' and item["sid"] in whole.headers["Content-Disposition"]
    for text, first, last in (("0-0", 0, 0), ("0-99", 0, 99), ("100-199", 100, 199), ("5-", 5, size - 1), ("-7", size - 7, size - 1),
                              (f"{size - 1}-", size - 1, size - 1), (f"0-{size * 9}", 0, size - 1), (f"-{size * 9}", 0, size - 1), ("0-", 0, size - 1),
                              (f"3-{'9' * 40}", 3, size - 1)):
        part = stored.get(audio, Range="bytes=" + text)
        assert part.status == 206 and part.body == data[first:last + 1], (text, part)
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{size}" and int(part.headers["Content-Length"]) == last - first + 1
        assert part.headers["ETag"] == whole.headers["ETag"]
    for text in (f"{size}-", f"{size * 2}-{size * 3}", "-0", "9" * 40 + "-"):
        part = stored.get(audio, Range="bytes=" + text)
        assert part.status == 416 and part.headers["Content-Range"] == f"bytes */{size}", (text, part)
    for value in ("bytes=0-1,5-6", "bytes=5-2", "bytes=x-", "bytes=", "bytes", "lines=0-1", "bytes=-", "bytes=1", ""):
        assert stored.get(audio, Range=value).body == data, value
    assert stored.get(audio, Range="bytes=0-9", If_Range=whole.headers["ETag"]).status == 206
    assert stored.get(audio, Range="bytes=0-9", If_Range='"other"').status == 200
    for value in (whole.headers["ETag"], "W/" + whole.headers["ETag"], '"a", ' + whole.headers["ETag"], "*"):
        reply = stored.get(audio, If_None_Match=value)
        assert reply.status == 304 and reply.body == b"" and reply.headers["ETag"] == whole.headers["ETag"]
    assert stored.get(audio, If_None_Match='"other"').status == 200
    assert stored.request("HEAD", audio, Range="bytes=0-9").status == 200


def test_a_ticket_opens_one_recording_only(sandbox, daemon):
    _, reeld, _ = archive(sandbox, daemon, ADMIN_TOKEN=TOKEN)
    api, stranger = Api(reeld, TOKEN), Api(reeld)
    sid, other = api.sids()[:2]
    assert stranger.get(f"/api/recordings/{sid}/audio?as=link").status == 401
    link = api.get(f"/api/recordings/{sid}/audio?as=link")
    assert link.status == 200 and set(link.json) == {"url", "expiresAt"} and TIME.fullmatch(link.json["expiresAt"])
    url = link.json["url"]
    ticket = url.split("ticket=")[1]
    assert url == f"/api/recordings/{sid}/audio?ticket={ticket}"
    whole = stranger.get(url)
    assert whole.status == 200 and hashlib.sha256(whole.body).hexdigest() == api.get(f"/api/recordings/{sid}").json["sha256"]
    assert stranger.get(url, Range="bytes=10-19").body == whole.body[10:20]
    for target in (f"/api/recordings/{other}/audio?ticket={ticket}", f"/api/recordings/{sid}?ticket={ticket}", f"/api/stats?ticket={ticket}",
                   f"/api/recordings/{sid}/audio?ticket={ticket[:-1]}", f"/api/recordings/{sid}/audio?ticket=f{ticket}",
                   f"/api/recordings/{sid}/audio?ticket={ticket}0", f"/api/recordings/{sid}/audio?ticket=-{ticket}", f"/api/recordings/{sid}/audio?ticket=",
                   f"/api/recordings/{sid}/audio?ticket={ticket}&ticket={ticket}"):
        assert stranger.get(target).status == 401, target
    assert reeld.stop() == 0
    assert ticket not in reeld.process.output()


def test_what_is_not_where_it_should_be_is_not_shown(stored):
    items = [item for page in stored.pages() for item in page]
    outside = Path(stored.daemon.directory, "outside")
    paths = [Path(stored.daemon.data, item["key"]) for item in items]
    outside.write_bytes(paths[0].read_bytes())
    paths[0].unlink()
    paths[0].symlink_to(outside)
    paths[1].unlink()
    paths[2].write_bytes(b"x")
    target = "/api/recordings/%s/audio"
    assert stored.get(target % items[0]["sid"]).status == 404, "a symbolic link was followed"
    assert stored.get(target % items[1]["sid"]).status == 404
    assert stored.get(target % items[2]["sid"]).status == 500
    directory = paths[2].parent
    paths[2].unlink()
    directory.rmdir()
    elsewhere = Path(stored.daemon.directory, "elsewhere")
    elsewhere.mkdir()
    (elsewhere / paths[2].name).write_bytes(outside.read_bytes())
    directory.symlink_to(elsewhere)
    assert stored.get(target % items[2]["sid"]).status == 404, "a directory behind a symbolic link was entered"
    assert stored.daemon.stop() == 0


def test_a_data_dir_that_was_moved_keeps_its_recordings(stored):
    items = [item for page in stored.pages() for item in page]
    first, second = items[:2]
    data = file_of(stored, first)
    assert stored.daemon.stop() == 0
    moved = Path(stored.daemon.directory, "moved")
    Path(stored.daemon.data).rename(moved)
    stored.daemon.env["DATA_DIR"] = str(moved)
    stored.daemon.start()
    assert stored.get(f"/api/recordings/{first['sid']}/audio").body == data
    assert stored.get(f"/api/recordings/{first['sid']}/audio", Range="bytes=0-9").body == data[:10]
    assert stored.request("DELETE", f"/api/recordings/{first['sid']}").status == 200
    assert not Path(moved, first["key"]).exists()
    Path(moved, second["key"]).unlink()
    assert stored.get(f"/api/recordings/{second['sid']}/audio").status == 404
    assert stored.request("DELETE", f"/api/recordings/{second['sid']}").status == 409, "it may lie where it was before"
    assert stored.daemon.stop() == 0


def test_what_waits_for_twilios_completed_is_not_retried_and_starts_when_it_comes(sandbox, daemon):
    peer = sandbox(count=1)
    reeld = daemon(peer).start()
    api = Api(reeld)
    oracle = Oracle(reeld, peer)
    sid, = oracle.recordings
    early = callback_params(oracle.recordings[sid], RecordingStatus="in-progress")
    assert reeld.post(early).status == 200
    wait_until(lambda: api.request("GET", f"/api/recordings/{sid}").status == 200, "the row to be there")
    reply = api.request("POST", f"/api/recordings/{sid}/retry")
    assert reply.status == 409 and "completed" in reply.json["error"], reply
    refused = reeld.command("jobs", "retry", sid)
    assert refused.returncode == 1 and "waits for Twilio to say completed" in refused.stderr, refused
    assert oracle.post(sid).status == 200
    oracle.settle()
    oracle.check()


def test_retry_puts_a_dead_one_back_to_work(sandbox, daemon):
    peer = sandbox(count=1, fault="xml-body", fault_attempts=0)
    reeld = daemon(peer, MAX_ATTEMPTS=1, RETRY_MAX="100ms").start()
    api = Api(reeld)
    peer.deliver_all(reeld)
    dead = wait_until(lambda: next(api.pages("status=dead")), lambda: api.sids())
    sid = dead[0]["sid"]
    assert dead[0]["lastError"]
    assert api.get(f"/api/recordings/{sid}/audio").status == 404
    assert api.request("DELETE", f"/api/recordings/{sid}").status == 409
    peer.set_faults("")
    reply = api.request("POST", f"/api/recordings/{sid}/retry")
    assert reply.status == 200 and reply.json == {"sid": sid, "status": "pending"}
    wait_until(lambda: api.get(f"/api/recordings/{sid}").json["status"] == "stored", lambda: api.get(f"/api/recordings/{sid}"))
    events = api.get(f"/api/recordings/{sid}").json["events"]
    assert [event["detail"] for event in events if event["what"] == "requeued"] == ["by api"]
    assert api.request("POST", f"/api/recordings/{sid}/retry").status == 409
    assert any(line["event"] == "api.retried" and line["recording_sid"] == sid for line in reeld.logs())
    assert reeld.stop() == 0


def test_all_dead_ones_are_put_back_step_by_step(sandbox, daemon):
    peer = sandbox(count=7, fault="xml-body", fault_attempts=0)
    reeld = daemon(peer, MAX_ATTEMPTS=1, RETRY_MAX="100ms", ADMIN_TOKEN=TOKEN).start()
    api, stranger = Api(reeld, TOKEN), Api(reeld)
    peer.deliver_all(reeld)
    wait_until(lambda: len(api.sids("status=dead")) == 7, lambda: api.sids("status=dead"))
    target = "/api/recordings/retry"
    assert stranger.request("POST", target + "?status=dead").status == 401
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert api.request("POST", target + "?status=dead", **headers).status == 403, headers
    for method in ("GET", "HEAD", "DELETE", "PUT"):
        reply = api.request(method, target + "?status=dead")
        assert reply.status == 405 and reply.headers["Allow"] == "POST", (method, reply)
    for query, word in (("", "status"), ("?status=", "status"), ("?status=failed", "status"), ("?status=deadly", "status"), ("?status=dead&status=dead", "status"),
                        ("?status=dead&limit=0", "limit"), ("?status=dead&limit=1001", "limit"), ("?status=dead&limit=-1", "limit"),
                        ("?status=dead&limit=x", "limit"), ("?status=dead&cursor=x", "cursor"), ("?status=dead&cursor=" + "9" * 70, "cursor")):
        reply = api.request("POST", target + query)
        assert reply.status == 400 and word in reply.json["error"], (query, reply)
    assert len(api.sids("status=dead")) == 7, "a refused request has changed something"
    # They still fail: what was put back dies again, and is not put back twice.
    steps, cursor = [], ""
    while cursor is not None and len(steps) < 9:
        reply = api.request("POST", f"{target}?status=dead&limit=3&cursor={cursor}", Origin=f"http://127.0.0.1:{reeld.admin_port}")
        assert reply.status == 200 and set(reply.json) == {"retried", "nextCursor"}, reply
        steps.append(reply.json["retried"])
        cursor = reply.json["nextCursor"]
        wait_until(lambda: len(api.sids("status=dead")) == 7, lambda: api.sids("status=dead"))
    assert steps == [3, 3, 1]
    for sid in api.sids():
        details = [event["detail"] for event in api.get(f"/api/recordings/{sid}").json["events"] if event["what"] == "requeued"]
        assert details == ["by api"], (sid, details)
    peer.set_faults("")
    assert api.request("POST", target + "?status=dead").json == {"retried": 7, "nextCursor": None}
    wait_until(lambda: len(api.sids("status=stored")) == 7, lambda: api.sids("status=stored"))
    assert api.request("POST", target + "?status=dead").json == {"retried": 0, "nextCursor": None}
    assert [line["count"] for line in reeld.logs() if line["event"] == "api.retried_dead"] == [3, 3, 1, 7]
    assert reeld.stop() == 0


def test_delete_takes_the_object_and_can_be_repeated(stored):
    item = [item for page in stored.pages() for item in page][0]
    target = f"/api/recordings/{item['sid']}"
    path = Path(stored.daemon.data, item["key"])
    assert path.exists()
    for _ in range(2):
        reply = stored.request("DELETE", target)
        assert reply.status == 200 and reply.json == {"sid": item["sid"], "status": "deleted"}
        assert not path.exists()
    after = stored.get(target).json
    assert after["status"] == "deleted"
    assert [(event["what"], event["detail"]) for event in after["events"]][-1] == ("deleted", "from storage, by api")
    assert len([event for event in after["events"] if event["what"] == "deleted"]) == 1
    assert stored.get(target + "/audio").status == 404
    assert stored.request("POST", target + "/retry").status == 409
    assert stored.sids("status=deleted") == [item["sid"]]
    other = [item for page in stored.pages("status=stored") for item in page][0]
    other_path = Path(stored.daemon.data, other["key"])
    other_path.unlink()
    other_path.mkdir()  # what cannot be deleted as a file
    assert stored.request("DELETE", f"/api/recordings/{other['sid']}").status == 502
    assert stored.get(f"/api/recordings/{other['sid']}").json["status"] == "stored"
    assert stored.daemon.stop() == 0


def test_paging_through_a_thousand_while_more_arrive(daemon):
    """Nothing that was there at the start is missing or comes twice."""
    reeld = daemon(TWILIO_API_BASE="http://127.0.0.1:9").start()
    api = Api(reeld)

    def post(n):
        call = "CA%032x" % (n // 3)
        params = callback_params({"sid": "RE%032x" % n, "source": "DialVerb", "call_sid": call, "account_sid": ACCOUNT, "duration": "1", "channels": 1,
                                  "start_time": "Mon, 23 Nov 2026 10:00:00 +0000", "conference_sid": None, "date_created": ""})
        assert reeld.post(params).status == 200

    for n in range(1000):
        post(n)
    wait_until(lambda: reeld.query("SELECT count(*) AS n FROM recordings")[0]["n"] == 1000, "the ledger to have them")
    done = threading.Event()

    def more():
        n = 1000
        while not done.is_set():
            post(n)
            n += 1

    writer = threading.Thread(target=more)
    writer.start()
    try:
        for limit in (7, 200):
            sids = api.sids(f"limit={limit}")
            assert len(sids) == len(set(sids)), "a recording came twice"
            assert {"RE%032x" % n for n in range(1000)} <= set(sids), "a recording is missing"
            old = [sid for sid in sids if int(sid[2:], 16) < 1000]
            assert old == sorted(old, reverse=True), "not newest first"
    finally:
        done.set()
        writer.join()
    assert sorted(api.sids("q=CA%032x" % 5)) == ["RE%032x" % n for n in (15, 16, 17)]
    reeld.kill()


def test_a_slow_listener_holds_no_memory_and_no_descriptor(sandbox, daemon):
    _, reeld, _ = archive(sandbox, daemon, count=1, size=60_000_000)
    api = Api(reeld)
    sid = api.sids()[0]
    pid = reeld.process.child.pid

    def resident():
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii")).group(1))

    def open_audio():
        count = 0
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                count += os.readlink(f"/proc/{pid}/fd/{fd}").endswith(".wav")
        return count

    before = resident()
    peers = []
    for _ in range(20):
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(20)
        peer.connect(("127.0.0.1", reeld.admin_port))
        peer.sendall(f"GET /api/recordings/{sid}/audio HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert peer.recv(100).startswith(b"HTTP/1.1 200 ")
        peers.append(peer)
    wait_until(lambda: open_audio() == 20, lambda: f"{open_audio()} files open")
    assert resident() - before < 20 * 1024, "20 readers of 60 MB each may hold a piece, not the file"
    assert api.get("/api/stats").status == 200, "others are served meanwhile"
    for peer in peers:
        peer.close()
    wait_until(lambda: open_audio() == 0, lambda: f"{open_audio()} files still open")
    assert hashlib.sha256(api.get(f"/api/recordings/{sid}/audio").body).hexdigest() == api.get(f"/api/recordings/{sid}").json["sha256"]
    assert reeld.stop() == 0


def test_stopping_in_the_middle_of_audio(sandbox, daemon):
    _, reeld, _ = archive(sandbox, daemon, count=1, size=30_000_000, SHUTDOWN_GRACE="300ms")
    sid = Api(reeld).sids()[0]
    with socket.create_connection(("127.0.0.1", reeld.admin_port), timeout=20) as peer:
        peer.sendall(f"GET /api/recordings/{sid}/audio HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert peer.recv(100)
        assert reeld.stop() == 0


def test_stats_are_the_contract(stored):
    stats = stored.get("/api/stats").json
    assert list(stats) == ["totalCalls", "totalDuration", "averageDuration", "callsByStatus", "callsByDay", "topRatedCalls", "longestCalls"]
    assert set(stats["callsByStatus"]) == {"RINGING", "IN_PROGRESS", "COMPLETED", "FAILED", "NO_ANSWER"}
    assert stats["totalCalls"] == sum(stats["callsByStatus"].values()) == len(stored.daemon.query("SELECT id FROM calls")) > 0
    rows = {row["twilio_sid"]: row for row in stored.daemon.query("SELECT * FROM calls")}
    timed = [row["duration"] for row in rows.values() if row["duration"] is not None]
    assert stats["totalDuration"] == sum(timed)
    assert stats["averageDuration"] == pytest.approx(sum(timed) / len(timed) if timed else 0, abs=0.006)
    assert len(stats["callsByDay"]) == 30 and all(re.fullmatch(r"\d{4}-\d\d-\d\d", day["date"]) for day in stats["callsByDay"])
    assert [day["date"] for day in stats["callsByDay"]] == sorted(day["date"] for day in stats["callsByDay"])
    assert stats["topRatedCalls"] == []
    assert len(stats["longestCalls"]) == min(10, len(timed))
    for call in stats["longestCalls"]:
        row = rows[call["twilioSid"]]
        assert set(call) == {"id", "twilioSid", "fromNumber", "toNumber", "status", "duration", "recordingUrl", "transcriptUrl", "rating", "notes", "tags",
                             "createdAt", "updatedAt", "_count"}
        assert call["duration"] == row["duration"] and call["recordingUrl"] == row["recording_url"] and call["_count"] == {"segments": 0}
        assert call["tags"] == json.loads(row["tags"]) and call["toNumber"] == row["to_number"]
        if row["from_number"]:
            assert call["fromNumber"] == "*" * (len(row["from_number"]) - 4) + row["from_number"][-4:]
    assert stored.daemon.stop() == 0


def test_the_examples_of_the_documentation_work_as_pasted(sandbox, daemon, tmp_path):
    _, reeld, _ = archive(sandbox, daemon, ADMIN_TOKEN=TOKEN)
    text = Path(__file__).parents[2].joinpath("docs", "api.md").read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S))
    assert script.count("curl") >= 8
    env = {"PATH": os.environ["PATH"], "API": f"http://127.0.0.1:{reeld.admin_port}", "TOKEN": TOKEN}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done
    api = Api(reeld, TOKEN)
    whole = (tmp_path / "recording.wav").read_bytes()
    assert hashlib.sha256(whole).hexdigest() in {item["sha256"] for page in api.pages() for item in page}
    assert (tmp_path / "header.bin").read_bytes() == whole[:44]
    assert '"recordings":[' in done.stdout and "received" in done.stdout and "?ticket=" in done.stdout and '"totalCalls": ' in done.stdout
    assert done.stdout.count('{"error":"no recording RE' + "0" * 32) == 2, done.stdout
    assert reeld.stop() == 0


def test_the_same_on_postgres_and_s3(sandbox, space, replica, tmp_path):
    peer = sandbox(count=5)
    reeld = replica(space, peer, ADMIN_TOKEN=TOKEN).start()
    peer.deliver_all(reeld)
    api, stranger = Api(reeld, TOKEN), Api(reeld)
    wait_until(lambda: len(api.sids("status=stored")) == 5, lambda: api.sids())
    item = next(api.pages("limit=1"))[0]
    target = f"/api/recordings/{item['sid']}"
    for method in ("GET", "HEAD"):
        moved = api.request(method, target + "/audio")
        assert moved.status == 302 and moved.body == b"" and item["key"] in moved.headers["Location"], moved
    link = api.get(target + "/audio?as=link")
    assert link.status == 200 and TIME.fullmatch(link.json["expiresAt"])
    assert stranger.get(target + "/audio").status == 401
    for url in (moved.headers["Location"], link.json["url"]):
        subprocess.run(["curl", "-sSf", "--noproxy", "*", "-m", "20", "-o", str(tmp_path / "fetched"), url], check=True)
        assert hashlib.sha256((tmp_path / "fetched").read_bytes()).hexdigest() == item["sha256"]
    assert item["sid"] in api.sids(f"q={item['callSid']}") and api.sids(f"q={item['sid']}") == [item["sid"]]
    stats = api.get("/api/stats").json
    assert stats["totalCalls"] == len(reeld.query("SELECT id FROM calls")) > 0 and len(stats["callsByDay"]) == 30
    for _ in range(2):
        assert api.request("DELETE", target).json == {"sid": item["sid"], "status": "deleted"}
    assert subprocess.run(["curl", "-sS", "--noproxy", "*", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", link.json["url"]], capture_output=True,
                          text=True, check=True).stdout == "404"
    assert api.get(target).json["events"][-1]["detail"] == "from storage, by api" and api.get(target + "/audio").status == 404
    assert reeld.stop() == 0
    assert "X-Amz-Signature" not in reeld.process.output()
