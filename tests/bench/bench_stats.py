#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""bench_stats.py [CALLS]: what /api/stats costs with that many calls (a million) in the ledger, on SQLite and, when run beside one, on Postgres:

    tests/servers/run.py postgres -- /usr/bin/python3 tests/bench/bench_stats.py

Prints how long the calls took to insert with and without what the figures need, the plan of every statement of LEDGER_STATS, and the time of the
request through the daemon, uncached and cached. REELD_BINARY names the binary (build/reeld)."""
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
from reeldlib import Daemon, http_request  # noqa: E402

STATEMENTS = ("STATS_FOLD", "STATS_STATUS", "STATS_DAYS", "STATS_RATED", "STATS_LONGEST")
DAY_MS = 86400000


def statements(dialect, macro):
    """NAME → SQL: the .def file as the preprocessor expands it."""
    source = f'#define {macro}(NAME, sql) @@NAME@@ sql\n#include "{ROOT}/src/ledger/ledger_{dialect}.def"\n'
    text = subprocess.run(["cc", "-E", "-P", "-xc", "-"], input=source, capture_output=True, text=True, check=True).stdout
    found = {}
    for name, sql in re.findall(r"@@(\w+)@@(.*?)(?=@@|\Z)", text, re.S):
        found[name] = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', sql)).replace('\\"', '"')
    return found


def request_times(daemon):
    """Milliseconds of a first request, of one while its answer is kept, and of fresh ones."""
    def once():
        begin = time.monotonic()
        reply = http_request(daemon.admin_port, "GET", "/api/stats")
        assert reply.status == 200, reply
        return (time.monotonic() - begin) * 1000, reply.json
    first, stats = once()
    kept = once()[0]
    fresh = []
    while len(fresh) < 5:
        time.sleep(max(1.1, first / 1000 * 10.1))
        fresh.append(once()[0])
    print(f"  GET /api/stats: first {first:.1f} ms, kept {kept:.1f} ms, fresh {', '.join(f'{ms:.1f}' for ms in fresh)} ms"
          f" ({stats['totalCalls']} calls, {stats['totalDuration']} s)")


def sqlite(calls):
    print(f"SQLite, {calls} calls")
    insert = ("INSERT INTO calls (twilio_sid, from_number, to_number, status, duration, rating, created_at, updated_at) "
              "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
              "SELECT printf('CA%032x', i), '+15005550006', '+15005550001', substr('COMPLETED NO_ANSWER FAILED', 1, 9), abs(random()) % 3600, "
              "CASE WHEN i % 20 = 0 THEN abs(random()) % 5 + 1 END, ? - abs(random()) % (400 * 86400000), ? FROM n")
    with tempfile.TemporaryDirectory(prefix="reeld-bench-") as directory:
        daemon = Daemon(directory).start()
        daemon.stop()
        path = os.path.join(daemon.data, "ledger.db")
        took = {}
        now = int(time.time() * 1000)
        for bare in (True, False):
            connection = sqlite3.connect(path, isolation_level=None)
            schema = [row[0] for row in connection.execute(
                "SELECT sql FROM sqlite_schema WHERE name IN ('calls_added', 'calls_changed', 'calls_removed', 'calls_duration', 'calls_rating')")]
            if bare:
                for name in ("calls_added", "calls_changed", "calls_removed"):
                    connection.execute("DROP TRIGGER " + name)
                connection.execute("DROP INDEX calls_duration")
                connection.execute("DROP INDEX calls_rating")
            begin = time.monotonic()
            connection.execute("BEGIN")
            connection.execute(insert, (calls, now, now))
            connection.execute("COMMIT")
            took[bare] = time.monotonic() - begin
            if bare:
                connection.execute("DELETE FROM calls")
                for sql in schema:
                    connection.execute(sql)
            connection.close()
        print(f"  a call inserted: {took[True] / calls * 1e6:.2f} us, with triggers and indexes {took[False] / calls * 1e6:.2f} us")
        connection = sqlite3.connect(path)
        sql = statements("sqlite", "STMT")
        for name in STATEMENTS[1:]:
            arguments = (now // DAY_MS,) if "?1" in sql[name] else ()
            begin = time.monotonic()
            connection.execute(sql[name], arguments).fetchall()
            print(f"  {name}: {(time.monotonic() - begin) * 1000:.2f} ms")
            for row in connection.execute("EXPLAIN QUERY PLAN " + sql[name], arguments):
                print("    " + row[3])
        connection.close()
        daemon.start()
        request_times(daemon)
        daemon.stop()


def postgres(calls, url):
    print(f"Postgres, {calls} calls")

    def psql(sql):
        return subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql], capture_output=True, text=True, check=True).stdout

    with tempfile.TemporaryDirectory(prefix="reeld-bench-") as directory:
        daemon = Daemon(directory, DATABASE_URL=url)
        assert daemon.command("migrate").returncode == 0
        insert = ("INSERT INTO calls (twilio_sid, from_number, to_number, status, duration, rating, created_at) "
                  "SELECT 'CA' || lpad(to_hex(i), 32, '0'), '+15005550006', '+15005550001', "
                  "(ARRAY['COMPLETED', 'NO_ANSWER', 'FAILED'])[i % 3 + 1]::call_status, (random() * 3600)::integer, "
                  "CASE WHEN i % 20 = 0 THEN (random() * 4)::integer + 1 END, now() - random() * interval '{} days' "
                  "FROM generate_series({}, {}) AS i")
        psql(insert.format(400, 1, calls))
        psql("VACUUM ANALYZE calls")
        # What a forwarder's batches cost, side by side on the same table.
        schema = psql("SELECT indexdef FROM pg_indexes WHERE indexname IN ('calls_duration', 'calls_rating')").splitlines()
        took, at, more, batch = {}, calls + 1, calls // 10, 500
        for bare in (False, True):
            if bare:
                psql("ALTER TABLE calls DISABLE TRIGGER USER; DROP INDEX calls_duration, calls_rating")
            batches = "".join(insert.format(0, i, i + batch - 1) + ";\n" for i in range(at, at + more, batch))
            begin = time.monotonic()
            subprocess.run(["psql", "-Xq", "-d", url], input=batches, text=True, check=True)
            took[bare] = (time.monotonic() - begin) / more * 1e6
            at += more
        psql("ALTER TABLE calls ENABLE TRIGGER USER; " + "; ".join(schema))
        print(f"  a call inserted, in batches of {batch}: {took[True]:.2f} us, with triggers and indexes {took[False]:.2f} us; "
              f"{psql('SELECT count(*) FROM call_deltas').strip()} deltas")
        sql = statements("postgres", "QUERY")
        for name in STATEMENTS:
            print(f"  {name}")
            for line in psql("SET enable_seqscan = off; SET jit = off; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY ON) " + sql[name]).splitlines():
                print("    " + line)
        daemon.start()
        request_times(daemon)
        daemon.stop()


def main():
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
    sqlite(calls)
    if "REELD_TEST_POSTGRES_URL" in os.environ:
        postgres(calls, os.environ["REELD_TEST_POSTGRES_URL"])


if __name__ == "__main__":
    main()
