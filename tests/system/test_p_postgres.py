# SPDX-License-Identifier: MIT
"""Postgres as it is run in earnest: behind TLS, and as a primary with a standby that takes over."""
import os
import shutil
import tempfile

import pytest
from enginelib import Proxy, log_events, secrets_in
from reeldlib import TOKEN, Daemon, Oracle, callback_params, wait_until
from servers.postgres import Postgres, Standby, make_authority

SECRET = "nobody-may-read-this"


class Shared(Daemon):
    """`reeld serve` on one or more Postgres servers and a directory."""

    def __init__(self, directory, twilio_url, server, url, **env):
        super().__init__(directory, twilio_url, DATABASE_URL=url, **env)
        self.server = server

    def query(self, sql, *arguments):
        return self.server.rows(sql, *arguments)

    def ledger(self):
        """Its state as /readyz has it; webhooks are taken all the same."""
        reply = self.get("/readyz")
        assert reply.status == 200, reply
        return reply.json["dependencies"]["ledger"]


@pytest.fixture(scope="module")
def secured():
    """A server with TLS. Not below pytest's directory, which another pytest closes to other users: Postgres runs as one."""
    directory = tempfile.mkdtemp(prefix="reeld-postgres-")
    server = Postgres(directory, tls=True)
    try:
        yield server.start()
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)


def tls_url(server, parameters, host="localhost"):
    return f"postgresql://reeld:{SECRET}@{host}:{server.port}/reeld?{parameters}"


def checked(reeld):
    """What `reeld check` says of the ledger: did it reach it, and its words. No secret is in them."""
    result = reeld.command("check")
    assert not secrets_in(result.stdout + result.stderr, SECRET, TOKEN), result
    line = next(line for line in result.stdout.splitlines() if line.split()[1] == "ledger")
    return line.split()[0] == "ok", line


@pytest.mark.parametrize("parameters", ["sslmode=require", "sslmode=verify-ca&sslrootcert={ca}", "sslmode=verify-full&sslrootcert={ca}"])
def test_tls_is_spoken_where_it_is_wanted(sandbox, tmp_path, started, secured, parameters):
    peer = sandbox(count=5)
    reeld = started(Shared(tmp_path, peer.url, secured, tls_url(secured, parameters.format(ca=secured.ca)), LOG_LEVEL="debug"))
    assert reeld.command("migrate").returncode == 0
    assert checked(reeld)[0]
    reeld.start()
    peer.deliver_all(reeld)
    oracle = Oracle(reeld, peer)
    oracle.adopt()
    oracle.settle()
    oracle.check()
    connections = secured.rows("SELECT s.ssl, s.version FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'reeld'")
    assert len(connections) == 3 and all(row["ssl"] and row["version"] >= "TLSv1.2" for row in connections), connections
    assert reeld.stop() == 0
    assert not secrets_in(reeld.process.output(), SECRET)
    secured.psql("TRUNCATE recordings, calls CASCADE")


@pytest.mark.parametrize("parameters, host, words", [
    ("sslmode=verify-ca&sslrootcert={other}", "localhost", "certificate verify failed"),
    ("sslmode=verify-full&sslrootcert={other}", "localhost", "certificate verify failed"),
    ("sslmode=verify-full&sslrootcert={ca}", "127.0.0.1", 'does not match host name "127.0.0.1"'),
    ("sslmode=verify-full&sslrootcert=/no/such/file", "localhost", "/no/such/file"),
    ("sslmode=verify-full&sslrootcert={ca}&ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2", "localhost", "SSL protocol version range")])
def test_a_server_that_is_not_trusted_is_not_talked_to(tmp_path, secured, parameters, host, words):
    make_authority(str(tmp_path), "other")
    url = tls_url(secured, parameters.format(ca=secured.ca, other=tmp_path / "other.pem"), host)
    reached, line = checked(Shared(tmp_path, "http://127.0.0.1:9", secured, url))
    assert not reached and words in line, line


def test_a_server_without_tls_is_not_talked_to(tmp_path, engines):
    reached, line = checked(Shared(tmp_path, "http://127.0.0.1:9", engines.postgres, tls_url(engines.postgres, "sslmode=require", "127.0.0.1")))
    assert not reached and "server does not support SSL, but SSL was required" in line, line


