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
from reeldlib import DEADLINE, Calls, Oracle, long_form, wait_until

RECORDINGS = 4
SIZE = 3000
# (what is done, to which calls). fsync and fdatasync guard data, the others make it visible; pwrite64 is the journal and SQLite, write the store.
KILLS = ["fdatasync", "fsync", "pwrite64", "write,pwritev,writev", "rename,renameat,renameat2", "ftruncate", "unlink,unlinkat"]
ERRORS = [("fdatasync", "EIO"), ("fsync", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC"), ("rename,renameat,renameat2", "EIO"),
          ("fdatasync", "ENOSPC"), ("mkdir,mkdirat", "ENOSPC")]
HARD_END = 400


def strides(long_run, short=4, thin=2):
    """1, 2, 3, … in the long form; the short one thins out after the first few, where start-up ends and work begins."""
    n = 0
    while n < HARD_END:
        n += 1 if long_run or n < short else max(1, n // thin)
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


def run_once(directory, daemon, oracle, calls, fault, n):
    """One life under the fault, one without it. True when the fault fired."""
    trace_file = str(directory / "trace")
    daemon.spawn(tracer(trace_file, calls, fault, n))
    wait_until(lambda: daemon.ready() or not daemon.running, lambda: f"ready under {fault} {n}:\n" + daemon.process.output())
    for post in oracle.posts():
        if not daemon.running:
            break
        post()
    if daemon.running:
        # Let it come to rest, or to its end.
        wait_until(lambda: not daemon.running or not oracle.pending(), lambda: f"under {fault} at {calls} {n}: {oracle.pending()}\n" +
                   daemon.process.output()[-4000:])
    if daemon.running:
        daemon.stop()
    daemon.kill()
    # The second life must meet what the first one promised, first with nobody's help, then with everything Twilio repeats on top.
    daemon.start()
    oracle.settle(DEADLINE)
    for post in oracle.posts():
        post()
    oracle.settle(DEADLINE)
    oracle.check()
    assert daemon.stop() == 0, daemon.process.output()
    return fired(trace_file)


def enumerate_fault(tmp_path, make_oracle, calls, fault, numbers):
    tried, misses = 0, 0
    for n in numbers:
        directory = tmp_path / f"n{n}"
        directory.mkdir()
        oracle = make_oracle(directory)
        hit = run_once(directory, oracle.daemon, oracle, calls, fault, n)
        shutil.rmtree(directory)
        tried += 1
        if not hit:
            misses += 1
            break
    assert misses == 1, f"{fault} at {calls}: still firing at N={n} after {tried} runs; raise HARD_END"
    assert tried > 1, f"{fault} at {calls} never fired: the fault does not reach what it should test"


@pytest.fixture
def recordings(sandbox, daemon):
    """What makes the oracle of some recordings, and a daemon for it in a directory."""
    peer = sandbox(count=RECORDINGS, size=SIZE)
    return lambda directory: Oracle(daemon(peer, directory=directory, SHUTDOWN_GRACE="5s", MAX_TRANSFERS="4"), peer)


@pytest.mark.parametrize("calls", KILLS)
def test_kill_at_every(calls, tmp_path, recordings, long_run):
    enumerate_fault(tmp_path, recordings, calls, "signal=SIGKILL", strides(long_run))


@pytest.mark.parametrize("calls,error", ERRORS)
def test_error_at_every(calls, error, tmp_path, recordings, long_run):
    enumerate_fault(tmp_path, recordings, calls, "error=" + error, strides(long_run))


# ---- Calls ----

# From, to, duration, and the words in the order in which they come: out of order, twice, and each end.
STORIES = {
    "CA" + 31 * "0" + "1": ("+15005550001", "+15005550006", 61, ("ringing", "in-progress", "completed")),
    "CA" + 31 * "0" + "2": ("client:earl", "+15005550006", 7, ("completed", "ringing", "in-progress", "completed")),
    "CA" + 31 * "0" + "3": ("+15005550003", "sip:desk@example.com", 0, ("initiated", "busy", "initiated")),
    "CA" + 31 * "0" + "4": ("anonymous", "+15005550006", 0, ("ringing", "canceled")),
}
CALL_FAULTS = [("fdatasync", "signal=SIGKILL"), ("pwrite64", "signal=SIGKILL"), ("fdatasync", "error=EIO")]
MORE_CALL_FAULTS = [("fsync", "signal=SIGKILL"), ("ftruncate", "signal=SIGKILL"), ("write,pwritev,writev", "signal=SIGKILL"),
                    ("rename,renameat,renameat2", "signal=SIGKILL"), ("unlink,unlinkat", "signal=SIGKILL"), ("fsync", "error=EIO"), ("pwrite64", "error=EIO"),
                    ("pwrite64", "error=ENOSPC"), ("fdatasync", "error=ENOSPC"), ("rename,renameat,renameat2", "error=EIO")]


def pytest_generate_tests(metafunc):
    if "call_fault" in metafunc.fixturenames:
        faults = CALL_FAULTS + (MORE_CALL_FAULTS if long_form(metafunc.config) else [])
        metafunc.parametrize("call_fault", faults, ids=[f"{fault}-at-{calls}" for calls, fault in faults])


def test_of_calls_at_every(call_fault, tmp_path, daemon, long_run):
    def oracle(directory):
        return Calls(daemon(directory=directory, SHUTDOWN_GRACE="5s"), STORIES)
    enumerate_fault(tmp_path, oracle, *call_fault, strides(long_run, short=1, thin=1))
