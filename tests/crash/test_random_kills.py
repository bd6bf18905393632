# SPDX-License-Identifier: MIT
"""kill -9 at random moments under load, over and over on the same data directory; the oracle at the end."""
import random
import time

from reeldlib import Oracle, Senders, wait_until


def test_kill_nine_at_random_moments_under_load(sandbox, daemon, long_run):
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    count, kills = (2000, 40) if long_run else (300, 6)
    peer = sandbox(count=count, size=20000, fault="404-first,500,truncate,reset:0.05")
    reeld = daemon(peer, DELETE_FROM_TWILIO="archived", MAX_ATTEMPTS="50").start()
    # Recordings derive from the seed: a second sandbox, without faults, still has the audio that was deleted at the first.
    oracle = Oracle(reeld, sandbox(count=count, size=20000))
    with Senders(oracle.posts() * 2, dice) as senders:
        for _ in range(kills):
            time.sleep(dice.uniform(0.05, 0.8))
            reeld.kill()
            reeld.start()
        senders.join(120)
    assert oracle.acknowledged == set(oracle.recordings)
    oracle.settle(120)
    # With DELETE_FROM_TWILIO a stored recording still has to be purged.
    wait_until(lambda: reeld.query("SELECT count(*) AS n FROM recordings WHERE deleted_at_twilio_at IS NULL")[0]["n"] == 0,
               "every recording deleted at Twilio", 120)
    oracle.check()
    deletes = peer.stats()["deletes"]
    assert len(deletes) == count and all(n == 1 for n in deletes.values()), "a recording was deleted twice, or not at all"
    assert reeld.stop() == 0
