# SPDX-License-Identifier: MIT
"""Three replicas on one Postgres, one Redis and one bucket; each callback goes to two of them, those of the calls as well and in any order; kill -9 at random,
and one never comes back. The oracle: one object with the right bytes, one row, one update of the call, one delete at Twilio; a call is as far as Twilio said.

A dead replica's work is adopted when its leases run out, 45 seconds later by the database's clock. The short form does not wait for
that: it makes the leases of dead processes run out at once. The long form waits."""
import http.client
import random
import signal
import threading
import time

from enginelib import EngineOracle, pid_of
from reeldlib import ACCOUNT, wait_until


def expire(space, living):
    """As if 45 seconds went by for those who are dead: nobody renews their leases."""
    owners = {row["lease_owner"] for row in space.rows("SELECT DISTINCT lease_owner FROM recordings WHERE lease_owner IS NOT NULL")}
    dead = [owner for owner in owners if pid_of(owner) not in living]
    if dead:
        space.execute("UPDATE recordings SET lease_expires_at = statement_timestamp() WHERE status = 'running' AND lease_owner IN ("
                      + ", ".join(f"'{owner}'" for owner in dead) + ")")


class Calls:
    """What Twilio says of the calls: each 2xx is an obligation here too."""

    WORDS = ("ringing", "in-progress", "completed")

    def __init__(self, peer, recordings):
        self.known = {}
        for recording in recordings.values():
            sid = recording["call_sid"]
            self.known[sid] = peer.get(f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{sid}.json").json
        self.acknowledged = set()

    def post(self, reeld, sid, word):
        call = self.known[sid]
        params = [("AccountSid", ACCOUNT), ("CallSid", sid), ("CallStatus", word), ("From", call["from"]), ("To", call["to"])]
        if word == "completed":
            params.append(("CallDuration", str(call["duration"])))
        try:
            reply = reeld.post(params, path="/api/twilio/incoming" if word == "ringing" else "/api/twilio/status")
        except (OSError, http.client.HTTPException):
            return None
        if reply.status == 200:
            self.acknowledged.add((sid, word))
        return reply

    def behind(self, space):
        """Calls that are not what was acknowledged, or more than one row."""
        rows = {}
        for row in space.rows("SELECT twilio_sid, from_number, to_number, status, duration FROM calls"):
            rows.setdefault(row.pop("twilio_sid"), []).append(row)
        return {sid: rows.get(sid) for sid, call in self.known.items() if rows.get(sid) != [
            {"from_number": call["from"], "to_number": call["to"], "status": "COMPLETED", "duration": int(call["duration"])}]}


class Senders:
    """Each callback to two different replicas, until both have acknowledged it or are gone for good."""

    def __init__(self, oracle, calls, replicas, dice):
        self.replicas = replicas
        posts = [lambda reeld, sid=sid: oracle.post(sid, via=reeld) for sid in oracle.recordings]
        posts += [lambda reeld, sid=sid, word=word: calls.post(reeld, sid, word) for sid in calls.known for word in Calls.WORDS]
        self.todo = [(post, reeld) for post in posts for reeld in dice.sample(replicas, 2)]
        dice.shuffle(self.todo)
        self.lock = threading.Lock()
        self.gone = None
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(3)]

    def run(self):
        while not self.stopped.is_set():
            with self.lock:
                if not self.todo:
                    return
                post, reeld = self.todo.pop()
            reply = post(reeld)
            if (reply is None or reply.status >= 500) and reeld is not self.gone:
                with self.lock:
                    self.todo.insert(0, (post, reeld))  # Twilio's retry
            time.sleep(0.01)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def join(self, seconds):
        for thread in self.threads:
            thread.join(seconds)
        assert not self.todo, f"{len(self.todo)} callbacks were not acknowledged"


def test_replicas_killed_at_random_and_one_for_good(sandbox, space, replica, long_run):
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    count, kills = (600, 40) if long_run else (80, 8)
    peer = sandbox(count=count, size=20000, fault="404-first,500,truncate,reset,slow:0.05")
    env = {"DELETE_FROM_TWILIO": "archived", "MAX_ATTEMPTS": "50", "RETRY_MAX": "300ms"}
    # The disk of the one that never comes back is lost: what it acknowledges must be in the ledger.
    replicas = [replica(space, peer, "steady", **env), replica(space, peer, "lame", **env), replica(space, peer, "doomed", ACK="ledger", **env)]
    steady, lame, doomed = replicas
    # Recordings derive from the seed: a second sandbox still has the audio that was deleted at the first.
    for reeld in replicas:
        reeld.start()
    oracle = EngineOracle(steady, sandbox(count=count, size=20000))
    calls = Calls(oracle.sandbox, oracle.recordings)
    with Senders(oracle, calls, replicas, dice) as senders:
        for number in range(kills):
            time.sleep(dice.uniform(0.05, 0.8))
            victim = dice.choice([reeld for reeld in replicas if reeld is not senders.gone])
            victim.kill()
            if number == kills // 2:
                if doomed.running:
                    doomed.kill()
                senders.gone = doomed
            if victim is not senders.gone:
                victim.start()
            if not long_run:
                expire(space, {reeld.process.child.pid for reeld in replicas if reeld.running})
        senders.join(120)
    assert oracle.acknowledged == set(oracle.recordings)
    assert calls.acknowledged == {(sid, word) for sid in calls.known for word in Calls.WORDS}
    if not long_run:
        # Once more all of them, so that what is left is claimed at their start and not when they look at leases again.
        steady.kill()
        lame.kill()
        expire(space, set())
        steady.start()
        lame.start()
    oracle.settle(120)
    wait_until(lambda: space.rows("SELECT count(*) AS n FROM recordings WHERE deleted_at_twilio_at IS NULL")[0]["n"] == 0,
               "every recording deleted at Twilio", 120)
    oracle.check()
    wait_until(lambda: not calls.behind(space), lambda: f"calls to be where Twilio said: {calls.behind(space)}")
    deletes = peer.stats()["deletes"]
    assert len(deletes) == count and all(n == 1 for n in deletes.values()), "a recording was deleted twice, or not at all"
    assert steady.stop() == 0 and lame.stop() == 0


def test_who_lost_its_lease_and_does_not_know_it_changes_nothing(sandbox, space, replica):
    peer = sandbox(count=4, fault="stall", fault_attempts=1, stall="1500ms")
    zombie = replica(space, peer, "zombie").start()
    oracle = EngineOracle(zombie, peer)
    for sid in oracle.recordings:
        assert oracle.post(sid).status == 200
    wait_until(lambda: peer.stats()["faults"]["stall"] == 4, "all downloads to stand still")
    zombie.process.child.send_signal(signal.SIGSTOP)
    expire(space, set())
    heir = replica(space, peer, "heir").start()
    oracle.daemon = heir
    oracle.settle()
    owners = space.rows("SELECT recording_sid, lease_epoch, stored_at, updated_at, events FROM recordings ORDER BY id")
    assert {row["lease_epoch"] for row in owners} == {2}, owners
    zombie.process.child.send_signal(signal.SIGCONT)
    # It ends its downloads, writes the same objects once more, and is told by the ledger.
    wait_until(lambda: {item["media_complete"] for item in peer.listing().values()} == {2}, "the zombie to end its downloads")
    wait_until(lambda: zombie.metrics()["reeld_transfers_in_flight"] == 0, "the zombie to be done")
    assert zombie.stop() == 0 and heir.stop() == 0
    assert space.rows("SELECT recording_sid, lease_epoch, stored_at, updated_at, events FROM recordings ORDER BY id") == owners
    oracle.check()
