# SPDX-License-Identifier: MIT
"""Calls: the TwiML that answers them, their life in the ledger, and what recordings make of it."""
import http.client
import random
import threading
import urllib.parse
import xml.etree.ElementTree

import pytest
from reeldlib import ACCOUNT, PATH, TOKEN, Oracle, callback_params, free_port, sign, wait_until

INCOMING = "/api/twilio/incoming"
STATUS = "/api/twilio/status"
FROM, TO = "+15005550006", "+15005550001"


def call_sid(n):
    return f"CA{n:032x}"


def call_params(n, status, **changes):
    """A voice webhook as Twilio sends it: the call, and much that reeld does not read."""
    params = {"AccountSid": ACCOUNT, "ApiVersion": "2010-04-01", "CallSid": call_sid(n), "CallStatus": status, "Called": TO, "Caller": FROM,
              "CallerCity": "KÖLN", "Direction": "inbound", "From": FROM, "To": TO}
    params.update(changes)
    return [(name, value) for name, value in params.items() if value is not None]


def status_params(n, status, **changes):
    return call_params(n, status, CallbackSource="call-progress-events", SequenceNumber="0", Timestamp="Thu, 26 Nov 2026 08:00:00 +0000", **changes)


def accepted(reply):
    assert (reply.status, reply.json) == (200, {"success": True, "message": "Call status accepted"}), reply


def twiml(reply):
    assert reply.status == 200 and reply.headers["Content-Type"] == "text/xml", reply
    assert reply.body.startswith(b"<?xml"), "nothing may stand before the declaration"
    root = xml.etree.ElementTree.fromstring(reply.body)
    assert root.tag == "Response" and not root.attrib
    return root


def recording_of(root):
    start = root.find("Start")
    assert [child.tag for child in start] == ["Recording"] and not start.attrib
    return start.find("Recording").attrib


@pytest.fixture(params=["sqlite", "postgres"])
def made(request, daemon):
    """Makes a daemon on either ledger; its rows are asked by the second thing returned."""
    def make(peer=None, **env):
        if request.param == "sqlite":
            reeld = daemon(peer, **env)
            return reeld, reeld.query
        space = request.getfixturevalue("space")
        return request.getfixturevalue("replica")(space, peer, **env), space.rows
    return make


def test_twiml_without_settings_only_records(daemon):
    reeld = daemon().start()
    root = twiml(reeld.post(call_params(1, "ringing"), path=INCOMING))
    assert [child.tag for child in root] == ["Start"]
    assert recording_of(root) == {"recordingStatusCallback": reeld.url + PATH + "#rc=5&rp=all",
                                  "recordingStatusCallbackEvent": "in-progress completed absent failed"}
    assert reeld.stop() == 0


def test_twiml_greets_records_and_connects(daemon):
    greeting = 'Hello & <welcome> "to" Köln\'s \U0001F600 line'
    stream = "wss://bridge.example.com:8443/media/a&b='c'/d"
    reeld = daemon(PUBLIC_URL="https://hooks.example.com/a&b", GREETING=greeting, STREAM_URL=stream).start()
    for _ in range(2):
        root = twiml(reeld.post(call_params(1, "ringing"), path=INCOMING))
        assert [child.tag for child in root] == ["Say", "Start", "Connect"]
        assert root.find("Say").text == greeting
        assert recording_of(root)["recordingStatusCallback"] == "https://hooks.example.com/a&b/api/twilio/recording#rc=5&rp=all"
        assert [child.tag for child in root.find("Connect")] == ["Stream"]
        assert root.find("Connect/Stream").attrib == {"url": stream}
    assert reeld.stop() == 0


def test_the_callback_in_the_twiml_is_one_that_reeld_accepts(sandbox, daemon):
    """Twilio calls what the TwiML says, without the fragment, and signs that."""
    peer = sandbox(count=1)
    reeld = daemon(peer).start()
    target = recording_of(twiml(reeld.post(call_params(1, "ringing"), path=INCOMING)))["recordingStatusCallback"]
    url, _, overrides = target.partition("#")
    assert dict(urllib.parse.parse_qsl(overrides)) == {"rc": "5", "rp": "all"}
    assert url.startswith(reeld.url)
    oracle = Oracle(reeld, peer)
    sid = next(iter(oracle.recordings))
    params = callback_params(oracle.recordings[sid])
    reply = reeld.post(params, path=url[len(reeld.url):], signature=sign(TOKEN, url, params))
    assert reply.status == 200, reply
    oracle.acknowledged.add(sid)
    oracle.settle()
    oracle.check()
    assert reeld.stop() == 0


