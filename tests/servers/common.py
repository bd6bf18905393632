# SPDX-License-Identifier: MIT
"""What the real servers under test share: free loopback ports, waiting, ending one's own processes by pid."""
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time


# Tests run in several processes: each locks the byte of a port that is its own, until it ends.
reserved = open(os.path.join(tempfile.gettempdir(), f"reeld-test-ports-{os.getuid()}"), "ab")
taken = set()


def reserve(port):
    try:
        fcntl.lockf(reserved, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def free_port(count=1):
    """The first of `count` neighbours that nobody else gets from here, also while nothing listens on them. Below the range from which outgoing
    connections take theirs (32768 on): one of those could have it by the time a server listens."""
    while True:
        ports = range(start := random.randrange(15000, 32000), start + count)
        if taken.isdisjoint(ports) and all(reserve(port) for port in ports):
            taken.update(ports)
            return start


def wait_until(condition, what, seconds=60, every=0.05):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds} s: {what}")
        time.sleep(every)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Server:
    """One real server in `directory` on a free loopback port. A subclass sets name and argv() and may override prepare(), ready()
    and environment(). It can be killed, stopped and started again on the same port and data: outages are tested that way."""

    name = ""

    def __init__(self, directory):
        self.directory = os.path.join(directory, self.name)
        os.makedirs(self.directory, exist_ok=True)
        self.port = free_port()
        self.child = None
        self.prepared = False

    def prepare(self):
        """Once, before the first start."""

    def argv(self):
        raise NotImplementedError

    def user(self):
        return None

    def ready(self):
        return listens(self.port)

    def environment(self):
        """Variables that tell a test where it is."""
        return {}

    def start(self):
        if not self.prepared:
            self.prepare()
            self.prepared = True
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.child = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, user=self.user(),
                                          start_new_session=True)
        try:
            wait_until(lambda: self.alive() and self.ready(), f"{self.name} answers on port {self.port}")
        except RuntimeError as error:
            self.kill()
            raise RuntimeError(f"{error}\n{self.log_tail()}") from None
        return self

    def alive(self):
        if self.child.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.child.returncode}\n{self.log_tail()}")
        return True

    def log_tail(self):
        with open(os.path.join(self.directory, "log"), errors="replace") as log:
            return log.read()[-2000:]

    def stop(self, number=signal.SIGTERM):
        if self.child is None:
            return
        if self.child.poll() is None:
            self.child.send_signal(number)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self):
        """At once, with everything it started."""
        if self.child is None:
            return
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
        self.child = None

    def pause(self):
        """Hangs: connections are accepted by the kernel, nothing answers."""
        os.killpg(self.child.pid, signal.SIGSTOP)

    def resume(self):
        os.killpg(self.child.pid, signal.SIGCONT)


def start_all(servers):
    """At the same time, for most of it is waiting. The first failure is raised when all have tried."""
    failures = []

    def start(server):
        try:
            server.start()
        except (RuntimeError, OSError) as error:
            failures.append(error)
    threads = [threading.Thread(target=start, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
