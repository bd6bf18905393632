# SPDX-License-Identifier: MIT
"""Builds and runs containers without a registry: Debian's own packages make the base image. Everything lies in one directory that is removed at the
end, so neither images nor containers of this machine are seen, touched or left behind."""
import fcntl
import glob
import json
import os
import re
import shutil
import subprocess
import tempfile

from reeldlib import ACCOUNT, TOKEN, Daemon, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BASE = "localhost/debian:bookworm-slim"
PREFIX = "/var/tmp/reeld-container-"
# For work on these tests: a directory that is kept, with the layers in it.
KEPT = os.environ.get("REELD_CONTAINER_STORAGE")
BUILD_SECONDS = 1800
# What docs/deployment.md and compose.yaml ask for. The host's network: a program binds loopback by itself, and no bridge has to be made.
HARDENED = ["--network=host", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"]

# runc and cgroupfs run where there is no systemd; lock_type and the directories keep away from other users of podman on this machine. static_dir must
# be what podman derives from graphroot: the process that cleans up after a container is told only that.
CONTAINERS_CONF = """
[containers]
default_ulimits = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
static_dir = "{0}/storage/libpod"
tmp_dir = "{0}/tmp"
volume_path = "{0}/volumes"
"""
STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "{0}/storage"
runroot = "{0}/run"
"""


class Podman:
    def __init__(self, directory=KEPT):
        if directory is not None:
            os.makedirs(directory, exist_ok=True)
        self.directory = directory or tempfile.mkdtemp(prefix=PREFIX)
        # Held while we live, so that another run knows what a dead one left.
        self.lock = open(os.path.join(self.directory, "lock"), "w", encoding="ascii")
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.env = dict(os.environ, CONTAINERS_CONF=self._write("containers.conf", CONTAINERS_CONF), BUILDAH_ISOLATION="chroot",
                        CONTAINERS_STORAGE_CONF=self._write("storage.conf", STORAGE_CONF))

    def _write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text.format(self.directory))
        return path

    def run(self, *arguments, check=True, seconds=120):
        result = subprocess.run(["podman", *arguments], env=self.env, capture_output=True, text=True, errors="replace", timeout=seconds,
                                stdin=subprocess.DEVNULL, check=False)
        output = result.stdout[-4000:] + result.stderr[-4000:]
        assert result.returncode == 0 or not check, f"podman {' '.join(arguments)}: {result.returncode}\n{output}"
        return result

    def inspect(self, kind, name):
        return json.loads(self.run("inspect", "--type", kind, name).stdout)[0]

    def import_base(self):
        """Debian 12 without documentation, as the slim image of the registry is."""
        if self.run("image", "exists", BASE, check=False).returncode == 0:
            return
        tar = os.path.join(self.directory, "base.tar")
        without = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", *without, "bookworm", tar], check=True, timeout=BUILD_SECONDS,
                       stdin=subprocess.DEVNULL)
        self.run("import", tar, BASE)
        os.unlink(tar)

    def build(self, tag, context=ROOT, **arguments):
        """The Containerfile as a user would build it, but for the base image."""
        options = [f"--build-arg={name}={value}" for name, value in {"BASE": BASE, **arguments}.items()]
        self.run("build", "--format=docker", "--pull=never", "--network=host", "--layers", *options, "-t", tag, context, seconds=BUILD_SECONDS)

    def build_version(self, tag, version):
        """The same source under another version number: another binary, as an upgrade has it."""
        context = os.path.join(self.directory, "source")
        shutil.rmtree(context, ignore_errors=True)
        os.mkdir(context)
        for name in ("Containerfile", ".containerignore", "meson.build", "meson_options.txt"):
            shutil.copy2(os.path.join(ROOT, name), context)
        for name in ("subprojects", "migrations", "include", "src"):
            shutil.copytree(os.path.join(ROOT, name), os.path.join(context, name))
        path = os.path.join(context, "meson.build")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(re.sub(r"version: '[^']+'", f"version: '{version}'", text, count=1))
        self.build(tag, context, VERSION=version)

    def close(self):
        self.run("rm", "--all", "--force", "--time=0", "--volumes", check=False)
        self.run("volume", "prune", "--force", check=False)
        if self.directory == KEPT:
            self.lock.close()
            return
        subprocess.run(["umount", os.path.join(self.directory, "storage", "overlay")], capture_output=True, check=False)
        shutil.rmtree(self.directory)
        self.lock.close()


def remove_leftovers():
    """What runs that were killed could not remove."""
    for directory in glob.glob(PREFIX + "*"):
        try:
            Podman(directory).close()
        except BlockingIOError:
            pass  # somebody is at work in it


class Container:
    """One container, with the face of reeldlib.Process."""

    def __init__(self, podman, name):
        self.podman, self.name = podman, name

    @property
    def state(self):
        return self.podman.inspect("container", self.name)["State"]

    @property
    def running(self):
        return self.state["Running"]

    def output(self):
        result = self.podman.run("logs", self.name, check=False)
        return result.stdout + result.stderr

    def kill(self):
        """SIGKILL for process 1 of the container, and nothing left of it but its volume."""
        self.podman.run("kill", "--signal=KILL", self.name, check=False)
        self.podman.run("rm", "--force", "--time=0", self.name, check=False)


class ContainerDaemon(Daemon):
    """`reeld serve` in a container, over any number of starts and images, on one volume."""

    def __init__(self, podman, name, directory, image, twilio_url, options=(), **env):
        super().__init__(directory, twilio_url, **env)
        self.podman, self.name, self.image, self.options = podman, name, image, options
        del self.env["PATH"], self.env["DATA_DIR"]  # the image knows them
        podman.run("volume", "create", name)
        self.data = podman.inspect("volume", name)["Mountpoint"]

    def spawn(self, prefix=()):
        env = [f"--env={name}={value}" for name, value in self.env.items()]
        self.podman.run("run", "--detach", f"--name={self.name}", f"--volume={self.name}:/var/lib/reeld", *HARDENED, *self.options, *env, self.image)
        self.process = Container(self.podman, self.name)
        return self

    def start(self, prefix=()):
        self.spawn()
        wait_until(lambda: self.ready() or not self.process.running, lambda: "ready:\n" + self.process.output())
        assert self.process.running, "reeld ended at once:\n" + self.process.output()
        return self

    def stop(self):
        """The image's stop signal, and SIGKILL if that is not heeded; returns the exit status."""
        self.podman.run("stop", "--time=45", self.name)
        status = self.process.state["ExitCode"]
        self.podman.run("rm", self.name)
        return status

    def command(self, *arguments, env=None, seconds=60):
        """Another reeld command, inside the running container."""
        changes = [f"--env={name}={value}" for name, value in (env or {}).items()]
        return self.podman.run("exec", *changes, self.name, "reeld", *arguments, check=False, seconds=seconds)


def settings(twilio_url="http://127.0.0.1:9"):
    """Enough to start, as options of `podman run`."""
    env = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_API_BASE": twilio_url, "LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": "off"}
    return [f"--env={name}={value}" for name, value in env.items()]
