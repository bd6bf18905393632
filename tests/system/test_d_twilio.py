# SPDX-License-Identifier: MIT
"""What reeld asks of Twilio beyond the audio: calls, deletion; and Twilio being away."""
import pytest
from reeldlib import ACCOUNT, TOKEN, Oracle, callback_params, wait_until


def finished(reeld, statuses):
    def now():
        return sorted(row["status"] for row in reeld.query("SELECT status FROM recordings"))
    wait_until(lambda: now() == sorted(statuses), lambda: f"{statuses}: {now()}\n{reeld.process.output()[-3000:]}")


def test_deletes_once_and_only_after_archiving(sandbox, daemon):
    peer = sandbox(count=30, fault="404-first,500,reset:0.4", fault_attempts=1)
    reeld = daemon(peer, DELETE_FROM_TWILIO="archived", RETRY_MAX="300ms").start()
    peer.deliver_all(reeld)
    oracle = Oracle(reeld, peer)
    oracle.adopt()
    wait_until(lambda: peer.stats()["deleted"] == 30, lambda: f"all deleted at Twilio: {peer.stats()}\n{reeld.process.output()[-3000:]}")
    oracle.settle()
    oracle.check()
    wait_until(lambda: reeld.query("SELECT count(*) AS n FROM recordings WHERE deleted_at_twilio_at IS NULL")[0]["n"] == 0,
               "the ledger to know of the deletion")
    assert {item["deletes"] for item in peer.listing().values()} == {1}
    assert reeld.stop() == 0


def test_never_deletes_by_default(sandbox, daemon):
    peer = sandbox(count=5)
    reeld = daemon(peer).start()
    peer.deliver_all(reeld)
    oracle = Oracle(reeld, peer)
    oracle.adopt()
    oracle.settle()
    assert reeld.stop() == 0
    assert peer.stats()["requests"]["delete"] == 0


@pytest.mark.parametrize("mode, status, calls", [("fetch", "stored", 3), ("archive", "stored", 0), ("skip", "skipped", 0)])
def test_a_call_that_the_ledger_does_not_know(sandbox, daemon, mode, status, calls):
    peer = sandbox(count=3)
    reeld = daemon(peer, UNKNOWN_CALL=mode).start()
    peer.deliver_all(reeld)
    finished(reeld, [status] * 3)
    assert len(reeld.query("SELECT * FROM calls")) == calls
    assert len(reeld.files()) == (3 if status == "stored" else 0)
    assert peer.stats()["requests"]["call"] == calls
    assert reeld.stop() == 0


def test_skip_with_ack_archived_says_so(sandbox, daemon):
    peer = sandbox(count=1)
    reeld = daemon(peer, UNKNOWN_CALL="skip", ACK="archived").start()
    reply = reeld.post(callback_params(peer.recordings()[0]))
    assert (reply.status, reply.json["message"]) == (200, "Recording received but call not found in database")


def test_a_call_that_twilio_does_not_know_either(sandbox, daemon):
    peer = sandbox(count=1)
    reeld = daemon(peer, MAX_ATTEMPTS="2", RETRY_MAX="100ms").start()
    recording = peer.recordings()[0]
    assert reeld.post(callback_params(recording, CallSid="CA" + "00" * 16)).status == 200
    row = wait_until(lambda: (lambda r: r if r and r["status"] in ("stored", "dead") else None)(reeld.recording(recording["sid"])),
                     lambda: f"an end: {reeld.recording(recording['sid'])}")
    # The audio is worth more than the call's row, which nobody can supply.
    assert row["status"] == "stored", row
    assert reeld.stop() == 0


def test_twilio_away_then_back(sandbox, daemon, started):
    peer = sandbox(count=20)
    oracle_peer = sandbox(count=20)
    reeld = daemon(peer, MAX_ATTEMPTS="2").start()
    oracle = Oracle(reeld, oracle_peer)
    peer.stop()
    for sid in oracle.recordings:
        assert oracle.post(sid).status == 200, "events are safe on disk whatever Twilio does"
    wait_until(lambda: reeld.metrics().get('reeld_dependency_up{dependency="twilio"}') == 0, lambda: f"the outage to show: {reeld.metrics()}")
    assert reeld.get("/readyz").status == 200, "a dependency that is down does not make it unready"
    assert reeld.get("/healthz").status == 200
    assert {row["status"] for row in reeld.query("SELECT status FROM recordings")} <= {"pending", "running"}, "an outage burns no attempts"
    sandbox(count=20, port=peer.port)
    oracle.settle()
    oracle.check()
    wait_until(lambda: reeld.metrics().get('reeld_dependency_up{dependency="twilio"}') == 1, "the end of the outage to show")
    assert reeld.stop() == 0


def test_a_recording_that_is_gone_is_dead_soon(sandbox, daemon):
    peer = sandbox(count=1)
    reeld = daemon(peer, MAX_ATTEMPTS="3", RETRY_MAX="100ms").start()
    recording = peer.recordings()[0]
    gone = "RE" + "00" * 16
    assert reeld.post(callback_params(recording, RecordingSid=gone)).status == 200
    wait_until(lambda: (reeld.recording(gone) or {}).get("status") == "dead", lambda: f"dead: {reeld.recording(gone)}")
    assert reeld.files() == {}
    assert reeld.stop() == 0


def test_a_callback_that_names_no_account_is_of_the_configured_one(sandbox, daemon):
    peer = sandbox(count=1)
    reeld = daemon(peer).start()
    assert reeld.post(callback_params(peer.recordings()[0], AccountSid=None)).status == 200
    wait_until(lambda: reeld.query("SELECT * FROM recordings WHERE status = 'stored'"), lambda: f"archived: {reeld.query('SELECT * FROM recordings')}")
    assert reeld.stop() == 0


def test_more_accounts_each_with_its_own_credentials(sandbox, daemon, tmp_path):

    other = "AC" + "fe" * 16
    peer = sandbox(count=1)
    accounts = tmp_path / "accounts"
    accounts.write_text(f"# two\n{ACCOUNT} {TOKEN}\n{other} other_token\n")
    reeld = daemon(peer, TWILIO_ACCOUNTS_FILE=str(accounts), TWILIO_ACCOUNT_SID="", TWILIO_AUTH_TOKEN="").start()
    recording = peer.recordings()[0]
    assert reeld.post(callback_params(recording)).status == 200
    assert reeld.post(callback_params(recording, AccountSid=other)).status == 403, "signed with another account's token"
    assert reeld.post(callback_params(recording, "in-progress", AccountSid=other, RecordingSid="RE" + "01" * 16), token="other_token").status == 200
    assert reeld.post(callback_params(recording, AccountSid="AC" + "00" * 16)).status == 403, "an unknown account"
    wait_until(lambda: any("neither TWILIO_ACCOUNT_SID" in line.get("detail", "") for line in reeld.logs()), "the log to say why")
    finished_sids = wait_until(lambda: reeld.query("SELECT * FROM recordings WHERE status = 'stored'"), "the first to be archived")
    assert [row["recording_sid"] for row in finished_sids] == [recording["sid"]]
