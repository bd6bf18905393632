# SPDX-License-Identifier: MIT
"""kill -9 at random moments while encrypted recordings are decrypted on their way into the store, whose content is watched all the time: what can be seen
there is the plaintext, whole, at every moment. Without private keys it is the ciphertext, and beside it what it takes to decrypt it."""
import hashlib
import json
import os
import random
import threading
import time

from enginelib import EngineOracle, expire
from reeldlib import Oracle, Senders, rsa_pair, wait_until

KEY_SID = "CR0000000000000000000000000000000a"


class Watch:
    """Reads every object of the store that it has not seen yet, over and over; `objects()` yields what tells one version of an object from another, its name,
    and how to read it; `wrong(name, data)` says what is wrong with it."""

    def __init__(self, objects, wrong):
        self.objects, self.wrong = objects, wrong
        self.seen, self.found = set(), []
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def look(self):
        with self.lock:
            for version, name, read in self.objects():
                if version not in self.seen:
                    wrong = self.wrong(name, read())
                    self.seen.add(version)
                    if wrong:
                        self.found.append((name, wrong))

    def run(self):
        while not self.ended.wait(0.002):
            self.look()

    def check(self):
        self.look()
        assert not self.found, f"seen in the store: {self.found[:5]}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def files_of(reeld):
    """The visible files of the directory store, in versions. What is opened stays what it is, whatever replaces it."""
    for name, path in reeld.files().items():
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            yield (name, status.st_ino, status.st_mtime_ns, status.st_size), name, file.read


def objects_of(space):
    for key, etag in space.listed("ETag").items():
        yield (key, etag), key.removeprefix("recordings/"), lambda key=key: space.object(key)[1]


def other_than_the_audio(oracle):
    """The judge of what is visible when recordings are decrypted."""
    audio = {oracle.expected_path(sid): oracle.expected_bytes(sid) for sid in oracle.recordings}

    def wrong(name, data):
        found = len(data), hashlib.sha256(data).hexdigest()
        return None if audio.get(name) == found else f"{found} instead of {audio.get(name)}"
    return wrong


def kill_under_load(reeld, oracle, watch, dice, kills, after_start=lambda: None):
    """Kills while transfers are under way; returns what lay in the store's temporaries each time. At the end every callback is answered and every obligation
    met."""
    cut = []
    with Senders(oracle.posts() * 2, dice) as senders:
        for number in range(kills):
            wait_until(lambda: reeld.metrics()["reeld_transfers_in_flight"] > 0, f"transfers before kill {number}")
            time.sleep(dice.uniform(0, 0.2))
            reeld.kill()
            cut.append(reeld.temporaries())
            watch.check()
            reeld.start()
            after_start()
        senders.join(300)
    assert oracle.acknowledged == set(oracle.recordings)
    oracle.settle(300)
    return cut


def load(long_run):
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    return random.Random(seed), *((300, 40) if long_run else (48, 6))


# Each download takes half a second, and one with the wrong length ends in half a ciphertext whose tag cannot be right.
FAULTS = "404-first,500,truncate,wrong-length:0.15,slow:1"
SETTINGS = {"TRANSFER_BUFFER": "32KiB", "MAX_TRANSFERS": "4", "MAX_ATTEMPTS": "50", "RETRY_MAX": "300ms"}


def test_decrypted_into_the_directory(sandbox, daemon, tmp_path, long_run):
    dice, count, kills = load(long_run)
    (tmp_path / "keys").mkdir()
    pem = rsa_pair(tmp_path / "keys" / f"{KEY_SID}.pem")
    peer = sandbox(count=count, size="100KB-300KB", encrypt=pem, fault=FAULTS)
    reeld = daemon(peer, TWILIO_ENCRYPTION_KEYS=pem.parent, **SETTINGS).start()
    oracle = Oracle(reeld, peer)
    with Watch(lambda: files_of(reeld), other_than_the_audio(oracle)) as watch:
        cut = kill_under_load(reeld, oracle, watch, dice, kills)
        watch.check()
        oracle.check()
    assert any(cut), "no kill struck a transfer"
    assert len({name for name, *_ in watch.seen}) == count == reeld.query("SELECT count(*) AS n FROM recordings")[0]["n"]
    # The last start sweeps up what the kills left, a few seconds after it.
    wait_until(lambda: not reeld.leftovers(), lambda: f"temporaries to go: {reeld.leftovers()}")
    assert reeld.stop() == 0


def test_decrypted_into_the_bucket(sandbox, space, replica, tmp_path, long_run):
    dice, count, kills = load(long_run)
    (tmp_path / "keys").mkdir()
    pem = rsa_pair(tmp_path / "keys" / f"{KEY_SID}.pem")
    peer = sandbox(count=count, size="100KB-300KB", encrypt=pem, fault=FAULTS)
    reeld = replica(space, peer, TWILIO_ENCRYPTION_KEYS=pem.parent, **SETTINGS).start()
    oracle = EngineOracle(reeld, peer)
    with Watch(lambda: objects_of(space), other_than_the_audio(oracle)) as watch:
        kill_under_load(reeld, oracle, watch, dice, kills, lambda: None if long_run else expire(space, {reeld.process.child.pid}))
        watch.check()
        oracle.check()
    assert len({key for key, _ in watch.seen}) == count == space.rows("SELECT count(*) AS n FROM recordings")[0]["n"]
    assert reeld.stop() == 0


def test_a_ciphertext_that_is_seen_can_be_decrypted(sandbox, daemon, tmp_path, long_run):
    dice, count, kills = load(long_run)
    pem = rsa_pair(tmp_path / f"{KEY_SID}.pem")
    peer = sandbox(count=count, size="100KB-300KB", encrypt=pem, fault="404-first,500,truncate:0.15,slow:1")
    reeld = daemon(peer, **SETTINGS).start()
    oracle = Oracle(reeld, peer)
    sizes = {oracle.expected_path(sid): oracle.expected_bytes(sid)[0] + 16 for sid in oracle.recordings}

    def wrong(name, data):
        """Of an object: the file beside it is there already."""
        if name.endswith(".json"):
            told = json.loads(data)
            return None if told["encrypted_cek"] and told["recording_sid"] in name else data
        beside = reeld.files().get(name + ".json")
        return None if len(data) == sizes.get(name) and beside else f"{len(data)} bytes, beside it {beside}"

    with Watch(lambda: files_of(reeld), wrong) as watch:
        cut = kill_under_load(reeld, oracle, watch, dice, kills)
        watch.check()
    assert any(cut), "no kill struck a transfer"
    assert set(reeld.files()) == set(sizes) | {name + ".json" for name in sizes}
    assert reeld.query("SELECT count(*) AS n FROM recordings WHERE status = 'stored'")[0]["n"] == count
    assert reeld.stop() == 0
