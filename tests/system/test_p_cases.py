# SPDX-License-Identifier: MIT
"""The cases that a handler of Twilio's recording callback has to get right, each on both ledgers, both stores and in the modes of ACK:
the answer to the byte, and all that is left behind: the object, the recording's row and trail, the call.

One daemon serves all cases of a combination; each case takes a recording and a call of its own."""
import contextlib
import datetime
import email.utils
import hashlib
import itertools
import os
import sqlite3
import urllib.parse

import pytest
from enginelib import EngineDaemon
from reeldlib import ACCOUNT, Daemon, Sandbox, callback_params, wait_until

# ACK=ledger answers as "accepted" does, a little later, while the ledger is well: each ledger and each store once.
COMBINATIONS = [*itertools.product(["sqlite", "postgres"], ["directory", "s3"], ["accepted", "archived"]),
                ("sqlite", "directory", "ledger"), ("postgres", "s3", "ledger")]

ACCEPTED = (200, b'{"success":true,"message":"Recording accepted"}')
SKIPPED = (200, b'{"success":true,"message":"Recording received but call not found in database"}')
NO_FETCH = (502, b'{"error":"Failed to fetch recording from Twilio"}')
NO_UPLOAD = (502, b'{"error":"Failed to upload recording to storage"}')
UNEXPECTED = (500, b'{"error":"Internal server error processing recording"}')
MISSING = (400, b'{"error":"Missing required fields: CallSid or RecordingSid"}')
FORBIDDEN = (403, b'{"error":"Invalid request signature"}')


def processed(url):
    return 200, b'{"success":true,"message":"Recording processed successfully","recordingUrl":"' + url.encode() + b'"}'


def acknowledged(words):
    return 200, b'{"success":true,"message":"' + words.encode() + b' acknowledged"}'


def time_ms(value):
    """SQLite has milliseconds, Postgres writes a time."""
    return datetime.datetime.fromisoformat(value).timestamp() * 1000 if isinstance(value, str) else value


