# SPDX-License-Identifier: MIT
"""What reeld makes of Twilio's answers: whom it asks, whom it never asks, and what a dead letter says."""
import base64
import hashlib
import json

import pytest
from reeldlib import ACCOUNT, TOKEN, WAV, callback_params, wait_until

RECORDING = {"sid": "RE" + "ab" * 16, "call_sid": "CA" + "cd" * 16, "account_sid": ACCOUNT, "duration": "1", "channels": 1,
             "source": "DialVerb", "start_time": "Wed, 20 Apr 2022 23:45:25 +0000"}
MEDIA = f"/2010-04-01/Accounts/{ACCOUNT}/Recordings/{RECORDING['sid']}.wav"
NOT_FOUND = b"<TwilioResponse><RestException><Code>20404</Code><Message>not found</Message></RestException></TwilioResponse>"


def twilio(described, media=(404, {"Content-Type": "application/xml"}, NOT_FOUND)):
    """Answers as Twilio does; `described`: what differs in the recording's JSON, or (status, body)."""
    def answer(request):
        path = request.path.partition("?")[0]
        kind = {"Content-Type": "application/json"}
        if "/Calls/" in path:
            return 200, kind, json.dumps({"sid": RECORDING["call_sid"], "from": "+15005550006", "to": "+15005550001",
                                          "status": "completed"}).encode()
        if path.endswith(".json"):
            if isinstance(described, tuple):
                return described[0], kind, described[1]
            return 200, kind, json.dumps({**RECORDING, "status": "completed", "media_url": None, **described}).encode()
        return media
    return answer


def ended(reeld, sid=RECORDING["sid"]):
    return wait_until(lambda: (lambda row: row if row and row["status"] not in ("pending", "running") else None)(reeld.recording(sid)),
                      lambda: f"an end: {reeld.recording(sid)}\n{reeld.process.output()[-2000:]}")


def params(**changes):
    return callback_params(RECORDING, **{"RecordingSid": RECORDING["sid"], "CallSid": RECORDING["call_sid"], **changes})


@pytest.mark.parametrize("described, status, words", [
    ({"status": "deleted"}, "dead", "deleted at Twilio before it was archived"),
    ({"media_url": "https://our-bucket.s3.amazonaws.com/x.wav"}, "dead", "external storage at our-bucket.s3.amazonaws.com"),
    ({"status": "absent", "error_code": 16101}, "absent", "error 16101: shorter than the least that Twilio keeps"),
    ({"status": "failed", "error_code": 16112}, "failed", "error 16112: lost by Twilio's external storage: the bucket refused it"),
    ({"status": "processing"}, "dead", "Twilio is still making the recording (processing)"),
    ({"media_url": "http://api.twilio.com" + MEDIA.removesuffix(".wav")}, "dead", 'Twilio says "completed", yet its media answers 404'),
    ((404, b"<html>not found</html>"), "dead", "is TWILIO_API_BASE right?"),
])
def test_why_there_is_no_audio_is_said_in_words(peers, daemon, described, status, words):
    peer = peers(twilio(described))
    reeld = daemon(peer, MAX_ATTEMPTS="2", RETRY_BASE="10ms", RETRY_MAX="50ms").start()
    assert reeld.post(params()).status == 200
    row = ended(reeld)
    assert row["status"] == status, row
    assert words in row["last_error"], row["last_error"]
    notes = reeld.query("SELECT notes FROM calls WHERE twilio_sid = ?", RECORDING["call_sid"])[0]["notes"]
    assert words in notes, "the call's note says why, too"
    assert any(path.endswith(".json?IncludeSoftDeleted=true") for _, path, _ in peer.requests)
    assert reeld.files() == {}
    assert reeld.stop() == 0


def test_the_host_of_a_recording_url_is_never_asked(sandbox, daemon, peers):
    trap = peers(lambda request: (200, {"Content-Type": "audio/x-wav"}, WAV))
    peer = sandbox(count=2)
    reeld = daemon(peer).start()
    first, second = peer.recordings()
    url = f"{trap.url}/2010-04-01/Accounts/{ACCOUNT}/Recordings/"
    # Signed like any other: even who can sign cannot choose where reeld goes.
    assert reeld.post(callback_params(first, RecordingUrl=url + first["sid"])).status == 200
    assert reeld.post(callback_params(second, RecordingUrl=f"http://user:pw@127.0.0.1:{trap.port}/x#@api.twilio.com")).status == 200
    for recording in (first, second):
        row = ended(reeld, recording["sid"])
        assert row["status"] == "stored", row
    assert len(reeld.files()) == 2
    assert trap.requests == [], "RecordingUrl is data"
    assert reeld.stop() == 0


