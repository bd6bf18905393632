# SPDX-License-Identifier: MIT
"""Several accounts, of which Twilio refuses one: the recordings of the others do not notice."""
import base64
import json
import re
import signal
import time

import pytest
from enginelib import log_events
from reeldlib import DEADLINE, WAV, callback_params, wait_until

GOOD, BAD = "AC" + "0a" * 16, "AC" + "0b" * 16
TOKENS = {GOOD: "token_of_the_good", BAD: "token_of_the_bad"}


class TwoAccounts:
    """Twilio with two accounts; `refusal` is what the bad one is answered, None: nothing is wrong with it."""

    def __init__(self, refusal=None):
        self.refusal = refusal
        self.asked = {GOOD: 0, BAD: 0}

    def __call__(self, request):
        account = re.match(r"/2010-04-01/Accounts/(AC\w+)/", request.path).group(1)
        self.asked[account] += 1
        user, _, password = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode().partition(":")
        if account == BAD and self.refusal:
            status, code = self.refusal
            return status, {"Content-Type": "application/json"}, json.dumps({"code": code, "message": "no", "status": status}).encode()
        if (user, password) != (account, TOKENS[account]):
            return 401, {"Content-Type": "application/json"}, b'{"code":20003,"message":"Authenticate","status":401}'
        return 200, {"Content-Type": "audio/x-wav"}, WAV


class Site:
    def __init__(self, peers, make, directory, refusal=None, **env):
        self.twilio = TwoAccounts(refusal)
        self.accounts = directory / "accounts"
        self.write(TOKENS[BAD])
        self.reeld = make(peers(self.twilio), TWILIO_ACCOUNTS_FILE=str(self.accounts), TWILIO_ACCOUNT_SID="", TWILIO_AUTH_TOKEN="",
                          UNKNOWN_CALL="archive", **{"RETRY_MAX": "1h", "MAX_TRANSFERS": "4", "MAX_ATTEMPTS": "1", **env}).start()
        self.sent = {GOOD: 0, BAD: 0}

    def write(self, tokens_of_the_bad):
        self.accounts.write_text(f"{GOOD} {TOKENS[GOOD]}\n{BAD} {tokens_of_the_bad}\n")

    def post(self, account):
        self.sent[account] += 1
        return self.post_by(self.reeld, account, self.sent[account])

    @staticmethod
    def post_by(reeld, account, number):
        tail = f"{account[2:10]}{number:024x}"
        recording = {"sid": "RE" + tail, "call_sid": "CA" + tail, "channels": 1, "source": "DialVerb", "duration": "1",
                     "start_time": "Wed, 20 Apr 2022 23:45:25 +0000"}
        return reeld.post(callback_params(recording, AccountSid=account), token=TOKENS[account])

    def rows(self, account):
        return self.reeld.query("SELECT * FROM recordings WHERE account_sid = ?", account)

    def all_stored(self, account, seconds=DEADLINE):
        wait_until(lambda: [row["status"] for row in self.rows(account)] == ["stored"] * self.sent[account],
                   lambda: f"all of {account} to be archived: {[(row['status'], row['last_error']) for row in self.rows(account)]}\n"
                           f"{self.reeld.process.output()[-3000:]}", seconds)

    def held(self):
        return self.reeld.metrics()["reeld_accounts_held"]


@pytest.fixture
def site(peers, daemon, tmp_path):
    return lambda *arguments, **env: Site(peers, daemon, tmp_path, *arguments, **env)


