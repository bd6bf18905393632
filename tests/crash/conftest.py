# SPDX-License-Identifier: MIT
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from conftest import daemon, sandbox, started  # noqa: E402,F401


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="every N of every fault, more random kills")


@pytest.fixture
def long_run(request):
    return request.config.getoption("--long")
