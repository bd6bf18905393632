# SPDX-License-Identifier: MIT
import contextlib
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "system"))
import enginelib  # noqa: E402
import reeldlib  # noqa: E402

# For pytest-xdist. The longest files first, so that no worker is left alone with one; LONE: its tests share nothing, so they need not stay together.
FIRST = ("test_j_outages.py", "test_p_cases.py", "test_p_postgres.py", "test_m_reconcile.py", "test_enumeration.py")
LONE = ("test_enumeration.py",)


@pytest.fixture
def started():
    """Registers processes so that each is ended, by pid, whatever the test does."""
    things = []

    def register(thing):
        things.append(thing)
        return thing

    yield register
    for thing in reversed(things):
        process = thing.process if isinstance(thing, reeldlib.Daemon) else thing
        if process is not None:
            process.kill()


@pytest.fixture
def sandbox(tmp_path, started):
    def start(**options):
        return started(reeldlib.Sandbox(str(tmp_path), **options))
    return start


@pytest.fixture
def peers():
    """Scripted servers in place of Twilio."""
    with contextlib.ExitStack() as stack:
        def start(answer):
            peer = reeldlib.Peer(answer)
            stack.callback(peer.close)
            return peer
        yield start


@pytest.fixture
def daemon(tmp_path, started):
    def make(sandbox=None, **env):
        directory = env.pop("directory", tmp_path)
        return started(reeldlib.Daemon(directory, sandbox.url if sandbox is not None else "http://127.0.0.1:9", **env))
    return make


@pytest.fixture(scope="session")
def engines():
    """Postgres, Redis and Swift for all tests that leave them alone."""
    with enginelib.engines_running() as servers:
        yield servers


@pytest.fixture
def space(engines):
    """A database, a Redis prefix and a bucket of the test's own."""
    return engines.space()


@pytest.fixture
def replica(tmp_path, started):
    """A daemon on a space; replicas of one space differ in their name."""
    def make(space, sandbox=None, name="reeld", **env):
        url = sandbox.url if sandbox is not None else "http://127.0.0.1:9"
        return started(enginelib.EngineDaemon(str(tmp_path / name), url, space, **env))
    return make


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The tests of a file share what is set up for it: they stay together on one worker."""
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))
    for item in items:
        if item.path.name not in LONE:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="every N of every fault, more random kills")


@pytest.fixture
def long_run(request):
    return reeldlib.long_form(request.config)