@pytest.mark.parametrize("refusal", [(401, 20003), (403, 20403), (429, 20429)])
def test_an_account_that_twilio_refuses_stops_no_other(site, refusal):
    here = site(refusal)
    for _ in range(20):
        assert here.post(BAD).status == 200
        assert here.post(GOOD).status == 200
    here.all_stored(GOOD)
    wait_until(lambda: here.held() == 1, lambda: f"the account to be held back:\n{here.reeld.process.output()[-3000:]}")
    wait_until(lambda: sum(row["waits_for"] == BAD for row in here.rows(BAD)) >= 15, lambda: f"its recordings to wait for it: {here.rows(BAD)}")
    # Held back it costs probes, whatever the others do.
    asked, leases = here.twilio.asked[BAD], sum(row["lease_epoch"] for row in here.rows(BAD))
    for _ in range(20):
        assert here.post(GOOD).status == 200
    here.all_stored(GOOD)
    assert here.twilio.asked[BAD] - asked <= 10
    assert sum(row["lease_epoch"] for row in here.rows(BAD)) - leases <= 20
    metrics = here.reeld.metrics()
    assert metrics['reeld_dependency_up{dependency="twilio"}'] == 1 and metrics["reeld_accounts_held"] == 1
    assert {(row["status"] in ("pending", "running"), row["attempts"]) for row in here.rows(BAD)} == {(True, 0)}
    assert any(f"account_held: the account is held back: {BAD}: " in (row["last_error"] or "") for row in here.rows(BAD))
    here.twilio.refusal = None
    here.all_stored(BAD)
    assert {row["attempts"] for row in here.rows(BAD) + here.rows(GOOD)} == {0}
    assert here.held() == 0
    told = [(line["event"], line["account_sid"]) for line in here.reeld.logs() if line["event"] in ("account.held", "account.released")]
    assert told == [("account.held", BAD), ("account.released", BAD)], told
    assert not log_events(here.reeld, "dependency.down")
    assert here.reeld.stop() == 0


def test_ack_archived_says_so_at_once_where_the_account_is_held_back(site):
    here = site((401, 20003), ACK="archived", ACK_TIMEOUT="20s", RETRY_BASE="1m")
    for _ in range(6):
        reply = here.post(BAD)
        assert (reply.status, reply.json) == (502, {"error": "Failed to fetch recording from Twilio"}), reply
    assert here.twilio.asked[BAD] == 5 and here.held() == 1
    assert here.post(GOOD).json["message"] == "Recording processed successfully"
    assert here.reeld.stop() == 0


def test_a_token_that_was_changed_and_a_reload_end_the_wait(site):
    # The next probe would be half a minute away at the least, the first that were refused a minute.
    here = site(RETRY_BASE="1m")
    here.write(f"not_known_yet,{TOKENS[BAD]}")
    here.reeld.process.signal(signal.SIGHUP)
    wait_until(lambda: log_events(here.reeld, "reload.accounts"), "the reload")
    for _ in range(20):
        assert here.post(BAD).status == 200
    wait_until(lambda: sum(row["waits_for"] == BAD for row in here.rows(BAD)) == 20, lambda: f"all to wait for the account: {here.rows(BAD)}")
    here.write(TOKENS[BAD])
    begun = time.monotonic()
    here.reeld.process.signal(signal.SIGHUP)
    here.all_stored(BAD, 20)
    assert time.monotonic() - begun < 20
    assert {row["attempts"] for row in here.rows(BAD)} == {0}
    assert here.reeld.stop() == 0


def test_replicas_on_postgres_hold_an_account_back_each_for_itself(peers, replica, space, tmp_path):
    twilio = TwoAccounts((401, 20003))
    peer = peers(twilio)
    accounts = tmp_path / "accounts"
    accounts.write_text(f"{GOOD} {TOKENS[GOOD]}\n{BAD} {TOKENS[BAD]}\n")
    here = [replica(space, peer, name=name, TWILIO_ACCOUNTS_FILE=str(accounts), TWILIO_ACCOUNT_SID="", TWILIO_AUTH_TOKEN="", UNKNOWN_CALL="archive",
                    RETRY_MAX="1h", MAX_TRANSFERS="4", MAX_ATTEMPTS="1").start() for name in ("first", "second")]

    def statuses(account):
        return [row["status"] for row in space.rows("SELECT status FROM recordings WHERE account_sid = ?", account)]

    for number in range(20):
        for account in (BAD, GOOD):
            assert Site.post_by(here[number % 2], account, number).status == 200
    wait_until(lambda: statuses(GOOD) == ["stored"] * 20, lambda: f"those of the good account: {statuses(GOOD)}")
    wait_until(lambda: sum(reeld.metrics()["reeld_accounts_held"] for reeld in here) >= 1, "the bad one to be held back")
    assert set(statuses(BAD)) <= {"pending", "running"}
    # One of them dies with what it put back; the other's gate, or its own after the restart, fetches it.
    here[0].kill()
    twilio.refusal = None
    here[0].start()
    wait_until(lambda: statuses(BAD) == ["stored"] * 20, lambda: f"those of the bad account: {statuses(BAD)}", 120)
    assert {row["attempts"] for row in space.rows("SELECT attempts FROM recordings")} == {0}
    for reeld in here:
        assert reeld.stop() == 0
