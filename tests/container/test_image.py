# SPDX-License-Identifier: MIT
"""The container image: built from the Containerfile, run with everything taken away that it can do without, killed, upgraded and rolled back on its
volume. Needs root, podman and mmdebstrap (`./dev container` installs them), and Debian's package mirror; no registry."""
import os
import random
import re
import signal
import stat
import subprocess
import threading
import time

import podmanlib
import pytest
from podmanlib import BASE, HARDENED, ContainerDaemon, Podman, settings
from reeldlib import Oracle, wait_until

FIRST, NEXT = "localhost/reeld:first", "localhost/reeld:next"
NEXT_VERSION = "99.0.0-test"
USER = 65532
SIZE_LIMIT = 40_000_000  # what we add to the base image


@pytest.fixture(scope="module")
def podman():
    if os.geteuid() != 0:
        pytest.fail("the container tests need root, for mmdebstrap and to look into volumes")
    podmanlib.remove_leftovers()
    it = Podman()
    try:
        it.import_base()
        it.build(FIRST, SOURCE="https://example.com/reeld")
        it.build_version(NEXT, NEXT_VERSION)
        yield it
    finally:
        it.close()


@pytest.fixture
def service(podman, tmp_path, started, request):
    def make(sandbox, image=FIRST, **env):
        name = re.sub(r"\W", "-", request.node.name)
        return started(ContainerDaemon(podman, name, tmp_path, image, sandbox.url, **env))
    return make


def project_version():
    with open(os.path.join(podmanlib.ROOT, "meson.build"), encoding="utf-8") as file:
        return re.search(r"version: '([^']+)'", file.read()).group(1)


def installed_packages():
    """What the last stage of the Containerfile installs."""
    with open(os.path.join(podmanlib.ROOT, "Containerfile"), encoding="utf-8") as file:
        return file.read().rsplit("--no-install-recommends", 1)[1].split("&&")[0].replace("\\", " ").split()


def in_image(podman, script, *options, image=FIRST):
    return podman.run("run", "--rm", *HARDENED, *options, "--entrypoint=sh", image, "-c", script)


