# SPDX-License-Identifier: MIT
"""A Redis of its own from Debian's package. REELD_TEST_REDIS_URL names it, REELD_TEST_REDIS_SOCKET its unix socket."""
import os
import subprocess

from .common import Server


class Redis(Server):
    name = "redis"

    def __init__(self, directory, *options):
        super().__init__(directory)
        self.options = list(options)
        self.socket = os.path.join(self.directory, "redis.sock")

    def argv(self):
        return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket, "--dir", self.directory,
                "--save", "", "--appendonly", "no", "--daemonize", "no", *self.options]

    def cli(self, *words):
        return subprocess.run(["redis-cli", "-p", str(self.port), *words], check=True, capture_output=True, text=True).stdout.strip()

    def url(self, rest=""):
        return f"redis://127.0.0.1:{self.port}{rest}"

    def environment(self):
        return {"REELD_TEST_REDIS_URL": self.url(), "REELD_TEST_REDIS_SOCKET": self.socket}
