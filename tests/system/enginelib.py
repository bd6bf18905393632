# SPDX-License-Identifier: MIT
"""Drives the binary on real servers: Postgres, Redis and Swift's S3 API, each test in a database, a Redis prefix and a bucket of its own.
A proxy stands in for a network that misbehaves, a steady load for Twilio."""
import contextlib
import hashlib
import os
import re
import shutil
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

from reeldlib import Daemon, Oracle, wait_until

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from servers.common import start_all  # noqa: E402
from servers.postgres import Postgres  # noqa: E402
from servers.redis import Redis  # noqa: E402
from servers.swift import Swift  # noqa: E402

# P3 from outside, on a machine that is busy with other things as well: what must not be seen is a wait for a server, which would be
# a second at least (the shortest time limit on an answer, Redis's).
ACK_MEDIAN_MS = 100
ACK_MAX_MS = 2000
# Ten times what the daemon takes at rest: buffers that grow with an outage would not stop there.
RSS_MAX = 160 << 20


class Engines:
    """The three servers. `durable`: Postgres keeps what it committed when it is killed."""

    def __init__(self, directory, durable=False):
        self.postgres = Postgres(directory, durable)
        self.redis = Redis(directory)
        self.swift = Swift(directory)
        self.spaces = 0

    def start(self):
        try:
            start_all((self.postgres, self.redis, self.swift))
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self):
        for server in (self.swift, self.redis, self.postgres):
            server.kill()

    def space(self):
        self.spaces += 1
        return Space(self, f"space{self.spaces}")


@contextlib.contextmanager
def engines_running(durable=False):
    """Not below pytest's directory, which another pytest closes to other users: Postgres runs as one."""
    directory = tempfile.mkdtemp(prefix="reeld-engines-")
    servers = Engines(directory, durable)
    try:
        yield servers.start()
    finally:
        servers.kill()
        shutil.rmtree(directory, ignore_errors=True)


class Space:
    """What one test has to itself on them."""

    def __init__(self, engines, name):
        self.engines, self.name = engines, name
        self.postgres, self.redis, self.swift = engines.postgres, engines.redis, engines.swift
        self.postgres.psql(f"CREATE DATABASE {name}", database="postgres")
        self.bucket = f"{name}-bucket"
        self.swift.make_bucket(self.bucket)

    def database(self, port=None):
        return {"DATABASE_URL": f"postgresql://reeld@127.0.0.1:{port or self.postgres.port}/{self.name}"}

    def filter(self, port=None):
        return {"REDIS_URL": f"redis://127.0.0.1:{port or self.redis.port}", "REDIS_PREFIX": self.name + ":"}

    def storage(self, port=None):
        return {"S3_ENDPOINT": f"http://127.0.0.1:{port or self.swift.port}", "S3_BUCKET": self.bucket, "AWS_REGION": Swift.region,
                "AWS_ACCESS_KEY_ID": Swift.key_id, "AWS_SECRET_ACCESS_KEY": Swift.secret}

    def env(self):
        return {**self.database(), **self.filter(), **self.storage()}

    def rows(self, sql, *arguments):
        """Rows of the ledger as dicts; `?` stands for an argument."""
        return self.postgres.rows(sql, *arguments, database=self.name)

    def tables(self):
        return {row["t"] for row in self.rows("SELECT table_name AS t FROM information_schema.tables WHERE table_schema = 'public'")}

    def execute(self, sql):
        self.postgres.psql(sql, database=self.name)

    def keys(self):
        """Every key of the bucket → its size, as the server lists them."""
        return self.swift.keys(self.bucket)

    def listed(self, what):
        return self.swift.listed(what, self.bucket)

    def object(self, key):
        """Headers and bytes, by a request that reeld had no part in."""
        return self.swift.exchange("GET", f"/{self.bucket}/{key}")

    def uploads(self):
        """Multipart uploads that were begun and not ended."""
        answer = xml.etree.ElementTree.fromstring(self.swift.request("GET", "/" + self.bucket, "uploads="))
        return [item for item in answer.iter() if item.tag.endswith("}Upload")]

    def redis_keys(self):
        return [key for key in self.redis.cli("--scan", "--pattern", self.name + ":*").splitlines() if key]


