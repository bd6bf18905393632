# SPDX-License-Identifier: MIT
"""Three replicas on one Postgres, one Redis and one bucket; each callback goes to two of them, those of the calls as well and in any order; kill -9 at random,
and one never comes back. The oracle: one object with the right bytes, one row, one update of the call, one delete at Twilio; a call is as far as Twilio said.

A dead replica's work is adopted when its leases run out, 45 seconds later by the database's clock. The short form does not wait for
that: it makes the leases of dead processes run out at once. The long form waits."""
import functools
import random
import signal
import time

from enginelib import EngineOracle, expire
from reeldlib import Calls, Senders, wait_until


def both(oracle, calls, replicas, dice):
    """Each callback to two different replicas."""
    return [functools.partial(post, via=reeld) for post in oracle.posts() + calls.posts() for reeld in dice.sample(replicas, 2)]


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
    calls = Calls(steady, Calls.recorded(oracle.sandbox, oracle.recordings))
    lost = []
    with Senders(both(oracle, calls, replicas, dice), dice, again=lambda post: post.keywords["via"] not in lost) as senders:
        for number in range(kills):
            time.sleep(dice.uniform(0.05, 0.8))
            victim = dice.choice([reeld for reeld in replicas if reeld not in lost])
            victim.kill()
            if number == kills // 2:
                if doomed.running:
                    doomed.kill()
                lost.append(doomed)
            if victim not in lost:
                victim.start()
            if not long_run:
                expire(space, {reeld.process.child.pid for reeld in replicas if reeld.running})
        senders.join(120)
    assert oracle.acknowledged == set(oracle.recordings)
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
    calls.settle()
    calls.check()
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