def test_what_the_image_says_of_itself(podman):
    config = podman.inspect("image", FIRST)["Config"]
    assert config["User"] == f"{USER}:{USER}"
    assert (config["Entrypoint"], config["Cmd"]) == (["reeld"], ["serve"])
    assert set(config["ExposedPorts"]) == {"8080/tcp", "9464/tcp"} and list(config["Volumes"]) == ["/var/lib/reeld"]
    assert config["StopSignal"] == "SIGTERM"
    assert "DATA_DIR=/var/lib/reeld" in config["Env"]
    assert not [entry for entry in config["Env"] if re.match("ADMIN_|LISTEN|VALIDATE|TWILIO", entry)], "the image opens or loosens something"
    assert podman.inspect("image", FIRST)["Healthcheck"]["Test"] == ["CMD", "reeld", "healthcheck"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["title"] == "reeld" and labels["licenses"] == "MIT" and labels["description"]
    assert labels["version"] == project_version() and labels["source"] == "https://example.com/reeld"
    assert podman.inspect("image", NEXT)["Config"]["Labels"]["org.opencontainers.image.version"] == NEXT_VERSION
    assert podman.run("run", "--rm", *HARDENED, NEXT, "--version").stdout == f"reeld {NEXT_VERSION}\n"
    assert podman.run("run", "--rm", *HARDENED, FIRST, "--version").stdout == f"reeld {project_version()}\n"


def test_the_image_is_small_and_has_nothing_left_of_the_build(podman):
    added = podman.inspect("image", FIRST)["Size"] - podman.inspect("image", BASE)["Size"]
    print("bytes above the base image:", added)
    assert added < SIZE_LIMIT
    left = in_image(podman, "ls -d /src /build /out /usr/include/uv.h /var/lib/apt/lists/*Packages* 2>/dev/null; "
                            "command -v gcc meson ninja python3 node; find / -xdev -type f -perm /6000 2>/dev/null; true").stdout
    assert left == "", f"left in the image: {left}"


def test_every_library_is_there_and_every_package_was_asked_for(podman):
    """The Containerfile lists by package what the binary needs. Direct needs only: what those need themselves is apt's business."""
    binary = os.path.join(podman.directory, "reeld")
    with open(binary, "wb") as file:
        subprocess.run(["podman", "run", "--rm", *HARDENED, "--entrypoint=cat", FIRST, "/usr/bin/reeld"], env=podman.env, stdout=file, check=True)
    dynamic = subprocess.run(["objdump", "-p", binary], capture_output=True, text=True, check=True).stdout
    libraries = re.findall(r"NEEDED\s+(\S+)", dynamic)
    assert "libuv.so.1" in libraries and "libcurl.so.4" in libraries
    script = "ldd /usr/bin/reeld | grep 'not found'; " + "; ".join(f"dpkg -S '*/{name}'" for name in libraries)
    answer = in_image(podman, script).stdout
    assert "not found" not in answer
    needed = set(re.findall(r"^(\S+?):\S+: ", answer, re.M)) - {"libc6"}
    listed = set(installed_packages())
    assert needed and needed <= listed, f"needed, but not asked for: {needed - listed}"


def test_the_demo_runs_with_everything_taken_away(podman):
    """Daemon and simulated Twilio in one container, with nothing writable but its own temporary directory."""
    demo = podman.run("run", "--rm", *HARDENED, "--tmpfs=/tmp", FIRST, "demo", "--count", "3")
    assert "3 recordings archived and verified" in demo.stdout, demo


def test_a_volume_that_is_not_ours_is_one_clear_line(podman, tmp_path):
    result = podman.run("run", "--rm", *HARDENED, f"--volume={tmp_path}:/var/lib/reeld", *settings(), FIRST, check=False)
    lines = [line for line in result.stderr.splitlines() if line.startswith("reeld:")]
    assert result.returncode == 1 and len(lines) == 1 and "/var/lib/reeld" in lines[0], result


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def test_no_root_no_capabilities_no_writable_root(sandbox, service):
    reeld = service(sandbox(count=3)).start()
    oracle = Oracle(reeld, sandbox(count=3))
    for sid in oracle.recordings:
        assert oracle.post(sid).status == 200
    oracle.settle()
    oracle.check()
    status = status_of(reeld.process.state["Pid"])
    assert status["Uid"].split() == status["Gid"].split() == [str(USER)] * 4
    assert {int(status[name], 16) for name in status if name.startswith("Cap")} == {0}
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
    for path in ("/x", "/tmp/x", "/usr/bin/x", "/etc/x", "/var/lib/x"):
        touched = reeld.podman.run("exec", reeld.name, "touch", path, check=False)
        assert touched.returncode != 0, f"{path} is writable"
    for path, folders, files in os.walk(reeld.data):
        for name in [".", *folders, *files]:
            info = os.lstat(os.path.join(path, name))
            assert (info.st_uid, info.st_gid) == (USER, USER), name
    assert stat.S_IMODE(os.stat(reeld.data).st_mode) == 0o700, "others may read recordings"
    assert reeld.command("check").returncode == 0
    assert reeld.stop() == 0


def test_the_health_check_notices_a_hang_and_the_end_of_it(sandbox, service):
    reeld = service(sandbox(count=1)).start()

    def healthy():
        return reeld.podman.run("healthcheck", "run", reeld.name, check=False).returncode == 0
    assert healthy()
    pid = reeld.process.state["Pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert not healthy()
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(healthy, "healthy again")
    assert reeld.stop() == 0


def test_killed_upgraded_and_rolled_back_on_its_volume_with_nothing_lost(podman, sandbox, service):
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    count = 400
    peer = sandbox(count=count, size=20000, fault="404-first,500,truncate,reset:0.05")
    reeld = service(peer, MAX_ATTEMPTS="50").start()
    oracle = Oracle(reeld, peer)
    todo = list(oracle.recordings) * 2  # every callback twice
    dice.shuffle(todo)
    lock, stop = threading.Lock(), threading.Event()

    def sender():
        while not stop.is_set():
            with lock:
                sid = todo.pop() if todo else None
            if sid is None:
                return
            reply = oracle.post(sid)
            if reply is None or reply.status >= 500:
                with lock:
                    todo.append(sid)  # Twilio's retry
            stop.wait(0.02)

    senders = [threading.Thread(target=sender) for _ in range(3)]
    for thread in senders:
        thread.start()
    versions = []
    try:
        # kill -9 in the middle; the next start may be another version: upgrade, rollback, upgrade.
        for image in (NEXT, FIRST, NEXT):
            acknowledged = len(oracle.acknowledged)
            wait_until(lambda least=acknowledged + 20: len(oracle.acknowledged) >= least or not todo, "callbacks to be acknowledged")
            time.sleep(dice.uniform(0, 0.2))  # anywhere in the work, on purpose
            reeld.kill()
            reeld.image = image
            reeld.start()
            versions.append(podman.inspect("container", reeld.name)["Config"]["Labels"]["org.opencontainers.image.version"])
        # and once as an orchestrator would do it
        assert reeld.stop() == 0
        reeld.start()
        for thread in senders:
            thread.join(120)
    finally:
        stop.set()
    assert versions == [NEXT_VERSION, project_version(), NEXT_VERSION]
    assert oracle.acknowledged == set(oracle.recordings)
    oracle.settle(120)
    oracle.check()
    assert reeld.stop() == 0
    assert not reeld.leftovers()