class EngineDaemon(Daemon):
    """`reeld serve` whose ledger is the space's database."""

    def __init__(self, directory, twilio_url, space, **env):
        os.makedirs(directory, exist_ok=True)
        super().__init__(directory, twilio_url, **{**space.env(), **env})
        self.space = space

    def query(self, sql, *arguments):
        return self.space.rows(sql, *arguments)

    def dependencies(self):
        """name → is it up, as /readyz tells it; it is ready all the same."""
        reply = self.get("/readyz")
        assert reply.status == 200, reply
        return {name: state["up"] for name, state in reply.json["dependencies"].items()}

    def up(self, name):
        """As both /readyz and the metric tell it, which must agree."""
        told = self.dependencies()[name], bool(self.metrics()[f'reeld_dependency_up{{dependency="{name}"}}'])
        return told[0] if told[0] == told[1] else None


class EngineOracle(Oracle):
    """The oracle with rows in Postgres and objects in a bucket. What Twilio has is asked at once: the sandbox may be killed later."""

    def __init__(self, daemon, sandbox):
        super().__init__(daemon, sandbox)
        self.space = daemon.space
        self.expected_bytes(next(iter(self.recordings)))

    def expected_key(self, sid):
        return "recordings/" + self.expected_path(sid)

    def check(self):
        """One object with the right bytes under the right key, one row, stored once, one update of the call; nothing else is there."""
        rows, calls = {}, {}
        for row in self.space.rows("SELECT * FROM recordings"):
            rows.setdefault(row["recording_sid"], []).append(row)
        for row in self.space.rows("SELECT * FROM calls"):
            calls.setdefault(row["twilio_sid"], []).append(row)
        stored = {row["recording_sid"]: row["n"] for row in self.space.rows(
            "SELECT r.recording_sid, count(*) AS n FROM recording_events e JOIN recordings r ON r.id = e.recording_id WHERE e.what = 'stored' GROUP BY 1")}
        keys = self.space.keys()
        for sid in self.acknowledged:
            assert len(rows.get(sid, [])) == 1, f"{sid}: acknowledged, but {rows.get(sid)}"
            row, call_sid = rows[sid][0], self.recordings[sid]["call_sid"]
            assert row["status"] == "stored" and row["key"] == self.expected_key(sid), f"{sid}: {row}"
            assert stored[sid] == 1, f"{sid}: stored {stored[sid]} times"
            assert (row["bytes"], row["sha256"]) == self.expected_bytes(sid), f"{sid}: not the bytes that Twilio has: {row}"
            assert len(calls.get(call_sid, [])) == 1, f"{sid}: calls {calls.get(call_sid)}"
            assert calls[call_sid][0]["recording_url"] == row["url"], f"{sid}: the call does not point to it: {calls[call_sid]}"
            _, data = self.space.object(row["key"])
            assert (len(data), hashlib.sha256(data).hexdigest()) == self.expected_bytes(sid), f"{sid}: the object has other bytes"
        unknown = set(keys) - {self.expected_key(sid) for sid in self.recordings}
        assert not unknown, f"objects that nobody ordered: {unknown}"
        assert self.space.uploads() == [], "uploads that were not ended"