def test_a_call_by_get(daemon):
    reeld = daemon().start()
    for path, params in ((INCOMING, call_params(1, "ringing")), (STATUS, status_params(1, "completed", CallDuration="5"))):
        target = path + "?" + urllib.parse.urlencode(params)
        reply = reeld.get(target, headers={"X-Twilio-Signature": sign(TOKEN, reeld.url + target)})
        assert reply.status == 200, reply
        assert reeld.get(target, headers={"X-Twilio-Signature": sign(TOKEN, reeld.url + path, params)}).status == 403
    wait_until(lambda: reeld.query("SELECT 1 FROM calls WHERE status = 'COMPLETED' AND duration = 5"), "the call to end")
    assert reeld.stop() == 0


def test_the_life_of_a_call(made):
    reeld, rows = made()
    reeld.start()

    def call():
        found = rows("SELECT status, duration, from_number, to_number FROM calls")
        assert len(found) <= 1
        return tuple(found[0].values()) if found else None

    twiml(reeld.post(call_params(1, "ringing", To="sip:earl@example.com"), path=INCOMING))
    wait_until(lambda: call() == ("RINGING", None, FROM, "sip:earl@example.com"), lambda: f"the call to ring: {call()}")
    accepted(reeld.post(status_params(1, "in-progress"), path=STATUS))
    wait_until(lambda: call() == ("IN_PROGRESS", None, FROM, "sip:earl@example.com"), lambda: f"the call to go on: {call()}")
    accepted(reeld.post(status_params(1, "completed", CallDuration="61"), path=STATUS))
    wait_until(lambda: call() == ("COMPLETED", 61, FROM, "sip:earl@example.com"), lambda: f"the call to end: {call()}")
    # Late, repeated, contradictory and strange ones; then a last call shows that they went through.
    for word, changes in (("ringing", {}), ("in-progress", {"CallDuration": "3"}), ("completed", {"CallDuration": "61"}), ("busy", {"CallDuration": "0"})):
        accepted(reeld.post(status_params(1, word, **changes), path=STATUS))
    reply = reeld.post(status_params(1, "parked", CallDuration="1"), path=STATUS)
    assert (reply.status, reply.json) == (200, {"success": True, "message": "Unknown status acknowledged"})
    twiml(reeld.post(call_params(1, "ringing"), path=INCOMING))
    accepted(reeld.post(status_params(2, "no-answer"), path=STATUS))
    wait_until(lambda: rows("SELECT 1 FROM calls WHERE status = 'NO_ANSWER'"), "the other call")
    assert [tuple(row.values()) for row in rows("SELECT status, duration, to_number FROM calls WHERE status <> 'NO_ANSWER'")] == [
        ("COMPLETED", 61, "sip:earl@example.com")]
    metrics = reeld.metrics()
    assert metrics['reeld_webhooks_total{endpoint="status",status="200",outcome="accepted"}'] == 8
    assert metrics['reeld_webhooks_total{endpoint="incoming",status="200",outcome="accepted"}'] == 2
    unknown = [line for line in reeld.logs() if line["event"] == "call.unknown_status"]
    assert [(line["call_sid"], line["status"]) for line in unknown] == [(call_sid(1), "parked")]
    assert reeld.stop() == 0


def test_a_known_call_is_not_asked_for_at_twilio(sandbox, made):
    """UNKNOWN_CALL=skip: the recording of the call that rang is archived, the other one is not."""
    peer = sandbox(count=2)
    reeld, rows = made(peer, UNKNOWN_CALL="skip")
    reeld.start()
    first, second = peer.recordings()
    twiml(reeld.post(call_params(0, "ringing", CallSid=first["call_sid"]), path=INCOMING))
    for recording in (first, second):
        assert reeld.post(callback_params(recording)).status == 200
    wait_until(lambda: {row["recording_sid"]: row["status"] for row in rows("SELECT recording_sid, status FROM recordings")} ==
               {first["sid"]: "stored", second["sid"]: "skipped"}, lambda: f"both to end: {rows('SELECT recording_sid, status, last_error FROM recordings')}")
    assert len(rows("SELECT 1 FROM calls WHERE recording_url IS NOT NULL")) == 1
    assert reeld.stop() == 0


