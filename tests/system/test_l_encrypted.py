# SPDX-License-Identifier: MIT
"""Recordings that Twilio encrypted: decrypted on their way into a directory and a bucket, or archived as they are and decrypted by hand."""
import hashlib
import json
import os
import re
import signal
import subprocess

import pytest
from enginelib import EngineOracle
from reeldlib import BINARY, Oracle, callback_params, rsa_pair, wait_until

FIRST = "CR0000000000000000000000000000000a"
SECOND = "CR0000000000000000000000000000000b"
DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "encryption.md")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """Two private keys, one of 3072 bits: SID → PEM file."""
    directory = tmp_path_factory.mktemp("pairs")
    return {sid: rsa_pair(directory / f"{sid}.pem", bits) for sid, bits in ((FIRST, 2048), (SECOND, 3072))}


@pytest.fixture
def keys(tmp_path):
    """An empty directory for TWILIO_ENCRYPTION_KEYS, and how to put a key into it."""
    directory = tmp_path / "keys"
    directory.mkdir()

    def add(sid, pem, mode=0o600):
        path = directory / f"{sid}.pem"
        path.write_bytes(pem.read_bytes())
        path.chmod(mode)
        return directory
    return add


def deliver(reeld, peer, oracle_class=Oracle):
    oracle = oracle_class(reeld, peer)
    assert peer.deliver_all(reeld)["failed"] == 0
    oracle.adopt()
    assert len(oracle.acknowledged) == peer.count
    return oracle


def error_of(reeld, sid):
    row = reeld.recording(sid)
    return (row or {}).get("last_error") or ""


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def by_hand(directory, data, details, pem):
    """The commands of docs/encryption.md, as they stand there."""
    with open(DOCS, encoding="utf-8") as page:
        script = re.search(r"```sh\n(.*?)```", page.read(), re.S).group(1)
    for name, content in (("decrypt.sh", script.encode()), ("object", data), ("details.json", details.encode())):
        (directory / name).write_bytes(content)
    done = subprocess.run(["sh", directory / "decrypt.sh", directory / "object", directory / "details.json", pem], capture_output=True, check=True)
    return done.stdout


# ---- with the key ----

def test_decrypted_into_the_directory_whatever_happens_on_the_way(sandbox, daemon, pairs, keys):
    keys(FIRST, pairs[FIRST])
    directory = keys(SECOND, pairs[SECOND])
    peer = sandbox(count=30, size="100KB-300KB", encrypt=pairs[SECOND], encrypted=0.6, fault="404-first,500,truncate:0.2,dup:0.3", fault_attempts=1)
    reeld = daemon(peer, TWILIO_ENCRYPTION_KEYS=directory, TRANSFER_BUFFER="32KiB").start()
    oracle = deliver(reeld, peer)
    oracle.settle()
    oracle.check()
    encrypted = {sid for sid, item in peer.listing(sha256=0).items() if item["encrypted"]}
    assert 5 < len(encrypted) < 25
    for sid in oracle.acknowledged:
        row = reeld.recording(sid)
        assert row["content_type"] == "audio/wav"
        assert (row["encryption"] is not None) == (sid in encrypted)
    assert not reeld.leftovers()
    log = reeld.process.output()
    assert "encrypted_cek" not in log and "PRIVATE" not in log
    assert reeld.stop() == 0


def test_decrypted_into_the_bucket(sandbox, space, replica, pairs, keys):
    directory = keys(FIRST, pairs[FIRST])
    # Both ways up: streamed, and in parts.
    peer = sandbox(count=6, size="2MB-14MB", encrypt=pairs[FIRST])
    sizes = [item["bytes"] for item in peer.listing(sha256=0).values()]
    assert min(sizes) < 5 << 20 < max(sizes), sizes
    reeld = replica(space, peer, TWILIO_ENCRYPTION_KEYS=directory, MULTIPART_THRESHOLD="5MiB").start()
    oracle = deliver(reeld, peer, EngineOracle)
    oracle.settle()
    oracle.check()
    for sid in oracle.acknowledged:
        headers, _ = space.object(oracle.expected_key(sid))
        assert headers["Content-Type"] == "audio/wav"
        assert not [name for name in headers if "encryption" in name.lower()], headers
    assert not space.uploads()
    assert reeld.stop() == 0


def test_what_the_callback_does_not_say_is_asked_for(sandbox, daemon, pairs, keys):
    peer = sandbox(count=2, encrypt=pairs[FIRST])
    reeld = daemon(peer, TWILIO_ENCRYPTION_KEYS=keys(FIRST, pairs[FIRST])).start()
    oracle = Oracle(reeld, peer)
    first, second = oracle.recordings
    oracle.post(first)
    oracle.post(second, EncryptionDetails='{"type":"rsa-aes"}')
    oracle.settle()
    oracle.check()
    for sid in (first, second):
        assert json.loads(reeld.recording(sid)["encryption"])["public_key_sid"] == FIRST
        assert peer.listing(sha256=0)[sid]["recording_requests"] == 1
    assert reeld.stop() == 0


