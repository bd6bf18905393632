# SPDX-License-Identifier: MIT
"""What is not Twilio's, or not well formed, is refused with the contract's words, and leaves nothing behind."""
import http.client
import socket
import urllib.parse

import pytest
from reeldlib import ACCOUNT, PATH, TOKEN, callback_params, http_request, sign, wait_until

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def reeld(sandbox, daemon):
    reeld = daemon(sandbox(count=1)).start()
    reeld.sample = reeld_sample()
    yield reeld
    assert reeld.running, "the daemon died:\n" + reeld.process.output()[-4000:]
    assert reeld.stop() == 0


def reeld_sample():
    return {"source": "DialVerb", "sid": "RE" + "ab" * 16, "channels": 1, "call_sid": "CA" + "cd" * 16,
            "start_time": "Wed, 20 Apr 2022 23:45:25 +0000", "duration": "11"}


def untouched(reeld):
    assert reeld.query("SELECT * FROM recordings") == [] and reeld.files() == {}


@pytest.mark.parametrize("signature", ["", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "x", "=" * 28, "A" * 5000])
def test_wrong_signatures(reeld, signature):
    reply = reeld.post(callback_params(reeld.sample), signature=signature)
    assert (reply.status, reply.json) == (403, {"error": "Invalid request signature"})
    untouched(reeld)


def test_each_changed_part_breaks_the_signature(reeld):
    params = callback_params(reeld.sample)
    right = sign(TOKEN, reeld.url + PATH, params)
    for index in range(len(params)):
        changed = [(name, value + "x" if position == index else value) for position, (name, value) in enumerate(params)]
        assert reeld.post(changed, signature=right).status == 403, params[index]
    assert reeld.post(params[:-1], signature=right).status == 403
    assert reeld.post(params + [("Extra", "1")], signature=right).status == 403
    assert reeld.post(params, signature=right, path=PATH + "?a=b").status == 403
    assert reeld.post(params, token=TOKEN + "x").status == 403
    untouched(reeld)
    assert reeld.post(params, signature=right).status == 200, "the right one is right"


def test_a_signed_url_vouches_for_nothing_behind_a_fragment(reeld):
    """A leaked URL and its signature would make any number of events otherwise: Twilio signs up to the '#'."""
    target = PATH + "?" + urllib.parse.urlencode(callback_params(reeld.sample, "in-progress"))
    signature = {"X-Twilio-Signature": sign(TOKEN, reeld.url + target)}
    forged = urllib.parse.urlencode({"RecordingSid": "RE" + "0b" * 16, "RecordingStatus": "completed"})
    for more in ("#&" + forged, "#", "#" + forged, "%23&" + forged):
        assert reeld.get(target + more, headers=signature).status in (400, 403), more
    untouched(reeld)
    assert reeld.get(target, headers=signature).status == 200, "the right one is right"


def test_unknown_parameters_are_part_of_the_signature_and_kept(reeld):
    params = callback_params(reeld.sample, "in-progress") + [("Nový", "ž+ &=%"), ("Empty", "")]
    assert reeld.post(params).status == 200


@pytest.mark.parametrize("changes, message", [
    ({"RecordingSid": None}, "Missing required fields: CallSid or RecordingSid"),
    ({"CallSid": None}, "Missing required fields: CallSid or RecordingSid"),
    ({"RecordingSid": "RE12"}, None), ({"CallSid": "CAzz" + "0" * 30}, None), ({"RecordingSid": "RE../../../../etc/passwd0000000000"}, None),
    ({"RecordingDuration": "-2"}, None), ({"RecordingDuration": "1e3"}, None), ({"RecordingChannels": "many"}, None),
])
def test_malformed_fields(reeld, changes, message):
    reply = reeld.post(callback_params(reeld.sample, **changes))
    assert reply.status == 400 and reply.json["error"], reply
    assert message is None or reply.json == {"error": message}
    untouched(reeld)


def test_nothing_about_fields_before_the_signature_holds(reeld):
    assert reeld.post(callback_params(reeld.sample, RecordingSid=None), signature="wrong").status == 403


def test_malformed_forms(reeld):
    for body in (b"a=%", b"a=%zz", b"a=%00", b"\x00=1", b"&".join(b"f%d=1" % n for n in range(200))):
        reply = http_request(reeld.port, "POST", PATH, body, {**FORM, "X-Twilio-Signature": sign(TOKEN, reeld.url + PATH)})
        assert reply.status == 400 and reply.json["error"], (body[:20], reply)


