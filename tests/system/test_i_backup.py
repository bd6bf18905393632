# SPDX-License-Identifier: MIT
"""The procedures of docs/deployment.md, run as they stand there."""
import os
import re
import shutil
import sqlite3
import subprocess
import threading
from pathlib import Path

from reeldlib import Oracle, wait_until

DOCS = Path(__file__).parents[2] / "docs" / "deployment.md"


def procedure(name, **env):
    """Runs a marked block of the page."""
    script = re.search(rf"<!-- test: {name} -->\n```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S).group(1)
    subprocess.run(["sh", "-c", script], env={"PATH": os.environ["PATH"], **env}, check=True, timeout=60, stdin=subprocess.DEVNULL)


def restored(reeld, backup):
    """The machine burns down; the backup is all there is."""
    reeld.kill()
    shutil.rmtree(reeld.data)
    procedure("restore", DATA_DIR=reeld.data, BACKUP=backup)
    return reeld.start()


def test_a_backup_under_load_has_every_event_acknowledged_before(sandbox, daemon, tmp_path):
    peer = sandbox(count=200)
    reeld = daemon(peer).start()
    oracle = Oracle(reeld, peer)
    todo = list(oracle.recordings)
    first, during = todo[:100], todo[100:]
    stop = threading.Event()

    def sender():
        while during and not stop.is_set():
            oracle.post(during.pop())

    for sid in first:
        assert oracle.post(sid).status == 200
    wait_until(reeld.files, "some to be archived")
    before = set(oracle.acknowledged)
    thread = threading.Thread(target=sender)
    thread.start()
    backup = str(tmp_path / "backup")
    try:
        procedure("backup", DATA_DIR=reeld.data, BACKUP=backup)
    finally:
        stop.set()
        thread.join()
    restored(reeld, backup)
    oracle.acknowledged = before
    oracle.settle()
    # What came during the backup may be in it or not; when Twilio sends it again it is archived once all the same.
    for sid in oracle.recordings:
        assert oracle.post(sid).status == 200
    oracle.settle()
    oracle.check()
    assert reeld.stop() == 0
    assert not reeld.leftovers()


def test_a_backup_has_the_events_that_the_ledger_could_not_take(sandbox, daemon, tmp_path):
    peer = sandbox(count=20)
    reeld = daemon(peer).start()
    oracle = Oracle(reeld, peer)
    backup = str(tmp_path / "backup")
    writer = sqlite3.connect(os.path.join(reeld.data, "ledger.db"), timeout=30, isolation_level=None)
    try:
        writer.execute("BEGIN IMMEDIATE")  # nobody else writes until we end
        for sid in oracle.recordings:
            assert oracle.post(sid).status == 200
        procedure("backup", DATA_DIR=reeld.data, BACKUP=backup)
        assert not reeld.query("SELECT 1 FROM recordings")
        reeld.kill()
    finally:
        writer.close()
    restored(reeld, backup)
    oracle.settle()
    oracle.check()
    assert reeld.stop() == 0


def test_a_copy_of_a_stopped_daemon_is_a_backup_of_everything(sandbox, daemon, tmp_path):
    peer = sandbox(count=20)
    reeld = daemon(peer).start()
    oracle = Oracle(reeld, peer)
    for sid in oracle.recordings:
        assert oracle.post(sid).status == 200
    oracle.settle()
    assert reeld.stop() == 0
    shutil.copytree(reeld.data, tmp_path / "copy")
    shutil.rmtree(reeld.data)
    shutil.copytree(tmp_path / "copy", reeld.data)
    downloads = peer.stats()["requests"]["media"]
    reeld.start()
    for sid in oracle.recordings:
        reply = oracle.post(sid)
        assert reply.status == 200, reply
    oracle.settle()
    oracle.check()
    assert reeld.stop() == 0
    assert peer.stats()["requests"]["media"] == downloads, "something was fetched again"