def test_a_status_that_comes_after_the_recording(sandbox, made):
    """The recording's job fetched the call; Twilio's last words about it come later, first things last."""
    peer = sandbox(count=1)
    reeld, rows = made(peer)
    reeld.start()
    recording = peer.recordings()[0]
    assert reeld.post(callback_params(recording)).status == 200
    wait_until(lambda: rows("SELECT 1 FROM recordings WHERE status = 'stored'"), "the recording to be stored")
    before = rows("SELECT status, duration, from_number, to_number, recording_url FROM calls")[0]
    assert before["status"] == "COMPLETED" and before["recording_url"]
    accepted(reeld.post(status_params(0, "completed", CallSid=recording["call_sid"], CallDuration="4321"), path=STATUS))
    twiml(reeld.post(call_params(0, "ringing", CallSid=recording["call_sid"], From="+15005559999"), path=INCOMING))
    accepted(reeld.post(status_params(2, "no-answer"), path=STATUS))
    wait_until(lambda: rows("SELECT 1 FROM calls WHERE status = 'NO_ANSWER'"), "the other call")
    after = rows("SELECT status, duration, from_number, to_number, recording_url FROM calls WHERE status <> 'NO_ANSWER'")
    assert after == [dict(before, duration=4321)]
    assert reeld.stop() == 0


