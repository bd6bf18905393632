#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""run.py SERVER... -- COMMAND ARGUMENT...: runs the command beside fresh real servers, told where they are by the environment, and
ends with its exit status. For test programs that need a server: meson runs them through this."""
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main(argv):
    split = argv.index("--")
    names, command = argv[:split], argv[split + 1:]
    directory = tempfile.mkdtemp(prefix="reeld-servers-")
    running = []
    # meson's timeout ends us with SIGTERM: the servers go first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for name in names:
            server = getattr(importlib.import_module(f"servers.{name}"), name.capitalize())(directory)
            running.append(server)
            server.start()
            os.environ.update(server.environment())  # also for the servers after it
        return subprocess.run(command, check=False).returncode
    finally:
        for server in reversed(running):
            server.kill()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