class Site:
    """A daemon on one ledger and one store. run() has it run with further settings."""

    def __init__(self, directory, space, sandbox, ledger, store, ack):
        self.sandbox, self.space, self.ledger, self.store, self.ack = sandbox, space, ledger, store, ack
        env = {"ACK": ack, "MAX_ATTEMPTS": "1000", "ACK_TIMEOUT": "40s", **space.env()}
        if store == "directory":
            env.update({name: "" for name in space.storage()})
        if ledger == "sqlite":
            del env["DATABASE_URL"]
            self.reeld = Daemon(directory, sandbox.url, **env)
        else:
            self.reeld = EngineDaemon(directory, sandbox.url, space, **env)
        self.plain, self.settings = self.reeld.env, {}

    def run(self, **settings):
        if not self.reeld.running or settings != self.settings:
            if self.reeld.running:
                assert self.reeld.stop() == 0
            self.settings = settings
            self.reeld.env = {**self.plain, **settings}
            if self.reeld.starts == 0:
                assert self.reeld.command("migrate").returncode == 0
            self.reeld.start()
        return self

    @property
    def bucket(self):
        return self.reeld.env.get("S3_BUCKET", self.space.bucket)

    # ---- the ledger ----

    def execute(self, sql):
        if self.ledger == "postgres":
            self.space.execute(sql)
            return
        with contextlib.closing(sqlite3.connect(os.path.join(self.reeld.data, "ledger.db"), timeout=30)) as connection:
            connection.execute(sql)
            connection.commit()

    def add_call(self, recording, duration=None):
        now = "now()" if self.ledger == "postgres" else "1650498325000"
        self.execute(f"INSERT INTO calls (twilio_sid, status, duration, created_at, updated_at) VALUES "
                     f"('{recording['call_sid']}', 'COMPLETED', {'NULL' if duration is None else duration}, {now}, {now})")

    @contextlib.contextmanager
    def refusing(self, recording):
        """The database refuses to write where the recording is: somebody's constraint stands in the way."""
        if self.ledger == "postgres":
            self.execute(f"ALTER TABLE calls ADD CONSTRAINT stands_in_the_way CHECK (twilio_sid <> '{recording['call_sid']}' OR recording_url IS NULL)")
            yield
            self.execute("ALTER TABLE calls DROP CONSTRAINT stands_in_the_way")
        else:
            self.execute(f"CREATE TRIGGER stands_in_the_way BEFORE UPDATE OF recording_url ON calls WHEN new.twilio_sid = '{recording['call_sid']}' "
                         "BEGIN SELECT RAISE(ABORT, 'refused'); END")
            yield
            self.execute("DROP TRIGGER stands_in_the_way")

    def row(self, recording):
        return self.reeld.recording(recording["sid"])

    def call(self, recording):
        rows = self.reeld.query("SELECT * FROM calls WHERE twilio_sid = ?", recording["call_sid"])
        assert len(rows) <= 1, rows
        return rows[0] if rows else None

    def trail(self, recording):
        return [row["what"] for row in self.reeld.query("SELECT e.what FROM recording_events e JOIN recordings r ON r.id = e.recording_id "
                                                        "WHERE r.recording_sid = ? ORDER BY e.n", recording["sid"])]

    def details(self, recording):
        return [row["detail"] for row in self.reeld.query("SELECT e.detail FROM recording_events e JOIN recordings r ON r.id = e.recording_id "
                                                          "WHERE r.recording_sid = ? AND e.what = 'received' ORDER BY e.n", recording["sid"])]

    def becomes(self, recording, *statuses):
        return wait_until(lambda: (lambda row: row if row is not None and row["status"] in statuses else None)(self.row(recording)),
                          lambda: f"{recording['sid']} to be {statuses}: {self.row(recording)}\n{self.reeld.process.output()[-3000:]}")

    # ---- the store ----

    def key(self, recording):
        start = email.utils.parsedate_to_datetime(recording["start_time"])
        return f"{start:%Y/%m/%d}/{recording['call_sid']}/{recording['sid']}.wav"

    def path(self, recording):
        return os.path.join(self.reeld.data, "recordings", self.key(recording))

    def url(self, recording):
        if self.store == "s3":
            return f"http://127.0.0.1:{self.space.swift.port}/{self.bucket}/recordings/{self.key(recording)}"
        return "file://" + urllib.parse.quote(self.path(recording))

    def objects(self, recording):
        """What the store holds of it, whatever its key."""
        keys = self.reeld.files() if self.store == "directory" else self.keys()
        return [key for key in keys if recording["sid"] in key]

    def keys(self):
        plain, self.space.bucket = self.space.bucket, self.bucket
        try:
            return self.space.keys()
        finally:
            self.space.bucket = plain

    def expected(self, recording):
        item = self.sandbox.listing(format="wav")[recording["sid"]]
        return item["bytes"], item["sha256"]

    @contextlib.contextmanager
    def no_upload(self, recording):
        """The store has no place for the recording: a file lies where its directory belongs, or the bucket is missing. Gone at the end."""
        if self.store == "directory":
            obstacle = os.path.dirname(self.path(recording))
            os.makedirs(os.path.dirname(obstacle), exist_ok=True)
            with open(obstacle, "w", encoding="ascii"):
                pass
            yield
            os.unlink(obstacle)
        else:
            self.run(S3_BUCKET=self.space.bucket + "-late")
            yield
            self.space.swift.make_bucket(self.bucket)

    # ---- what is left behind ----

    def check_object(self, recording):
        size, sha256 = self.expected(recording)
        if self.store == "directory":
            assert self.objects(recording) == [self.key(recording)]
            with open(self.path(recording), "rb") as file:
                data = file.read()
        else:
            assert self.objects(recording) == ["recordings/" + self.key(recording)]
            headers, data = self.space.swift.exchange("GET", f"/{self.bucket}/recordings/{self.key(recording)}")
            assert headers["Content-Type"] == "audio/wav" and headers["ETag"].strip('"') == hashlib.md5(data).hexdigest()
            told = {name.lower()[len("x-amz-meta-"):]: value for name, value in headers.items() if name.lower().startswith("x-amz-meta-")}
            start = email.utils.parsedate_to_datetime(recording["start_time"])
            # The hash is told where it is known before the upload starts.
            assert told.pop("sha256", sha256) == sha256
            assert told.pop("start-time").startswith(f"{start:%Y-%m-%dT%H:%M:%S}")
            assert told == {"call-sid": recording["call_sid"], "recording-sid": recording["sid"], "account-sid": ACCOUNT,
                            "duration": str(recording["duration"]), "channels": str(recording["channels"]), "source": recording["source"]}
        assert (len(data), hashlib.sha256(data).hexdigest()) == (size, sha256), "not the bytes that Twilio has"
        return data

    def check_archived(self, recording):
        row, data = self.becomes(recording, "stored"), self.check_object(recording)
        start = email.utils.parsedate_to_datetime(recording["start_time"])
        expected = {
            "account_sid": ACCOUNT, "call_sid": recording["call_sid"], "conference_sid": None, "status": "stored", "next_attempt_at": None,
            "lease_owner": None, "lease_expires_at": None, "last_error": None, "error_code": None, "key": "recordings/" + self.key(recording),
            "url": self.url(recording), "bytes": len(data), "md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest(),
            "content_type": "audio/wav", "duration": int(recording["duration"]), "channels": recording["channels"], "source": recording["source"],
            "deleted_at_twilio_at": None}
        assert {name: row[name] for name in expected} == expected
        assert time_ms(row["start_time"]) == start.timestamp() * 1000
        assert time_ms(row["received_at"]) <= time_ms(row["stored_at"]) + 1
        trail = self.trail(recording)
        assert trail[:2] == ["received", "leased"] and trail[-2:] == ["leased", "stored"] and trail.count("stored") == 1, trail
        return row

    def check_untouched(self, recording):
        assert self.row(recording) is None and self.trail(recording) == [] and self.call(recording) is None and self.objects(recording) == []

    def in_mode(self, archived, otherwise=ACCEPTED):
        return archived if self.ack == "archived" else otherwise

    def post(self, recording, status="completed", expect=None, **changes):
        reply = self.reeld.post(callback_params(recording, status, **changes), timeout=70)
        if expect is not None:
            assert (reply.status, reply.body) == expect, f"{reply}\n{self.reeld.process.output()[-3000:]}"
        assert reply.headers["Content-Type"] == "application/json" and int(reply.headers["Content-Length"]) == len(reply.body)
        return reply

    def settled(self):
        """All that came in was forwarded."""
        wait_until(lambda: self.reeld.metrics()["reeld_inbox_events"] == 0, "the journal to be forwarded")


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    peer = Sandbox(str(tmp_path_factory.mktemp("twilio")), count=400, size="2KB-9KB")
    yield peer
    peer.kill()