# ---- keys come and go ----

@pytest.mark.parametrize("how", ["reload", "restart"])
def test_a_recording_waits_for_its_key_and_comes_at_once_when_it_is_there(sandbox, daemon, pairs, keys, how):
    directory = keys(FIRST, pairs[FIRST])
    peer = sandbox(count=3, encrypt=pairs[SECOND])
    # Left alone it would be looked at again in five minutes.
    reeld = daemon(peer, TWILIO_ENCRYPTION_KEYS=directory, RETRY_MAX="1h").start()
    oracle = deliver(reeld, peer)
    wait_until(lambda: all("encryption_key" in error_of(reeld, sid) for sid in oracle.acknowledged), "all to wait for their key")
    for sid in oracle.acknowledged:
        row = reeld.recording(sid)
        assert row["attempts"] == 0 and SECOND in row["last_error"], row
    assert not reeld.files() and peer.stats()["requests"]["media"] == 0
    # A bad file changes nothing, and is named.
    (directory / f"{SECOND}.pem").write_text("not a key")
    reeld.process.signal(signal.SIGHUP)
    wait_until(lambda: any(line.get("event") == "reload.failed" and SECOND in line["detail"] for line in reeld.logs()), "the reload to be refused")
    keys(SECOND, pairs[SECOND])
    if how == "reload":
        reeld.process.signal(signal.SIGHUP)
        wait_until(lambda: any(line.get("event") == "reload.keys" and line["keys"] == 2 for line in reeld.logs()), "the reload")
    else:
        assert reeld.stop() == 0
        reeld.start()
    oracle.settle(30)
    assert {row["attempts"] for row in reeld.query("SELECT attempts FROM recordings")} == {0}
    oracle.check()
    assert reeld.stop() == 0


def test_a_file_under_another_keys_name_is_no_end(sandbox, daemon, pairs, keys):
    directory = keys(SECOND, pairs[FIRST])
    peer = sandbox(count=1, encrypt=pairs[SECOND])
    reeld = daemon(peer, TWILIO_ENCRYPTION_KEYS=directory).start()
    oracle = deliver(reeld, peer)
    sid, = oracle.acknowledged
    wait_until(lambda: "encryption_key" in error_of(reeld, sid), "it to wait")
    assert reeld.recording(sid)["attempts"] == 0 and not reeld.files()
    keys(SECOND, pairs[SECOND])
    reeld.process.signal(signal.SIGHUP)
    oracle.settle()
    oracle.check()
    assert reeld.stop() == 0


def test_what_is_wrong_with_the_keys_is_said_at_the_start(daemon, pairs, keys, tmp_path):
    def start(directory):
        reeld = daemon(TWILIO_ENCRYPTION_KEYS=directory, directory=tmp_path).spawn()
        status = reeld.process.wait()
        return status, reeld.process.output()
    assert start(tmp_path / "none")[0] == 1
    directory = keys(FIRST, pairs[FIRST])
    locked = directory / f"{SECOND}.pem"
    subprocess.run(["openssl", "pkey", "-in", pairs[SECOND], "-aes128", "-passout", "pass:swordfish", "-out", locked], check=True)
    status, said = start(directory)
    assert status == 1 and f"{SECOND}.pem" in said and "passphrase" in said, said
    subprocess.run(["openssl", "pkey", "-in", pairs[SECOND], "-pubout", "-out", locked], check=True)
    status, said = start(directory)
    assert status == 1 and "public key" in said, said


def test_check_counts_and_tries_the_keys(sandbox, daemon, pairs, keys):
    peer = sandbox(count=1)
    keys(FIRST, pairs[FIRST], 0o644)
    directory = keys(SECOND, pairs[SECOND])
    reeld = daemon(peer, TWILIO_ENCRYPTION_KEYS=directory)
    done = reeld.command("check")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^ok +keys +2 in ", done.stdout, re.M) and re.search(rf"^warn +keys +{FIRST}\.pem: everybody", done.stdout, re.M), done.stdout
    (directory / f"{SECOND}.pem").write_text("nothing")
    done = reeld.command("check")
    assert done.returncode == 1 and re.search(rf"^FAIL +keys .*{SECOND}\.pem: no PEM private key", done.stdout, re.M), done.stdout


# ---- without keys ----

