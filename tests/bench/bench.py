#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""reeld's benchmarks: ratios side by side in one run, interleaved, medians. Called by ./dev bench.

  bench.py ack        durable verified ack beside nginx's static 200, Node and fastify + Postgres
  bench.py connect    one connection per request, CPU beside nginx
  bench.py idle       resident memory with 4,096 idle connections
  bench.py sustained  burst and drain: what the ledger keeps pace with
  bench.py transfer   1,000 recordings of 1 MB end to end beside curl > file; memory with small and large recordings
  bench.py copy       reeld's transfers beside a plain curl-multi copy between the same two ends, each on one core and each on both
                      (needs `ninja tests/bench/bench_copy`)
  bench.py forward    journal into ledger: SQLite and Postgres in turn
  bench.py pipeline   webhook to stored recording with Postgres, Redis and a sink: reeld beside the same job in Node; into nginx, which takes
                      any PUT, and into Swift's S3 API, which verifies every signature
  bench.py all        everything, in this order
"""
import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import benchlib as lib  # noqa: E402
import sinks  # noqa: E402

# Bytes of a recording and how many of them, by sink.
PIPELINE = {"nginx": ((1_000, 4000), (100_000, 4000), (1_000_000, 400)), "swift": ((1_000, 1000), (100_000, 1000), (1_000_000, 200))}
PIPELINE_SMOKE = ((100_000, 30),)

class Bench:
    def __init__(self, options):
        self.options = options
        self.directory = tempfile.mkdtemp(prefix="reeld-bench-")
        self.serial = 0
        self.results = {}

    def fresh(self, name):
        self.serial += 1
        path = os.path.join(self.directory, f"{self.serial:03d}-{name}")
        os.makedirs(path)
        return path

    def requests_file(self, name, count, close=False):
        """Signed requests are made once per kind; each run of a server starts from an empty data directory, so none is a duplicate."""
        path = os.path.join(self.directory, f"requests-{name}-{count}")
        if not os.path.exists(path):
            lib.write_requests(path, 0, count, close)
            lib.write_requests(path + "-warm", 10_000_000, count // 4, close)
        return path

    # --- the servers under comparison: each returns a started, pinned Server ---
    def start_nginx(self):
        return lib.nginx_server(self.fresh("nginx"), lib.free_port())

    def start_reeld(self, **extra):
        return lib.reeld_server(self.options.binary, self.fresh("reeld"), lib.free_port(), **extra)

    def node_modules(self):
        target = self.options.node_dir
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node")
        os.makedirs(target, exist_ok=True)
        for name in os.listdir(source):
            shutil.copy(os.path.join(source, name), target)
        if not os.path.isdir(os.path.join(target, "node_modules", "@aws-sdk", "lib-storage")):
            subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=target, check=True)
        return target

    def start_node(self, script, **extra):
        port = lib.free_port()
        env = {"PORT": str(port), "TWILIO_AUTH_TOKEN": lib.TOKEN, "PUBLIC_URL": lib.PUBLIC_URL, "NODE_ENV": "production"}
        env.update(extra)
        return lib.Server(script, ["node", script], env=env, port=port, cwd=self.node_modules())

    def start_fastify(self):
        postgres = Postgres(self.fresh("postgres"))
        server = self.start_node("fastify_pg.js", DATABASE_URL=postgres.url)
        stop = server.stop

        def stop_both():
            stop()
            postgres.stop()
        server.stop = stop_both
        return server

    def run_load(self, server, requests, connections, seconds):
        # Warm up: code paths, page cache, node's JIT; with other events, since those of the run must not be duplicates.
        lib.wrk(server.port, requests + "-warm", min(connections, 16), 1)
        before = server.cpu_seconds()
        result = lib.wrk(server.port, requests, connections, seconds)
        result["cpu_us"] = (server.cpu_seconds() - before) / max(result["requests"], 1) * 1e6
        result["rss_mb"] = server.rss_mb()
        if result["status"] or result["wrapped"]:
            print(f"  note: {server.name}: {result['status']} answers were not 2xx, requests repeated {result['wrapped']} times", flush=True)
        return result

    # --- benchmarks ---
    def ack(self, close=False):
        rounds, seconds = self.options.rounds, self.options.seconds
        starters = {"nginx": self.start_nginx, "reeld": self.start_reeld}
        if not self.options.no_node and not close:
            starters["node"] = lambda: self.start_node("http_twilio.js")
            starters["fastify+pg"] = self.start_fastify
        if self.options.ceiling:
            starters["no sync"] = lambda: self.start_reeld(LD_PRELOAD=os.path.abspath(self.options.ceiling))
        levels = [64] if close else self.options.connections
        rows = {}
        for connections in levels:
            for round_number in range(rounds):
                for name, start in starters.items():
                    rate = {"nginx": 110000, "reeld": 110000, "no sync": 110000}.get(name, 20000)
                    requests = self.requests_file("close" if close else "keep", min(rate * (seconds + 2), 600000), close)
                    server = start()
                    try:
                        result = self.run_load(server, requests, connections, seconds)
                    finally:
                        server.stop()
                    rows.setdefault((connections, name), []).append(result)
                    print(f"  {connections:4d} connections, round {round_number + 1}, {name:10s} {result['rate']:9.0f}/s  "
                          f"p50 {result['p50_us']:6d} us  p99 {result['p99_us']:6d} us  CPU {result['cpu_us']:6.1f} us", flush=True)
        print(f"\n{'connections':>11s} {'server':11s} {'req/s':>9s} {'p50 us':>8s} {'p99 us':>8s} {'CPU us':>8s} {'RSS MB':>7s} {'of nginx':>8s}")
        for connections in levels:
            base = lib.median([r["rate"] for r in rows[(connections, "nginx")]])
            base_cpu = lib.median([r["cpu_us"] for r in rows[(connections, "nginx")]])
            for name in starters:
                runs = rows[(connections, name)]
                row = {key: lib.median([r[key] for r in runs]) for key in ("rate", "p50_us", "p99_us", "cpu_us", "rss_mb")}
                # The ratio of each round, then their median: the machine drifts between rounds, not within one.
                ratios = [r["rate"] / n["rate"] for r, n in zip(runs, rows[(connections, "nginx")])]
                row["of_nginx"] = lib.median(ratios)
                row["cpu_of_nginx"] = row["cpu_us"] / base_cpu
                row["rate_base"] = base
                self.results[f"{'connect' if close else 'ack'}/{connections}/{name}"] = row
                print(f"{connections:11d} {name:11s} {row['rate']:9.0f} {row['p50_us']:8.0f} {row['p99_us']:8.0f} {row['cpu_us']:8.1f} "
                      f"{row['rss_mb']:7.1f} {row['of_nginx']:8.2f}", flush=True)
        if not close and "fastify+pg" in starters and 64 in levels:
            ratio = self.results["ack/64/reeld"]["rate"] / self.results["ack/64/fastify+pg"]["rate"]
            self.results["ack/64/reeld_of_fastify"] = ratio
            print(f"\nreeld is {ratio:.1f} times fastify + Postgres at 64 connections")

    def connect(self):
        self.ack(close=True)
        ratio = self.results["connect/64/reeld"]["cpu_of_nginx"]
        print(f"\nnew connection each: reeld takes {ratio:.2f} times nginx's CPU a request")

    def idle(self):
        server = self.start_reeld()
        held = []
        try:
            empty = server.rss_mb()
            for index in range(4096):
                peer = socket.create_connection(("127.0.0.1", server.port))
                peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                if not peer.recv(4096).startswith(b"HTTP/1.1 200"):
                    raise RuntimeError("healthz did not answer 200")
                held.append(peer)
            full = server.rss_mb()
        finally:
            for peer in held:
                peer.close()
            server.stop()
        self.results["idle"] = {"rss_empty_mb": empty, "rss_4096_mb": full}
        print(f"RSS {empty:.1f} MB without, {full:.1f} MB with 4,096 idle keep-alive connections")

    def sustained(self):
        """A burst at 64 connections, then the drain: events over the whole time is what reeld sustains."""
        server = self.start_reeld()
        directory = os.path.join(self.directory, f"{self.serial:03d}-reeld", "data", "ledger.db")
        seconds = self.options.seconds
        try:
            requests = self.requests_file("keep", min(110000 * (seconds + 2), 600000))
            started = time.monotonic()
            burst = lib.wrk(server.port, requests, 64, seconds)
            wanted = burst["requests"]
            while time.monotonic() - started < 300:
                with sqlite3.connect(f"file:{directory}?mode=ro", uri=True, timeout=10) as ledger:
                    done = ledger.execute("SELECT count(*) FROM recordings").fetchone()[0]
                if done >= wanted:
                    break
                time.sleep(0.25)
            took = time.monotonic() - started
        finally:
            server.stop()
        self.results["sustained"] = {"burst_rate": burst["rate"], "events": wanted, "in_ledger": done, "sustained_rate": done / took}
        print(f"burst {burst['rate']:.0f}/s for {seconds} s; all {done} of {wanted} in the ledger after {took:.1f} s: "
              f"{done / took:.0f}/s sustained on one core")

    def transfer(self):
        count, size = self.options.recordings, 1000000
        self.transfer_curl(count, size)
        small = self.transfer_reeld("1 MB", count, size)
        large = self.transfer_reeld("1 GB", 2, 1000000000)
        self.results["transfer/rss"] = {"rss_1mb": small["rss_mb"], "rss_1gb": large["rss_mb"]}
        curl = self.results["transfer/curl"]
        print(f"reeld moves {small['mb_s'] / curl['mb_s']:.2f} of what curl > file moves; "
              f"peak RSS {small['rss_mb']:.0f} MB at 64 x 1 MB, {large['rss_mb']:.0f} MB at 2 x 1 GB")

    def sandbox(self, size, count, **options):
        port = lib.free_port()
        argv = [self.options.binary, "sandbox", "--listen", f"127.0.0.1:{port}", "--account-sid", lib.ACCOUNT, "--auth-token", lib.TOKEN,
                "--size", str(size), "--count", str(count)]
        for name, value in options.items():
            argv += ["--" + name, str(value)]
        directory = self.fresh("sandbox")
        server = lib.Server("sandbox", argv, port=port, log=os.path.join(directory, "log"))
        for pid in server.pids():
            subprocess.run(["taskset", "-acp", lib.LOAD_CORE, str(pid)], check=True, capture_output=True)
        return server

    def transfer_curl(self, count, size):
        """The plain copy on the same machine: 64 curls' worth of connections in one process, every recording into a file of its own."""
        server = self.sandbox(size, count)
        directory = self.fresh("curl")
        try:
            sids = self.sandbox_sids(server, count)
            config = os.path.join(directory, "urls")
            with open(config, "w") as out:
                for sid in sids:
                    out.write(f'url = "http://127.0.0.1:{server.port}/2010-04-01/Accounts/{lib.ACCOUNT}/Recordings/{sid}.wav"\n'
                              f'output = "{directory}/{sid}.wav"\n')
            before = os.times()
            started = time.monotonic()
            subprocess.run(["taskset", "-c", lib.SERVER_CORE, "curl", "-sS", "--fail", "--parallel", "--parallel-max", "64",
                            "-u", f"{lib.ACCOUNT}:{lib.TOKEN}", "--config", config], check=True, timeout=600)
            took = time.monotonic() - started
            after = os.times()
        finally:
            server.stop()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        moved = sum(os.path.getsize(os.path.join(directory, name)) for name in os.listdir(directory) if name.endswith(".wav"))
        shutil.rmtree(directory)
        self.results["transfer/curl"] = {"mb_s": moved / took / 1e6, "cpu_s_gb": cpu / (moved / 1e9), "bytes": moved}
        print(f"curl > file: {moved / 1e6:.0f} MB in {took:.1f} s: {moved / took / 1e6:.0f} MB/s, {cpu / (moved / 1e9):.2f} CPU s/GB", flush=True)

    def sandbox_sids(self, server, count):
        sids = []
        path = f"/2010-04-01/Accounts/{lib.ACCOUNT}/Recordings.json?PageSize=1000"
        while path and len(sids) < count:
            output = subprocess.run(["curl", "-sS", "--fail", "-u", f"{lib.ACCOUNT}:{lib.TOKEN}", f"http://127.0.0.1:{server.port}{path}"],
                                    check=True, capture_output=True).stdout
            page = json.loads(output)
            sids += [recording["sid"] for recording in page["recordings"]]
            path = page.get("next_page_uri")
        return sids[:count]

    def transfer_reeld(self, label, count, size):
        reeld_port = lib.free_port()
        directory = self.fresh("reeld")
        sandbox = self.sandbox(size, count)
        server = None
        try:
            server = lib.reeld_server(self.options.binary, directory, reeld_port, PUBLIC_URL=f"http://127.0.0.1:{reeld_port}",
                                      TWILIO_API_BASE=f"http://127.0.0.1:{sandbox.port}", MAX_TRANSFERS="64")
            before = server.cpu_seconds()
            started = time.monotonic()
            subprocess.run(["curl", "-sS", "--fail", "-X", "POST", f"http://127.0.0.1:{sandbox.port}/sandbox/deliver?from=0&count={count}"
                            f"&target=http://127.0.0.1:{reeld_port}{lib.PATH}"],
                           check=True, capture_output=True)
            peak, stored = 0.0, 0
            ledger_path = os.path.join(directory, "data", "ledger.db")
            while time.monotonic() - started < 600:
                peak = max(peak, server.rss_mb())
                with sqlite3.connect(f"file:{ledger_path}?mode=ro", uri=True, timeout=10) as ledger:
                    stored, moved = ledger.execute("SELECT count(*), total(bytes) FROM recordings WHERE status = 'stored'").fetchone()
                if stored >= count:
                    break
                time.sleep(0.05)
            took = time.monotonic() - started
            cpu = server.cpu_seconds() - before
        finally:
            if server:
                server.stop()
            sandbox.stop()
        shutil.rmtree(os.path.join(directory, "data"))
        if stored < count:
            raise RuntimeError(f"only {stored} of {count} recordings were stored")
        row = {"mb_s": moved / took / 1e6, "cpu_s_gb": cpu / (moved / 1e9), "rss_mb": peak, "recordings_s": count / took}
        self.results[f"transfer/reeld {label}"] = row
        print(f"reeld, {count} x {label}: {moved / 1e6:.0f} MB in {took:.1f} s: {row['mb_s']:.0f} MB/s, {row['cpu_s_gb']:.2f} CPU s/GB, "
              f"peak RSS {peak:.0f} MB", flush=True)
        return row

    # --- transfers beside a plain copy ---
    def copy(self):
        """MB/s and CPU of moving recordings, 64 at a time: bench_copy and reeld in turn, from one nginx into it (as S3), and into files (synced).
        On one core the mover has it to itself and nginx and the load have the other; on both nobody is pinned. reeld hashes on threads, the plain
        copy hashes nothing and is one thread."""
        placements = {"one core": (lib.SERVER_CORE, lib.LOAD_CORE), "both cores": (lib.BOTH_CORES, lib.BOTH_CORES)}
        movers = {"copy": self.copy_plain, "reeld": self.copy_reeld}
        size, count = self.options.size, self.options.recordings
        rows = {}
        for sink in ("put", "file"):
            for round_number in range(self.options.rounds):
                for label, (core, others) in placements.items():
                    for name, run in movers.items():
                        with lib.on_cores(others):
                            row = run(sink, size, count, core, others)
                        rows.setdefault((sink, label), {}).setdefault(name, []).append(row)
                        print(f"  {sink:4s} {size // 1000} KB, {label:10s}, round {round_number + 1}, {name:5s} {row['mb_s']:7.0f} MB/s  "
                              f"{row['cpu_s_gb']:6.2f} CPU s/GB", flush=True)
        print(f"\n{'sink':4s} {'each on':10s} {'copy MB/s':>9s} {'reeld MB/s':>10s} {'of copy':>8s} {'copy CPU s/GB':>13s} {'reeld CPU s/GB':>14s} {'of copy':>8s}")
        for (sink, label), runs in rows.items():
            row = {name: {key: lib.median([run[key] for run in runs[name]]) for key in ("mb_s", "cpu_s_gb")} for name in movers}
            for key, of_copy in (("mb_s", "of_copy"), ("cpu_s_gb", "cpu_of_copy")):
                row[of_copy] = lib.median([reeld[key] / plain[key] for reeld, plain in zip(runs["reeld"], runs["copy"])])
            self.results[f"copy/{sink}/{label}"] = row
            print(f"{sink:4s} {label:10s} {row['copy']['mb_s']:9.0f} {row['reeld']['mb_s']:10.0f} {row['of_copy']:8.2f} "
                  f"{row['copy']['cpu_s_gb']:13.2f} {row['reeld']['cpu_s_gb']:14.2f} {row['cpu_of_copy']:8.2f}", flush=True)

    def copy_plain(self, sink, size, count, core, others):
        web = lib.twilio_and_sink(self.fresh("nginx"), lib.free_port(), size, core=others)
        directory = self.fresh("copy")
        try:
            base = f"http://127.0.0.1:{web.port}"
            target = base + "/sink" if sink == "put" else directory
            output = subprocess.run(["taskset", "-c", core, self.options.bench_copy, f"{base}/2010-04-01/audio.wav", f"{lib.ACCOUNT}:{lib.TOKEN}",
                                     str(count), "64", sink, target], check=True, capture_output=True, text=True, timeout=600).stdout
        finally:
            web.stop()
            shutil.rmtree(directory)
        return json.loads(output)

    def copy_reeld(self, sink, size, count, core, others):
        web = lib.twilio_and_sink(self.fresh("nginx"), lib.free_port(), size, core=others)
        directory = self.fresh("reeld")
        base = f"http://127.0.0.1:{web.port}"
        engines = sinks.NginxSink(web, directory).environment() if sink == "put" else {}
        server = None
        try:
            server = lib.reeld_server(self.options.binary, directory, lib.free_port(), core=core, TWILIO_API_BASE=base, UNKNOWN_CALL="archive",
                                      MAX_TRANSFERS="64", **engines)
            requests = self.requests_file("copy", count)
            before, started, stored = server.cpu_seconds(), time.monotonic(), 0
            lib.post_all(server.port, requests, count)
            with sqlite3.connect(f"file:{os.path.join(directory, 'data', 'ledger.db')}?mode=ro", uri=True, timeout=10) as ledger:
                while stored < count and time.monotonic() - started < 600:
                    stored = ledger.execute("SELECT count(*) FROM recordings WHERE status = 'stored'").fetchone()[0]
                    time.sleep(0.02)
            took = time.monotonic() - started
            cpu = server.cpu_seconds() - before
            if sink == "put" and stored == count:
                sinks.check_stored(sinks.NginxSink(web, directory), lib.recording_sids(count), size, web.sha256)
        finally:
            if server:
                server.stop()
            web.stop()
            shutil.rmtree(os.path.join(directory, "data"))
        if stored < count:
            raise RuntimeError(f"only {stored} of {count} recordings were stored")
        return {"mb_s": size * count / took / 1e6, "cpu_s_gb": cpu / (size * count / 1e9)}

    # --- journal into ledger ---
    def forward(self):
        """Events a second that reach the ledger: a burst of webhooks, then until the last row is there. Postgres has a core with the load."""
        rows = {"sqlite": [], "postgres": []}
        for round_number in range(self.options.rounds):
            for name in rows:
                row = self.forward_run(name)
                rows[name].append(row)
                print(f"  round {round_number + 1}, {name:8s} {row['events']} events, {row['events_s']:7.0f}/s over all, {row['drain_s']:7.0f}/s after the burst, "
                      f"reeld's CPU {row['cpu_us']:.1f} us an event", flush=True)
        for name, runs in rows.items():
            self.results[f"forward/{name}"] = {key: lib.median([row[key] for row in runs]) for key in runs[0]}
        ratio = lib.median([pg["drain_s"] / lite["drain_s"] for pg, lite in zip(rows["postgres"], rows["sqlite"])])
        self.results["forward/postgres_of_sqlite"] = ratio
        print(f"  events/s into Postgres: {ratio:.2f} of those into SQLite")

    def forward_run(self, name):
        requests = self.requests_file("keep", min(110000 * (self.options.seconds + 2), 600000))
        postgres = Postgres(self.fresh("postgres"), core=lib.LOAD_CORE) if name == "postgres" else None
        # Nothing is archived: 9 is the discard port, where nobody listens.
        server = self.start_reeld(**({"DATABASE_URL": postgres.url} if postgres else {}))
        ledger_path = os.path.join(self.directory, f"{self.serial:03d}-reeld", "data", "ledger.db")

        def count():
            if postgres:
                return int(postgres.query("SELECT count(*) FROM recordings"))
            with sqlite3.connect(f"file:{ledger_path}?mode=ro", uri=True, timeout=10) as ledger:
                return ledger.execute("SELECT count(*) FROM recordings").fetchone()[0]

        try:
            if postgres:
                postgres.wait_table("recordings")
            before, started = server.cpu_seconds(), time.monotonic()
            wanted = lib.wrk(server.port, requests, 64, self.options.seconds)["requests"]
            burst_end, at_burst_end = time.monotonic(), count()
            done = at_burst_end
            while done < wanted and time.monotonic() - started < 300:
                time.sleep(0.1)
                done = count()
            end = time.monotonic()
            cpu = server.cpu_seconds() - before
        finally:
            server.stop()
            if postgres:
                postgres.stop()
        if done < wanted:
            raise RuntimeError(f"{name}: only {done} of {wanted} events reached the ledger")
        return {"events": done, "events_s": done / (end - started), "drain_s": (done - at_burst_end) / max(end - burst_end, 1e-3), "cpu_us": cpu / done * 1e6}

    # --- the whole job ---
    def pipeline(self):
        """Recordings a second and their cost; all servers but the one measured share the load's core."""
        with lib.on_cores(lib.LOAD_CORE):  # the load and the looking, too, stay off the core that is measured
            for sink in [self.options.sink] if self.options.sink else PIPELINE:
                self.pipeline_into(sink)

    def pipeline_into(self, sink):
        rows = {}
        for size, count in PIPELINE_SMOKE if self.options.smoke else PIPELINE[sink]:
            for round_number in range(self.options.rounds):
                for name in ("reeld",) if self.options.no_node else ("reeld", "node"):
                    row = self.pipeline_run(name, sink, size, count)
                    rows.setdefault((size, name), []).append(row)
                    print(f"  into {sink}, {size // 1000:4d} KB, round {round_number + 1}, {name:5s} {row['recordings_s']:7.0f} recordings/s  "
                          f"CPU {row['cpu_ms']:6.2f} ms  peak RSS {row['rss_mb']:4.0f} MB  sink's CPU {row['sink_cpu_ms']:6.2f} ms", flush=True)
        medians = {case: {key: lib.median([row[key] for row in runs]) for key in runs[0]} for case, runs in rows.items()}
        print(f"\ninto {sink}\n  media server recordings/s  CPU ms  RSS MB  sink CPU ms  other core |  reeld of Node: rate   CPU   RSS")
        for (size, name), row in medians.items():
            self.results[f"pipeline/{sink}/{size}/{name}"] = row
            ratios = ""
            if name == "reeld" and (size, "node") in medians:
                ratios = "{:20.1f} {:5.2f} {:5.2f}".format(*(row[key] / medians[(size, "node")][key] for key in ("recordings_s", "cpu_ms", "rss_mb")))
            print(f"{size // 1000:4d} KB {name:6s} {row['recordings_s']:12.0f} {row['cpu_ms']:7.2f} {row['rss_mb']:7.0f} {row['sink_cpu_ms']:12.2f} "
                  f"{row['other_core']:11.2f} | {ratios}")
        print("CPU is that of one recording. \"other core\" is how busy the core of all servers but the measured one was: near 1 the rate is theirs, and\n"
              "says only that the measured one keeps up; its CPU and its peak RSS are what compares. So it is with Swift, whose servers are Python.\n"
              "nginx's CPU includes serving the media.", flush=True)

    def pipeline_run(self, name, sink_name, size, count):
        directory = self.fresh(name)
        peers = []
        server = None
        try:
            postgres = Postgres(self.fresh("postgres"), core=lib.LOAD_CORE)
            peers.append(postgres)
            redis_port = lib.free_port()
            peers.append(lib.Server("redis", ["redis-server", "--port", str(redis_port), "--save", "", "--bind", "127.0.0.1"], port=redis_port,
                                    cwd=directory, core=lib.LOAD_CORE))
            web = lib.twilio_and_sink(self.fresh("nginx"), lib.free_port(), size)
            peers.append(web)
            sink = sinks.SINKS[sink_name](web, self.fresh("sink"))
            peers.append(sink)
            port = lib.free_port()
            engines = {"DATABASE_URL": postgres.url, "REDIS_URL": f"redis://127.0.0.1:{redis_port}", "TWILIO_ACCOUNT_SID": lib.ACCOUNT,
                       "TWILIO_AUTH_TOKEN": lib.TOKEN, "TWILIO_API_BASE": f"http://127.0.0.1:{web.port}", "PUBLIC_URL": lib.PUBLIC_URL,
                       **sink.environment()}
            if name == "reeld":
                server = lib.reeld_server(self.options.binary, directory, port, UNKNOWN_CALL="archive", **engines)
            else:
                server = lib.Server(name, ["node", "pipeline.js"], env=dict(engines, PORT=str(port), NODE_ENV="production"), port=port,
                                    cwd=self.node_modules(), log=os.path.join(directory, "log"))
            row = self.pipeline_measure(server, postgres, sink, count)
            sinks.check_stored(sink, lib.recording_sids(count), size, web.sha256)
            return row
        finally:
            for each in ([server] if server else []) + peers[::-1]:
                each.stop()

    def pipeline_measure(self, server, postgres, sink, count):
        requests = self.requests_file("pipeline", count)
        postgres.wait_table("recordings")
        def spent():
            return server.cpu_seconds(), sink.cpu_seconds(), lib.core_busy_seconds(lib.LOAD_CORE), time.monotonic()

        before, peak, stored = spent(), 0.0, 0
        lib.post_all(server.port, requests, count)
        progress = time.monotonic()
        while stored < count:
            last, stored = stored, int(postgres.query("SELECT count(*) FROM recordings WHERE status::text = 'stored'"))
            peak = max(peak, server.rss_mb())
            if stored > last:
                progress = time.monotonic()
            elif time.monotonic() - progress > 60:
                raise RuntimeError(f"{server.name}: only {stored} of {count} recordings were stored, none in the last minute\n{server.log_tail()}")
            time.sleep(0.05)
        cpu, sink_cpu, others, took = (after - at_start for after, at_start in zip(spent(), before))
        return {"recordings_s": count / took, "cpu_ms": cpu / count * 1e3, "rss_mb": peak, "sink_cpu_ms": sink_cpu / count * 1e3, "other_core": others / took}