class Load:
    """Callbacks at a steady rate, each to be answered 200 and soon, whatever is broken. Every recording comes once, some twice."""

    def __init__(self, oracle, per_second=10, sids=None):
        self.oracle, self.per_second = oracle, per_second
        self.todo = sids or list(oracle.recordings)
        self.took_ms, self.wrong = [], []
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()

    def run(self):
        due = time.monotonic()
        for number, sid in enumerate(self.todo):
            for _ in range(2 if number % 5 == 0 else 1):
                if self.ending.wait(max(0, due - time.monotonic())):
                    return
                due = max(due, time.monotonic() - 1) + 1 / self.per_second
                begun = time.monotonic()
                reply = self.oracle.post(sid)
                self.took_ms.append((time.monotonic() - begun) * 1000)
                if reply is None or reply.status != 200:
                    self.wrong.append((sid, reply))

    def more(self, count, what):
        """Waits for so many answers from now on."""
        goal = len(self.took_ms) + count
        wait_until(lambda: len(self.took_ms) >= goal or not self.thread.is_alive(), f"{count} callbacks to be answered: {what}")
        assert len(self.took_ms) >= goal, f"the recordings ran out: {what}"

    def check(self, what):
        assert not self.wrong, f"{what}: not answered 200: {self.wrong[:5]}"
        median, worst = statistics.median(self.took_ms), max(self.took_ms)
        print(f"{what}: {len(self.took_ms)} acks, median {median:.1f} ms, longest {worst:.0f} ms")
        assert median < ACK_MEDIAN_MS and worst < ACK_MAX_MS, f"{what}: acks took {median:.0f} ms (median), {worst:.0f} ms (longest)"


class Proxy:
    """A TCP relay in front of a server on loopback. `cut(n)` resets every connection once n bytes went through it in both directions
    together, `silence()` takes connections and bytes and answers nothing, also to those that are open, `mute()` the same for the server's answers only, `drip()` lets 1 KiB through
    every 50 ms; `mend()` ends it for new connections and, but for silence, for those that are open."""

    def __init__(self, target):
        self.target = target
        self.limit, self.silent, self.muted, self.slow = None, False, False, False
        self.cuts = 0
        self.pairs = []
        self.ended = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def cut(self, after):
        self.limit = after
        for pair in list(self.pairs):
            self.reset(pair)

    def silence(self):
        self.silent = True
        for pair in self.pairs:
            pair["deaf"] = True

    def mute(self):
        self.muted = True

    def drip(self):
        self.slow = True

    def mend(self):
        self.limit, self.silent, self.muted, self.slow = None, False, False, False

    def kill(self):
        self.ended = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for pair in list(self.pairs):
            self.reset(pair)

    def reset(self, pair):
        for end in pair["ends"]:
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD)  # wakes who reads it, without a FIN: what follows is a reset
            except OSError:
                pass
            end.close()

    def accept(self):
        while not self.ended:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            pair = {"ends": (client, server), "passed": 0, "deaf": self.silent}
            self.pairs.append(pair)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self.relay, args=(pair, source, sink), daemon=True).start()

    def relay(self, pair, source, sink):
        try:
            while True:
                data = source.recv(1024 if self.slow or self.limit is not None else 65536)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                if pair["deaf"] or self.muted and source is pair["ends"][1]:
                    continue
                if self.slow:
                    time.sleep(0.05)
                if self.limit is not None:
                    pair["passed"] += len(data)
                    if pair["passed"] > self.limit:
                        self.cuts += 1
                        self.reset(pair)
                        return
                sink.sendall(data)
        except OSError:
            self.reset(pair)


def secrets_in(text, *secrets):
    return [secret for secret in secrets if secret and secret in text]


def log_events(daemon, event):
    return [line for line in daemon.logs() if line["event"] == event]


def pid_of(owner):
    """The process that an owner of a lease names: host:pid:nonce."""
    return int(re.fullmatch(r"[^:]*:(\d+):[0-9a-f]{8}", owner).group(1))


def expire(space, living):
    """As if 45 seconds went by for those who are dead: nobody renews their leases."""
    owners = {row["lease_owner"] for row in space.rows("SELECT DISTINCT lease_owner FROM recordings WHERE lease_owner IS NOT NULL")}
    dead = [owner for owner in owners if pid_of(owner) not in living]
    if dead:
        space.execute("UPDATE recordings SET lease_expires_at = statement_timestamp() WHERE status = 'running' AND lease_owner IN ("
                      + ", ".join(f"'{owner}'" for owner in dead) + ")")