def test_archived_as_it_is_and_decrypted_by_hand(sandbox, daemon, pairs, keys, tmp_path):
    peer = sandbox(count=2, size="65KB-70KB", encrypt=pairs[SECOND])
    reeld = daemon(peer, RECORDING_FORMAT="mp3").start()
    oracle = deliver(reeld, peer)
    oracle.settle()
    files = reeld.files()
    assert len(files) == 4
    for sid in oracle.acknowledged:
        size, expected = oracle.expected_bytes(sid)
        path = files[oracle.expected_path(sid)]
        data, details = path.read_bytes(), files[oracle.expected_path(sid) + ".json"].read_text()
        row = reeld.recording(sid)
        assert len(data) == size + 16 == row["bytes"] and sha256(data) == row["sha256"] != expected
        assert row["content_type"] == "application/octet-stream"
        told = json.loads(details)
        assert told.pop("recording_sid") == sid and told == json.loads(row["encryption"])
        assert sha256(by_hand(tmp_path, data, details, pairs[SECOND])) == expected
        # reeld's own command checks the tag, and writes nothing when it is wrong.
        env = dict(os.environ, TWILIO_ENCRYPTION_KEYS=str(keys(SECOND, pairs[SECOND])))
        command = [BINARY, "recordings", "decrypt", str(path)]
        done = subprocess.run(command, env=env, capture_output=True, check=False)
        assert done.returncode == 0 and sha256(done.stdout) == expected, done.stderr
        path.write_bytes(data[:40000] + bytes([data[40000] ^ 1]) + data[40001:])
        done = subprocess.run(command, env=env, capture_output=True, check=False)
        assert done.returncode == 1 and done.stdout == b"" and b"authentication tag" in done.stderr
        path.write_bytes(data)
        (tmp_path / "keys" / f"{SECOND}.pem").unlink()
    assert [line for line in reeld.logs() if line.get("event") == "recording.wav_only"]
    assert [line["encrypted"] for line in reeld.logs() if line.get("event") == "recording.stored"] == [True, True]
    # Deleted with what lies beside it.
    sid = next(iter(oracle.acknowledged))
    assert reeld.command("recordings", "delete", sid).returncode == 0
    assert len(reeld.files()) == 2
    assert reeld.stop() == 0


def test_archived_as_it_is_in_the_bucket(sandbox, space, replica, pairs, tmp_path):
    peer = sandbox(count=3, size="40KB-12MB", encrypt=pairs[SECOND])
    reeld = replica(space, peer, MULTIPART_THRESHOLD="5MiB").start()
    oracle = deliver(reeld, peer, EngineOracle)
    oracle.settle()
    for sid in oracle.acknowledged:
        size, expected = oracle.expected_bytes(sid)
        headers, data = space.object(oracle.expected_key(sid))
        told = {name.lower()[len("x-amz-meta-encryption-"):]: value for name, value in headers.items()
                if name.lower().startswith("x-amz-meta-encryption-")}
        assert headers["Content-Type"] == "application/octet-stream" and len(data) == size + 16
        assert told["type"] == "rsa-aes" and told["public-key-sid"] == SECOND
        sealed = told["encrypted-cek"] + told["encrypted-cek-2"] + told.get("encrypted-cek-3", "")
        details = json.dumps({"type": told["type"], "public_key_sid": SECOND, "encrypted_cek": sealed, "iv": told["iv"]})
        assert sha256(by_hand(tmp_path, data, details, pairs[SECOND])) == expected
    assert reeld.stop() == 0


def test_the_sandbox_signs_what_it_says(sandbox, daemon, pairs):
    """A callback with other details than were signed is refused."""
    peer = sandbox(count=1, encrypt=pairs[FIRST])
    reeld = daemon(peer).start()
    recording, = peer.recordings()
    assert recording["encryption_details"]["encryption_public_key_sid"] == FIRST
    params = callback_params(recording, EncryptionDetails="{}")
    assert reeld.post(params, signature="AAAAAAAAAAAAAAAAAAAAAAAAAAA=").status == 403
    assert reeld.stop() == 0


def test_what_reconciling_finds_is_decrypted_too(sandbox, daemon, pairs, keys):
    """No callback ever came: the list's description has the details under the resource's names."""
    peer = sandbox(count=5, encrypt=pairs[FIRST], encrypted=0.5)
    reeld = daemon(peer, TWILIO_ENCRYPTION_KEYS=keys(FIRST, pairs[FIRST])).start()
    oracle = Oracle(reeld, peer)
    done = reeld.command("reconcile", "--since", "7d")
    assert done.returncode == 0, done.stdout + done.stderr
    oracle.acknowledged = set(oracle.recordings)
    oracle.settle()
    oracle.check()
    described = [item for item in peer.listing(sha256=0).values() if item["encrypted"]]
    assert 0 < len(described) < 5
    assert all(item["recording_requests"] == 0 for item in described), "the list said it"
    assert reeld.stop() == 0