def calls_of(peer):
    """What the ledger must say of the sandbox's calls once they are over."""
    expected = {}
    for recording in peer.recordings():
        call = peer.get(f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{recording['call_sid']}.json").json
        expected[call["sid"]] = ("COMPLETED", int(recording["duration"]), call["from"], call["to"], recording["sid"])
    return expected


def calls_in(rows):
    found = rows("SELECT c.*, r.recording_sid FROM calls c LEFT JOIN recordings r ON r.call_sid = c.twilio_sid AND r.url = c.recording_url")
    return {row["twilio_sid"]: (row["status"], row["duration"], row["from_number"], row["to_number"], row["recording_sid"]) for row in found}


def delivered(peer):
    return not peer.stats()["callbacks"]["running"]


def test_whole_calls_of_the_sandbox(sandbox, made):
    """`reeld sandbox --calls`: incoming, status and recording callbacks, to where the TwiML says; nothing is asked at Twilio that a webhook told."""
    port = free_port()
    reeld, rows = made(TWILIO_API_BASE=f"http://127.0.0.1:{port}", GREETING="Hello", STREAM_URL="wss://bridge.example.com/media")
    reeld.start()
    peer = sandbox(port=port, count=20, size="1KB-300KB", calls=True, target=reeld.url + INCOMING)
    wait_until(lambda: delivered(peer), lambda: f"the calls to end: {peer.stats()}")
    callbacks = peer.stats()["callbacks"]
    assert (callbacks["calls"], callbacks["sent"], callbacks["acknowledged"], callbacks["bad_twiml"]) == (20, 120, 120, 0), callbacks
    wait_until(lambda: len(rows("SELECT 1 FROM recordings WHERE status = 'stored'")) == 20, "the recordings to be stored")
    asked = peer.stats()["requests"]["call"]
    assert asked == 0, "each call was known before its recording came"
    expected = calls_of(peer)
    wait_until(lambda: calls_in(rows) == expected, lambda: f"all calls: {set(calls_in(rows).items()) ^ set(expected.items())}")
    metrics = reeld.metrics()
    counts = {endpoint: metrics[f'reeld_webhooks_total{{endpoint="{endpoint}",status="200",outcome="accepted"}}']
              for endpoint in ("incoming", "status", "recording")}
    assert counts == {"incoming": 20, "status": 60, "recording": 40}
    assert reeld.stop() == 0


def test_whole_calls_in_any_order_and_more_than_once_end_the_same(sandbox, made):
    peer = sandbox(count=40, size="1KB-300KB", fault="reorder,dup")
    reeld, rows = made(peer)
    reeld.start()
    callbacks = peer.deliver_all(reeld, target=reeld.url + INCOMING, calls=1)
    assert callbacks["acknowledged"] == callbacks["sent"] and callbacks["duplicates"] > 40, callbacks
    assert peer.stats()["faults"]["reorder"] == 40
    expected = calls_of(peer)
    wait_until(lambda: calls_in(rows) == expected, lambda: f"all calls: {set(calls_in(rows).items()) ^ set(expected.items())}")
    assert [tuple(row.values()) for row in rows("SELECT status, count(*) AS n FROM recordings GROUP BY status")] == [("stored", 40)]
    stored = rows("SELECT count(*) AS n FROM recording_events WHERE what = 'stored'")
    assert stored[0]["n"] == 40, "each recording is stored once"
    assert reeld.stop() == 0


def test_a_call_that_cannot_be_answered_ends_there(sandbox, daemon):
    """What Twilio would do: the caller hears an application error, and no recording begins."""
    peer = sandbox(count=5)
    reeld = daemon(peer, TWILIO_AUTH_TOKEN="another0token0another0token0anot").start()
    callbacks = peer.deliver_all(reeld, target=reeld.url + INCOMING, calls=1, retry=0)
    assert (callbacks["sent"], callbacks["refused"]) == (5, 5), callbacks
    assert reeld.query("SELECT 1 FROM calls") == [] and reeld.query("SELECT 1 FROM recordings") == []
    assert reeld.stop() == 0


def test_a_conference_has_no_call(sandbox, made):
    peer = sandbox(count=1)
    reeld, rows = made(peer)
    reeld.start()
    recording = peer.recordings()[0]
    conference = "CF" + "0123456789abcdef" * 2
    assert reeld.post(callback_params(recording, CallSid=None, ConferenceSid=conference, RecordingSource="Conference")).status == 200
    wait_until(lambda: rows("SELECT 1 FROM recordings WHERE status = 'stored'"), lambda: f"the recording to be stored: {rows('SELECT * FROM recordings')}")
    row = rows("SELECT * FROM recordings")[0]
    assert row["conference_sid"] == conference and row["call_sid"] is None and row["source"] == "Conference"
    assert f"/{conference}/{recording['sid']}.wav" in row["key"]
    assert rows("SELECT * FROM calls") == []
    expected = peer.listing(format="wav")[recording["sid"]]
    assert (row["bytes"], row["sha256"]) == (expected["bytes"], expected["sha256"])
    assert reeld.stop() == 0


def test_why_there_is_no_recording_is_told_in_words(made):
    reeld, rows = made()
    reeld.start()
    recording = {"sid": "RE" + "1" * 32, "call_sid": call_sid(1), "source": "DialVerb", "channels": 1, "duration": 0,
                 "start_time": "Thu, 26 Nov 2026 08:00:00 +0000"}
    accepted(reeld.post(status_params(1, "completed"), path=STATUS))
    reply = reeld.post(callback_params(recording, "absent", ErrorCode="16102", RecordingMood="blue & \x01"))
    assert reply.json["message"] == "Recording absent acknowledged"
    wait_until(lambda: rows("SELECT 1 FROM recordings WHERE status = 'absent'"), "the recording to be absent")
    words = "absent at Twilio, error 16102: silent, and the account deletes silent recordings"
    assert rows("SELECT last_error FROM recordings")[0]["last_error"] == words
    notes = rows("SELECT notes FROM calls")[0]["notes"]
    assert notes.endswith(f"Recording {recording['sid']}: {words}"), notes
    assert rows("SELECT detail FROM recording_events")[0]["detail"] == words + "; also sent: RecordingMood=blue & ?"
    shown = reeld.command("jobs", "show", recording["sid"])
    assert shown.returncode == 0 and words in shown.stdout and "RecordingMood=blue" in shown.stdout, shown
    assert reeld.stop() == 0


def test_with_ack_ledger_a_call_waits_for_the_ledger(daemon):
    # Port 9 has no database.
    reeld = daemon(DATABASE_URL="postgresql://nobody@127.0.0.1:9/none", ACK="ledger", ACK_TIMEOUT="200ms").start()
    for path in (INCOMING, STATUS):
        reply = reeld.post(call_params(1, "ringing"), path=path)
        assert (reply.status, reply.json) == (503, {"error": "Temporarily unable to store the event"}), reply
        assert reply.headers["Retry-After"]
    assert reeld.stop() == 0


def test_ack_archived_answers_a_call_at_once(daemon):
    reeld = daemon(ACK="archived", ACK_TIMEOUT="5m").start()
    twiml(reeld.post(call_params(1, "ringing"), path=INCOMING))
    accepted(reeld.post(status_params(1, "completed"), path=STATUS))
    assert reeld.stop() == 0


def test_numbers_are_masked_in_the_log(daemon):
    reeld = daemon(LOG_LEVEL="debug").start()
    twiml(reeld.post(call_params(1, "ringing", To="client:earl-of-grey"), path=INCOMING))
    accepted(reeld.post(status_params(1, "in-progress"), path=STATUS))
    lines = {line["event"]: line for line in reeld.logs()}
    assert lines["call.incoming"]["from"] == "*" * 8 + "0006" and lines["call.incoming"]["to"].endswith("*grey")
    assert lines["call.status"]["call_sid"] == call_sid(1) and lines["call.status"]["status"] == "in-progress"
    assert reeld.stop() == 0
    for text in (FROM, TO, "earl-of", "KÖLN"):
        assert text not in reeld.process.output()


@pytest.mark.parametrize("name,value", [("STREAM_URL", "ws://bridge.example.com"), ("STREAM_URL", "https://bridge.example.com"),
                                        ("STREAM_URL", "wss://bridge.example.com/?a=b"), ("GREETING", "bell \x07"), ("GREETING", "x" * 4097)])
def test_what_twilio_could_not_use_stops_the_start(daemon, name, value):
    process = daemon().command("serve", env={name: value})
    assert process.returncode != 0
    lines = [line for line in process.stderr.splitlines() if name in line]
    assert len(lines) == 1 and "example" in lines[0], process.stderr


def test_what_was_acknowledged_of_calls_survives_kill_nine(daemon, long_run):
    """Calls live their lives, out of order and with repetitions, while the process is killed; what was acknowledged last must hold."""
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    count, kills = (2000, 20) if long_run else (300, 4)
    reeld = daemon().start()
    ended, rang = {}, set()
    lives = []
    for n in range(count):
        events = [(INCOMING, "ringing", None), (STATUS, "in-progress", None), (STATUS, dice.choice(["completed", "busy", "failed"]), str(n))] * 2
        dice.shuffle(events)
        lives += [(dice.random() + n, n, *event) for event in events]
    todo = [event[1:] for event in sorted(lives, reverse=True)]
    lock, progress = threading.Lock(), threading.Condition()
    stop = threading.Event()

    def sender():
        while not stop.is_set():
            with lock:
                if not todo:
                    return
                event = todo.pop()
            n, path, word, duration = event
            params = call_params(n, word) if path == INCOMING else status_params(n, word, CallDuration=duration)
            try:
                reply = reeld.post(params, path=path, timeout=10)
            except (OSError, http.client.HTTPException):
                reply = None
            with lock:
                if reply is None or reply.status >= 500:
                    todo.append(event)
                elif duration is not None:
                    ended[n] = word
                else:
                    rang.add(n)
            with progress:
                progress.notify_all()

    senders = [threading.Thread(target=sender) for _ in range(4)]
    for thread in senders:
        thread.start()
    try:
        for kill in range(kills):
            goal = len(lives) * (kill + 1) // (kills + 1)
            with progress:
                assert progress.wait_for(lambda goal=goal: len(lives) - len(todo) >= goal, 60)
            reeld.kill()
            reeld.start()
        for thread in senders:
            thread.join(120)
    finally:
        stop.set()
    assert len(ended) == count and len(rang) == count
    reeld.kill()  # right behind the last answer
    reeld.start()
    words = {"completed": "COMPLETED", "busy": "NO_ANSWER", "failed": "FAILED"}
    expected = {call_sid(n): (words[word], n, FROM, TO) for n, word in ended.items()}

    def found():
        return {row["twilio_sid"]: (row["status"], row["duration"], row["from_number"], row["to_number"]) for row in reeld.query("SELECT * FROM calls")}

    wait_until(lambda: found() == expected, lambda: f"every acknowledged event: {set(expected.items()) ^ set(found().items())}")
    assert reeld.stop() == 0