def test_media_that_is_elsewhere_is_fetched_without_credentials(peers, daemon):
    elsewhere = peers(lambda request: (200, {"Content-Type": "audio/x-wav"}, WAV))
    peer = peers(twilio({}, media=(307, {"Location": f"{elsewhere.url}/signed?x=1"}, b"")))
    reeld = daemon(peer).start()
    assert reeld.post(params()).status == 200
    row = ended(reeld)
    assert row["status"] == "stored" and row["sha256"] in (hashlib.sha256(WAV).hexdigest(), hashlib.sha256(WAV).digest()), dict(row)
    [(method, path, headers)] = elsewhere.requests
    assert (method, path) == ("GET", "/signed?x=1")
    assert "Authorization" not in headers
    assert "Authorization" in peer.requests[-1][2]
    assert reeld.stop() == 0


def test_a_redirect_that_brings_credentials_is_an_end(peers, daemon):
    elsewhere = peers(lambda request: (200, {"Content-Type": "audio/x-wav"}, WAV))
    peer = peers(twilio({}, media=(302, {"Location": f"http://user:pw@127.0.0.1:{elsewhere.port}/"}, b"")))
    reeld = daemon(peer).start()
    assert reeld.post(params()).status == 200
    row = ended(reeld)
    assert row["status"] == "dead" and "redirect to a URL with credentials refused" in row["last_error"], dict(row)
    assert elsewhere.requests == []
    assert reeld.stop() == 0


def test_a_suspended_account_waits_and_says_so(peers, daemon):
    refused = (401, {"Content-Type": "application/json"}, b'{"code":20003,"message":"Authenticate"}')
    suspended = [True]

    def answer(request):
        if suspended[0]:
            return refused
        return twilio({}, media=(200, {"Content-Type": "audio/x-wav"}, WAV))(request)

    peer = peers(answer)
    reeld = daemon(peer, MAX_ATTEMPTS="1", RETRY_BASE="10ms", RETRY_MAX="50ms").start()
    assert reeld.post(params()).status == 200
    wait_until(lambda: len(peer.requests) >= 3, lambda: f"several tries: {peer.requests}")
    wait_until(lambda: any("suspended account" in line.get("detail", "") for line in reeld.logs()), "the log to say what is likely")
    row = reeld.recording(RECORDING["sid"])
    assert row["status"] in ("pending", "running") and row["attempts"] == 0, "it is nobody's fault: not charged"
    suspended[0] = False
    assert ended(reeld)["status"] == "stored"
    assert reeld.stop() == 0


@pytest.mark.parametrize("in_file", [False, True])
def test_an_api_key_is_for_its_own_account(peers, daemon, tmp_path, in_file):
    def basic(name, secret):
        return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()

    other = "AC" + "fe" * 16
    peer = peers(twilio({}, media=(200, {"Content-Type": "audio/x-wav"}, WAV)))
    accounts = tmp_path / "accounts"
    accounts.write_text(f"{other} other_token\n" + (f"{ACCOUNT} {TOKEN}\n" if in_file else ""))
    changes = {"TWILIO_AUTH_TOKEN": ""} if in_file else {}
    reeld = daemon(peer, TWILIO_ACCOUNTS_FILE=str(accounts), TWILIO_API_KEY="SK" + "0a" * 16, TWILIO_API_SECRET="key_secret", UNKNOWN_CALL="archive",
                   **changes).start()
    second = "RE" + "ba" * 16
    assert reeld.post(params()).status == 200
    assert reeld.post(params(RecordingSid=second, AccountSid=other), token="other_token").status == 200
    assert [ended(reeld, sid)["status"] for sid in (RECORDING["sid"], second)] == ["stored", "stored"]
    used = {path.split("/")[3]: headers["Authorization"] for _, path, headers in peer.requests}
    assert used == {ACCOUNT: basic("SK" + "0a" * 16, "key_secret"), other: basic(other, "other_token")}
    assert reeld.stop() == 0
