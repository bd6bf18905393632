# SPDX-License-Identifier: MIT
import contextlib
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "system"))
import enginelib  # noqa: E402
import reeldlib  # noqa: E402


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


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="every N of every fault, more random kills")


@pytest.fixture
def long_run(request):
    return request.config.getoption("--long") or bool(os.environ.get("REELD_LONG"))