def test_methods_paths_types_sizes(reeld):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        reply = http_request(reeld.port, method, PATH, b"", FORM)
        assert reply.status == 405 and "POST" in reply.headers["Allow"], (method, reply)
    assert http_request(reeld.port, "POST", "/api/twilio/other", b"", FORM).status == 404
    assert reeld.get("/").status == 404
    assert reeld.get("/metrics").status == 404, "metrics are not for the public listener"
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x", ""):
        assert http_request(reeld.port, "POST", PATH, b"{}", {"Content-Type": kind}).status == 415, kind
    reply = http_request(reeld.port, "POST", PATH, b"a=" + b"x" * (64 << 10), FORM)
    assert reply.status == 413 and reply.json["error"]


def raw(port, data, seconds=15):
    """Sends bytes, returns everything until the peer closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        received = b""
        while True:
            try:
                piece = connection.recv(65536)
            except ConnectionResetError:
                return received
            if not piece:
                return received
            received += piece


@pytest.mark.parametrize("data", [
    b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"POST " + PATH.encode() + b" HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/9.9\r\n\r\n", b"POST " + PATH.encode() + b" HTTP/1.1\r\nContent-Length: -1\r\n\r\n"])
def test_what_is_not_http_is_cut(reeld, data):
    received = raw(reeld.port, data)
    assert received == b"" or received[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 505"), received[:100]


def test_huge_heads_are_refused(reeld):
    assert raw(reeld.port, b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 40000 + b"\r\n\r\n").startswith(b"HTTP/1.1 431")
    assert raw(reeld.port, b"GET /" + b"y" * 40000 + b" HTTP/1.1\r\n\r\n")[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 414")


def test_slow_clients_are_cut(sandbox, daemon):
    reeld = daemon(sandbox(count=1), HEADER_TIMEOUT="300ms", IDLE_TIMEOUT="300ms").start()
    assert raw(reeld.port, b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Le").startswith(b"HTTP/1.1 408")
    assert raw(reeld.port, b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc").startswith(b"HTTP/1.1 408")
    assert raw(reeld.port, b"") == b"", "an idle connection is closed without a word"
    assert reeld.stop() == 0


def test_too_many_connections_are_turned_away_and_the_rest_served(sandbox, daemon):
    reeld = daemon(sandbox(count=1), MAX_CONNECTIONS="8").start()
    wait_until(lambda: reeld.metrics()["reeld_http_connections"] == 0, "the connection of the readiness check to be gone")
    kept = [socket.create_connection(("127.0.0.1", reeld.port), timeout=10) for _ in range(8)]
    wait_until(lambda: reeld.metrics()["reeld_http_connections"] == 8, "all to be accepted")
    try:
        status = reeld.get("/healthz").status
    except (OSError, http.client.HTTPException):
        status = 503
    assert status == 503
    kept[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert kept[0].recv(100).startswith(b"HTTP/1.1 200")
    for connection in kept:
        connection.close()
    wait_until(lambda: reeld.metrics()["reeld_http_connections"] == 0, "the connections to be gone")
    assert reeld.get("/healthz").status == 200
    assert reeld.stop() == 0


def test_the_url_in_the_callback_is_never_asked(reeld, sandbox):
    trap = sandbox(count=1)
    recording = reeld_sample()
    url = f"http://127.0.0.1:{trap.port}/2010-04-01/Accounts/{ACCOUNT}/Recordings/{recording['sid']}"
    assert reeld.post(callback_params(recording, RecordingUrl=url)).status == 200
    wait_until(lambda: sum(value for name, value in reeld.metrics().items() if name.startswith("reeld_retries_total")), "a first attempt")
    assert sum(trap.stats()["requests"].values()) == 0


def test_public_url_is_what_is_signed(sandbox, daemon):
    reeld = daemon(sandbox(count=1), PUBLIC_URL="https://hooks.example.com").start()
    params = callback_params(reeld_sample(), "in-progress")
    assert reeld.post(params).status == 200
    assert reeld.post(params, signature=sign(TOKEN, reeld.url + PATH, params)).status == 403
    assert reeld.post(params, signature=sign(TOKEN, "https://hooks.example.com:443" + PATH, params)).status == 200
    assert reeld.stop() == 0


@pytest.mark.parametrize("trusted, expected", [("127.0.0.0/8", 200), ("10.0.0.0/8", 403), ("", 403)])
def test_forwarded_headers_count_from_trusted_proxies_only(sandbox, daemon, trusted, expected):
    reeld = daemon(sandbox(count=1), TRUSTED_PROXIES=trusted).start()
    params = callback_params(reeld_sample(), "in-progress")
    reply = reeld.post(params, signature=sign(TOKEN, "https://outside.example" + PATH, params),
                       headers={"X-Forwarded-Proto": "https", "X-Forwarded-Host": "outside.example"})
    assert reply.status == expected
    assert reeld.stop() == 0
