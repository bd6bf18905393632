# SPDX-License-Identifier: MIT
"""Every durability boundary, one after the other: the process is killed, or the system call fails, at its Nth durability call, for N = 1, 2, … until a
whole run completes without the fault having fired. An oracle outside holds each 2xx as an obligation.

strace counts a fault's `when=N` for each thread by itself, so one N covers the Nth call of the journal's writer, of the SQLite thread and of
each pool thread. The short form (./dev test) takes the first N of each fault and then strides; --long takes every N.
"""
import os
import re
import shutil

import pytest
from reeldlib import DEADLINE, Oracle, wait_until

RECORDINGS = 4
SIZE = 3000
# (what is done, to which calls). fsync and fdatasync guard data, the others make it visible; pwrite64 is the journal and SQLite, write the store.
KILLS = ["fdatasync", "fsync", "pwrite64", "write,pwritev,writev", "rename,renameat,renameat2", "ftruncate", "unlink,unlinkat"]
ERRORS = [("fdatasync", "EIO"), ("fsync", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC"), ("rename,renameat,renameat2", "EIO"),
          ("fdatasync", "ENOSPC"), ("mkdir,mkdirat", "ENOSPC")]
HARD_END = 400


def strides(long_run, short=4):
    """1, 2, 3, … in the long form; the short one thins out after the first few, where start-up ends and work begins."""
    n = 0
    while n < HARD_END:
        n += 1 if long_run or n < short else max(1, n // 2)
        yield n


def tracer(trace_file, calls, fault, n):
    # -D: the daemon stays our own child, so that signals reach it. No --seccomp-bpf: with it strace 6.1 does not
    # count `when`.
    return ["strace", "-D", "-f", "-qq", "-o", trace_file, "-e", "trace=" + calls, "-e", f"inject={calls}:{fault}:when={n}"]


def fired(trace_file):
    if not os.path.exists(trace_file):
        return False
    with open(trace_file, errors="replace") as trace:
        text = trace.read()
    return "(INJECTED)" in text or re.search(r"killed by SIGKILL", text) is not None


def run_once(tmp_path, name, sandbox, make_daemon, calls, fault, n):
    """One life under the fault, one without it. True when the fault fired."""
    directory = tmp_path / name
    directory.mkdir()
    trace_file = str(directory / "trace")
    daemon = make_daemon(sandbox, directory=directory, SHUTDOWN_GRACE="5s", MAX_TRANSFERS="4")
    oracle = Oracle(daemon, sandbox)
    daemon.spawn(tracer(trace_file, calls, fault, n))
    wait_until(lambda: daemon.ready() or not daemon.running, lambda: f"ready under {fault} {n}:\n" + daemon.process.output())
    for sid in oracle.recordings:
        if not daemon.running:
            break
        oracle.post(sid)
    if daemon.running:
        # Let it come to rest, or to its end.
        wait_until(lambda: not daemon.running or not oracle.pending(), lambda: f"under {fault} at {calls} {n}: {oracle.pending()}\n" +
                   daemon.process.output()[-4000:])
    if daemon.running:
        daemon.stop()
    daemon.kill()
    # The second life must meet what the first one promised, with everything Twilio repeats on top.
    daemon.start()
    for sid in oracle.recordings:
        oracle.post(sid)
    oracle.settle(DEADLINE)
    oracle.check()
    assert daemon.stop() == 0, daemon.process.output()
    hit = fired(trace_file)
    shutil.rmtree(directory)
    return hit


def enumerate_fault(tmp_path, sandbox, make_daemon, calls, fault, long_run):
    peer = sandbox(count=RECORDINGS, size=SIZE)
    tried, misses = 0, 0
    for n in strides(long_run):
        hit = run_once(tmp_path, f"n{n}", peer, make_daemon, calls, fault, n)
        tried += 1
        if not hit:
            misses += 1
            break
    assert misses == 1, f"{fault} at {calls}: still firing at N={n} after {tried} runs; raise HARD_END"
    assert tried > 1, f"{fault} at {calls} never fired: the fault does not reach what it should test"


@pytest.mark.parametrize("calls", KILLS)
def test_kill_at_every(calls, tmp_path, sandbox, daemon, long_run):
    enumerate_fault(tmp_path, sandbox, daemon, calls, "signal=SIGKILL", long_run)


@pytest.mark.parametrize("calls,error", ERRORS)
def test_error_at_every(calls, error, tmp_path, sandbox, daemon, long_run):
    enumerate_fault(tmp_path, sandbox, daemon, calls, "error=" + error, long_run)
