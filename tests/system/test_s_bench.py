# SPDX-License-Identifier: MIT
"""The benchmarks still run, and do not take a side's word for what it stored. What they measure is for people on a quiet machine."""
import hashlib
import json
import os
import subprocess
import sys
import types

import pytest
from reeldlib import BINARY, DEADLINE

BENCH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench")
sys.path.insert(0, BENCH)
import bench  # noqa: E402
import benchlib  # noqa: E402
import sinks  # noqa: E402

MEDIA = b"RIFF and so on"
SIDS = benchlib.recording_sids(3)


def test_the_pipeline_bench_runs_and_tells_its_figures(tmp_path):
    figures = tmp_path / "figures.json"
    process = subprocess.Popen([sys.executable, "-B", os.path.join(BENCH, "bench.py"), "pipeline", "--smoke", "--no-node", "--sink", "nginx", "--binary",
                                BINARY, "--json", str(figures)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output = process.communicate(timeout=2 * DEADLINE)[0]
    finally:
        process.terminate()  # it ends what it started
        process.wait()
    assert process.returncode == 0, output
    row = json.loads(figures.read_text())["pipeline/nginx/100000/reeld"]
    assert all(row[name] > 0 for name in ("recordings_s", "cpu_ms", "rss_mb", "sink_cpu_ms")), row
    assert f"100 KB reeld  {row['recordings_s']:12.0f}" in output


class Idle:
    """In place of a server: it does nothing."""
    url = ""

    def __init__(self, *_args, **_env):
        pass

    def stop(self):
        pass


def test_a_run_of_the_pipeline_in_which_nothing_was_stored_fails(monkeypatch):
    monkeypatch.setattr(bench, "Postgres", Idle)
    monkeypatch.setattr(benchlib, "reeld_server", Idle)
    monkeypatch.setattr(bench.Bench, "pipeline_measure", lambda *_: {"recordings_s": 1e6})
    with bench.working(types.SimpleNamespace(binary=BINARY)) as idle, pytest.raises(RuntimeError, match="3 of 3 recordings are not there"):
        idle.pipeline_run("reeld", "nginx", 1000, 3)


class Sink:
    name = "sink"

    def __init__(self, objects):
        self.held = objects

    def objects(self):
        return {key: len(data) for key, data in self.held.items()}

    def read(self, key):
        return self.held[key]


def check(objects):
    sinks.check_stored(Sink(objects), SIDS, len(MEDIA), hashlib.sha256(MEDIA).hexdigest())


def test_the_bench_accepts_a_sink_that_holds_each_recording_once():
    check({f"a/b/{sid}.wav": MEDIA for sid in SIDS})


@pytest.mark.parametrize("change, complaint", [
    ({SIDS[0]: None}, f"1 of 3 recordings are not there, among them {SIDS[0]}"),
    ({"RE" + "0" * 32: MEDIA}, "4 objects for 3 recordings"),
    ({SIDS[1]: MEDIA[:-1]}, f"{SIDS[1]}.wav has {len(MEDIA) - 1} bytes, not {len(MEDIA)}"),
    ({SIDS[2]: MEDIA[:-1] + b"?"}, f"{SIDS[2]}.wav does not have the recording's bytes"),
], ids=["one missing", "one too many", "one cut short", "one with other bytes"])
def test_the_bench_fails_when_a_sink_does_not_hold_what_was_stored(change, complaint):
    objects = {**dict.fromkeys(SIDS, MEDIA), **change}
    with pytest.raises(RuntimeError, match=complaint):
        check({f"{sid}.wav": data for sid, data in objects.items() if data is not None})