def test_the_wrong_authority_is_an_outage_that_ends_with_the_right_one(sandbox, tmp_path, started, secured):
    peer = sandbox(count=3)
    make_authority(str(tmp_path), "other")
    trusted = tmp_path / "trusted.pem"
    shutil.copy(tmp_path / "other.pem", trusted)
    reeld = started(Shared(tmp_path, peer.url, secured, tls_url(secured, f"sslmode=verify-full&sslrootcert={trusted}"), MAX_ATTEMPTS="1")).start()
    oracle = Oracle(reeld, peer)
    for sid in oracle.recordings:
        assert oracle.post(sid).status == 200
    wait_until(lambda: any("certificate verify failed" in line.get("detail", "") for line in reeld.logs()), lambda: reeld.process.output()[-2000:])
    assert not reeld.ledger()["up"] and reeld.metrics()["reeld_inbox_events"] == 3
    shutil.copy(secured.ca, trusted)
    oracle.settle()
    oracle.check()
    assert {row["attempts"] for row in reeld.query("SELECT attempts FROM recordings")} == {0}
    assert reeld.ledger()["up"] and not secrets_in(reeld.process.output(), SECRET, TOKEN)
    assert reeld.stop() == 0
    secured.psql("TRUNCATE recordings, calls CASCADE")


# ---- answers that are lost ----

def test_leases_whose_answer_was_lost_come_back_at_once(sandbox, tmp_path, started, engines):
    """The server commits the batch, with leases, and its answer never arrives."""
    server = engines.postgres
    server.psql("CREATE DATABASE unheard", database="postgres")

    class Unheard(Shared):
        def query(self, sql, *arguments):
            return server.rows(sql, *arguments, database="unheard")
    peer = sandbox(count=5)
    proxy = started(Proxy(server.port))
    reeld = started(Unheard(tmp_path, peer.url, server, f"postgresql://reeld@127.0.0.1:{proxy.port}/unheard", MAX_ATTEMPTS="1")).start()
    oracle = Oracle(reeld, peer)
    first, *others = oracle.recordings
    assert oracle.post(first).status == 200
    oracle.settle()
    proxy.mute()
    for sid in others:
        assert oracle.post(sid).status == 200
    leased = wait_until(lambda: reeld.query("SELECT * FROM recordings WHERE status = 'running'"), "the server to commit what reeld does not know of")
    proxy.cut(0)
    proxy.mend()
    oracle.settle()
    oracle.check()
    rows = reeld.query("SELECT lease_epoch, attempts FROM recordings")
    assert {(row["lease_epoch"], row["attempts"]) for row in rows} == {(1, 0)}, "nobody waited for a lease to run out"
    assert sum(line["recordings"] for line in log_events(reeld, "lease.reclaimed")) == len(leased) >= 1
    assert reeld.stop() == 0


# ---- failover ----

@pytest.fixture
def pair():
    """A primary and a standby that has every commit before it is answered."""
    directory = tempfile.mkdtemp(prefix="reeld-postgres-")
    primary = Postgres(directory)
    standby = Standby(directory, primary)
    try:
        primary.start()
        standby.start()
        standby.be_waited_for()
        yield primary, standby
    finally:
        primary.kill()
        standby.kill()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("order, parameters", [((0, 1), "?target_session_attrs=read-write"), ((1, 0), "")])
def test_a_standby_takes_over(sandbox, tmp_path, started, pair, order, parameters):
    """In the middle of downloads, with webhooks coming in all the time."""
    primary, standby = pair
    peer = sandbox(count=60, fault="stall:0.5", fault_attempts=1, stall="2s")
    hosts = ",".join(f"127.0.0.1:{pair[which].port}" for which in order)
    reeld = started(Shared(tmp_path, peer.url, primary, f"postgresql://reeld@{hosts}/reeld{parameters}", MAX_ATTEMPTS="1", MAX_TRANSFERS="8")).start()
    oracle = Oracle(reeld, peer)
    sids = iter(oracle.recordings)
    for _ in range(30):
        assert oracle.post(next(sids)).status == 200
    wait_until(lambda: peer.stats()["downloads_open"] >= 4, lambda: f"downloads: {peer.stats()}")
    primary.kill()
    for _ in range(15):
        assert oracle.post(next(sids)).status == 200
    wait_until(lambda: not reeld.ledger()["up"], "the ledger to be seen as down: a standby is no ledger")
    assert reeld.metrics()["reeld_inbox_events"] >= 15
    standby.promote()
    reeld.server = standby
    for _ in range(15):
        assert oracle.post(next(sids)).status == 200
    wait_until(lambda: reeld.ledger()["up"], "the new primary to be found")
    oracle.settle(120)
    oracle.check()
    assert {row["attempts"] for row in reeld.query("SELECT attempts FROM recordings")} == {0}
    assert len(reeld.query("SELECT * FROM recordings")) == 60
    assert reeld.stop() == 0