@pytest.fixture(scope="module")
def recordings(peer):
    return iter(peer.recordings())


@pytest.fixture
def recording(recordings):
    """One that no other case used."""
    return next(recordings)


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def combination(request, tmp_path_factory, engines, peer):
    site = Site(str(tmp_path_factory.mktemp("site")), engines.space(), peer, *request.param)
    yield site
    if site.reeld.running:
        assert site.reeld.stop() == 0
    elif site.reeld.process is not None:
        site.reeld.kill()


@pytest.fixture
def site(combination, peer):
    """As a user starts it; Twilio is well."""
    yield combination.run()
    peer.set_faults("", attempts=0)


def test_successful_processing(site, recording):
    site.add_call(recording)
    site.post(recording, expect=site.in_mode(processed(site.url(recording))))
    row = site.check_archived(recording)
    assert row["attempts"] == 0 and site.trail(recording) == ["received", "leased", "stored"]
    call = site.call(recording)
    assert (call["recording_url"], call["duration"], call["notes"]) == (row["url"], int(recording["duration"]), None)


def test_call_not_found_is_fetched(site, recording):
    site.post(recording, expect=site.in_mode(processed(site.url(recording))))
    row, call = site.check_archived(recording), site.call(recording)
    known = site.sandbox.get(f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{recording['call_sid']}.json").json
    assert (call["from_number"], call["to_number"], call["status"]) == (known["from"], known["to"], "COMPLETED")
    assert (call["duration"], call["recording_url"]) == (int(known["duration"]), row["url"])


def test_call_not_found_is_archived_without(site, recording):
    site.run(UNKNOWN_CALL="archive").post(recording, expect=site.in_mode(processed(site.url(recording))))
    site.check_archived(recording)
    assert site.call(recording) is None


def test_call_not_found_is_skipped(site, recording):
    site.run(UNKNOWN_CALL="skip").post(recording, expect=site.in_mode(SKIPPED))
    row = site.becomes(recording, "skipped")
    assert (row["url"], row["stored_at"], row["attempts"]) == (None, None, 0)
    assert site.trail(recording) == ["received", "leased", "skipped"]
    assert site.call(recording) is None and site.objects(recording) == []


@pytest.mark.parametrize("fault, charged", [("500", False), ("reset", False), ("xml-body", True)])
def test_twilio_fetch_failure_heals(site, peer, recording, fault, charged):
    site.add_call(recording)
    peer.set_faults(fault, attempts=0)
    site.post(recording, expect=site.in_mode(NO_FETCH))
    wait_until(lambda: {"retry", "wait"} & set(site.trail(recording)), lambda: f"a failure in the trail: {site.trail(recording)}")
    assert site.objects(recording) == [] and site.call(recording)["recording_url"] is None
    assert site.row(recording)["status"] in ("pending", "running") and site.row(recording)["last_error"].startswith("transfer: ")
    peer.set_faults("", attempts=0)
    row = site.check_archived(recording)
    assert (row["attempts"] > 0) == charged, row
    call = site.call(recording)
    assert (call["recording_url"], call["duration"], call["notes"]) == (row["url"], int(recording["duration"]), None)


def test_upload_failure_heals(site, recording):
    with site.no_upload(recording):
        site.add_call(recording)
        site.post(recording, expect=site.in_mode(NO_UPLOAD))
        wait_until(lambda: {"retry", "wait"} & set(site.trail(recording)), lambda: f"a failure in the trail: {site.trail(recording)}")
        assert site.call(recording)["recording_url"] is None
        assert site.row(recording)["status"] in ("pending", "running") and site.row(recording)["last_error"].startswith("store: ")
    row = site.check_archived(recording)
    assert site.call(recording)["recording_url"] == row["url"]


def test_duration_is_set_when_missing(site, recording):
    site.add_call(recording, None)
    site.post(recording, expect=site.in_mode(processed(site.url(recording))))
    site.check_archived(recording)
    assert site.call(recording)["duration"] == int(recording["duration"])


@pytest.mark.parametrize("known", [7, 0])
def test_duration_is_kept_when_present(site, recording, known):
    site.add_call(recording, known)
    site.post(recording, expect=site.in_mode(processed(site.url(recording))))
    site.check_archived(recording)
    assert site.call(recording)["duration"] == known != int(recording["duration"])


@pytest.mark.parametrize("status, words, code, ends", [
    ("failed", "Recording failure", "16101", True), ("in-progress", "Recording in progress", "0", False),
    ("absent", "Recording absent", "16102", True), ("paused", "Unknown status", "0", False)])
def test_what_is_not_completed(site, recording, status, words, code, ends):
    site.add_call(recording)
    site.post(recording, status, acknowledged(words), RecordingDuration=None, ErrorCode=code)
    row = wait_until(lambda: site.row(recording), "the row")
    assert row["status"] == (status if ends else "pending") and (row["attempts"], row["next_attempt_at"], row["lease_owner"]) == (0, None, None)
    assert row["error_code"] == (int(code) if ends else None)
    assert site.trail(recording) == ["received"]
    assert (status in site.details(recording)[0]) and (code in site.details(recording)[0]) == ends
    call = site.call(recording)
    assert (call["recording_url"], call["duration"]) == (None, None) and site.objects(recording) == []
    if ends:
        assert recording["sid"] in call["notes"] and status in call["notes"] and code in call["notes"]
        assert status in row["last_error"] and code in row["last_error"]
    else:
        assert call["notes"] is None and row["last_error"] is None


@pytest.mark.parametrize("field", ["CallSid", "RecordingSid"])
def test_missing_fields(site, recording, field):
    site.post(recording, expect=MISSING, **{field: None})
    site.post(recording, "failed", expect=MISSING, **{field: None})
    site.settled()
    site.check_untouched(recording)


def test_invalid_signature(site, recording):
    params = callback_params(recording)
    for wrong in ({"signature": ""}, {"signature": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}, {"token": "0" * 32}):
        reply = site.reeld.post(params, **wrong)
        assert (reply.status, reply.body) == FORBIDDEN and reply.headers["Content-Type"] == "application/json"
    site.settled()
    site.check_untouched(recording)


def test_unexpected_error(site, recording):
    """Nothing that reeld knows how to wait for or to try again: the database refuses the update of the call. The object is there, and a
    person who removed the obstacle has it recorded."""
    site.add_call(recording)
    with site.refusing(recording):
        site.post(recording, expect=site.in_mode(UNEXPECTED))
        row = site.becomes(recording, "dead")
        assert row["last_error"].startswith("record: ") and row["stored_at"] is None
        assert site.trail(recording) == ["received", "leased", "dead"]
        call = site.call(recording)
        assert call["recording_url"] is None and recording["sid"] in call["notes"] and "dead" in call["notes"]
    if site.ack == "ledger":
        return  # as for "accepted"; it takes a while until a daemon looks what people put back
    again = site.reeld.command("jobs", "retry", recording["sid"])
    assert again.returncode == 0, again
    row = site.check_archived(recording)
    assert site.call(recording)["recording_url"] == row["url"]