class Postgres:
    """A throwaway cluster on a free loopback port, run by an unprivileged user as Postgres demands."""

    def __init__(self, directory, core=lib.SERVER_CORE):
        self.data = os.path.join(directory, "data")
        self.port = lib.free_port()
        self.psql = None
        versions = sorted(os.listdir("/usr/lib/postgresql"), key=int)
        self.bin = f"/usr/lib/postgresql/{versions[-1]}/bin"
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(directory, self.user)
            for parent in (directory, os.path.dirname(directory)):
                os.chmod(parent, 0o755)
        self.run("initdb", "-D", self.data, "-U", "bench", "--auth=trust", "--no-sync", "-E", "UTF8")
        # Pinned like every server: the core is what is compared. synchronous_commit stays on, or the comparison would be with nothing durable.
        self.process = subprocess.Popen(
            ["taskset", "-c", core, os.path.join(self.bin, "postgres"), "-D", self.data, "-p", str(self.port), "-h", "127.0.0.1",
             "-k", directory], user=self.user, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        self.url = f"postgresql://bench@127.0.0.1:{self.port}/postgres"
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self):
        deadline = time.monotonic() + 30
        while subprocess.run([os.path.join(self.bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise RuntimeError("postgres did not start")
            time.sleep(0.1)

    def run(self, program, *arguments):
        subprocess.run([os.path.join(self.bin, program), *arguments], check=True, user=self.user, stdout=subprocess.DEVNULL, cwd="/")

    def query(self, sql):
        """One line of answer. One psql for all of them: starting one costs more than what it asks."""
        if self.psql is None:
            self.psql = subprocess.Popen(["taskset", "-c", lib.LOAD_CORE, os.path.join(self.bin, "psql"), "-X", "-q", "-A", "-t", "-d", self.url],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.psql.stdin.write(sql + ";\n")
        return self.psql.stdout.readline().strip()

    def wait_table(self, name):
        deadline = time.monotonic() + 30
        while self.query(f"SELECT to_regclass('{name}') IS NOT NULL") != "t":
            if time.monotonic() > deadline:
                raise RuntimeError(f"no table {name}")
            time.sleep(0.1)

    def stop(self):
        if self.psql is not None:
            self.psql.stdin.close()
            self.psql.wait(20)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def working(options):
    """A bench whose directory goes with it."""
    bench = Bench(options)
    try:
        yield bench
    finally:
        shutil.rmtree(bench.directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="all", choices=["all", "ack", "connect", "idle", "sustained", "transfer", "copy", "forward", "pipeline"])
    parser.add_argument("--binary", default=os.environ.get("REELD_BINARY", "build/reeld"))
    parser.add_argument("--node-dir", default=os.path.join("build", "bench-node"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=lambda text: [int(n) for n in text.split(",")], default=[1, 16, 64, 256])
    parser.add_argument("--recordings", type=int, default=1000)
    parser.add_argument("--size", type=int, default=1_000_000, help="bytes of a recording of `copy`")
    parser.add_argument("--bench-copy", default=os.environ.get("BENCH_COPY", os.path.join("build", "tests", "bench", "bench_copy")))
    parser.add_argument("--sink", choices=sorted(PIPELINE), help="pipeline: only into this one")
    parser.add_argument("--smoke", action="store_true", help="pipeline, copy: one round of a few recordings, to see that the bench itself works")
    parser.add_argument("--no-node", action="store_true", help="leave out Node and fastify + Postgres")
    parser.add_argument("--ceiling", metavar="NO_SYNC.SO", help="ack: reeld also on a disk that costs nothing (ninja tests/bench/no_sync.so)")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.recordings = 1, 20
    options.binary = os.path.abspath(options.binary)
    options.node_dir = os.path.abspath(options.node_dir)
    options.bench_copy = os.path.abspath(options.bench_copy)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends as well
    with working(options) as bench:
        names = ["ack", "connect", "idle", "sustained", "transfer", "copy", "forward", "pipeline"] if options.what == "all" else [options.what]
        for name in names:
            print(f"\n== {name}", flush=True)
            getattr(bench, name)()
    if options.json:
        with open(options.json, "w") as out:
            json.dump(bench.results, out, indent=2, sort_keys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
