# SPDX-License-Identifier: MIT
"""The commands: what they print, what they change, how they exit."""
import os
import sqlite3
import subprocess

import pytest
from reeldlib import ACCOUNT, BINARY, DEADLINE, TOKEN, Daemon, Oracle, callback_params, free_port, sign, wait_until

COMMANDS = ["serve", "demo", "sandbox", "check", "migrate", "jobs", "recordings", "healthcheck", "sign"]


def run(*arguments, env=None):
    clean = {"PATH": os.environ["PATH"], **{k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}, **(env or {})}
    return subprocess.run([BINARY, *arguments], env=clean, capture_output=True, text=True, timeout=DEADLINE, stdin=subprocess.DEVNULL, check=False)


def test_version_and_help():
    version = run("--version")
    assert version.returncode == 0 and version.stdout.startswith("reeld ") and version.stderr == ""
    help_text = run("--help")
    assert help_text.returncode == 0 and all(command in help_text.stdout for command in COMMANDS)
    for command in COMMANDS:
        text = run(command, "--help")
        assert text.returncode == 0 and f"reeld {command}" in text.stdout and text.stderr == "", command
        assert run(command, "--version").stdout == version.stdout


@pytest.mark.parametrize("arguments", [["frobnicate"], ["--frobnicate"], *[[command, "--frobnicate"] for command in COMMANDS], ["jobs"], ["jobs", "nonsense"],
                                       ["jobs", "show", "nonsense"], ["recordings"], ["recordings", "url"], ["sign"], ["demo", "--count", "x"],
                                       ["demo", "--count", "0"], ["demo", "--size", "1XB"], ["demo", "--size", "0"], ["sandbox", "--size", "0"], ["sandbox", "--rate", "x"], ["sandbox", "--fault", "nonsense"],
                                       ["sandbox", "--count"], ["sandbox", "--stall", "soon"], ["sandbox", "--exit-when-done"], ["sandbox", "--listen", "1"]])
def test_wrong_usage_is_status_2_with_usage_on_stderr(arguments, tmp_path):
    result = run(*arguments, env={"DATA_DIR": str(tmp_path / "data")})
    assert result.returncode == 2, result
    assert result.stdout == "" and "usage" in result.stderr.lower()
    assert not (tmp_path / "data").exists(), "wrong usage must not begin to work"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "sandbox"])
def test_a_usage_error_shows_the_usage_that_help_shows(command):
    usage = run(command, "--help").stdout.splitlines()[0]
    assert usage.startswith("usage: reeld ") and usage in run(command, "--frobnicate").stderr.splitlines()


def test_a_bad_number_is_named():
    assert "--rate 'x'" in run("sandbox", "--rate", "x").stderr


def test_output_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "w") as full:
        for arguments in (["--version"], ["--help"], ["sign", "--url", "https://x.example/", "--token", TOKEN]):
            result = subprocess.run([BINARY, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=DEADLINE, check=False)
            assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, (arguments, result)


def test_demo_of_whole_calls_leaves_their_rows(tmp_path):
    result = run("demo", "--calls", "--count", "4", "--size", "2KB", "--data-dir", str(tmp_path / "demo"))
    assert result.returncode == 0 and "4 recordings archived and verified" in result.stdout, result
    with sqlite3.connect(tmp_path / "demo" / "ledger.db") as ledger:
        rows = ledger.execute("SELECT status, duration, recording_url IS NOT NULL FROM calls").fetchall()
    assert rows == [("COMPLETED", 1, 1)] * 4


def test_closed_standard_streams_do_no_harm(tmp_path):
    script = '"$0" demo --count 2 --data-dir "$1" <&- >&- 2>&-'
    result = subprocess.run(["sh", "-c", script, BINARY, str(tmp_path / "demo")], timeout=DEADLINE, check=False)
    assert result.returncode == 0
    assert len(list((tmp_path / "demo" / "recordings").rglob("*.wav"))) == 2


GOOD = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "tokentoken", "ADMIN_LISTEN": "off", "LISTEN": "127.0.0.1:0"}


@pytest.mark.parametrize("name, value", [
    ("LISTEN", "nonsense"), ("LISTEN", "127.0.0.1:99999"), ("ADMIN_LISTEN", "0.0.0.0:0"), ("TWILIO_ACCOUNT_SID", "AC12"), ("TWILIO_AUTH_TOKEN", "a,,b"),
    ("TWILIO_AUTH_TOKEN", ""), ("TWILIO_AUTH_TOKEN_FILE", "/nonexistent/file"), ("PUBLIC_URL", "ftp://x"), ("TRUSTED_PROXIES", "10.0.0.0/99"),
    ("VALIDATE_TWILIO_SIGNATURE", "perhaps"), ("RECORDING_FORMAT", "ogg"), ("RECORDING_CHANNELS", "3"), ("ACK", "never"), ("UNKNOWN_CALL", "invent"),
    ("DELETE_FROM_TWILIO", "always"), ("MAX_ATTEMPTS", "0"), ("MAX_ATTEMPTS", "many"), ("RETRY_BASE", "2"), ("MAX_BODY", "1"), ("LOG_LEVEL", "loud"),
    ("LISTEN", "nowhere.invalid:80"), ("LISTEN", "192.0.2.1:80"), ("DATA_DIR", "/dev/null"),
    ("TLS_CERT", "/nonexistent/cert.pem"), ("TWILIO_ACCOUNTS_FILE", "/nonexistent/accounts"), ("SHUTDOWN_GRACE", "-1s"), ("DATA_DIR", "/proc/nonexistent")])
def test_a_bad_setting_stops_the_start_with_one_line_that_names_it(tmp_path, name, value):
    result = run("serve", env={**GOOD, "DATA_DIR": str(tmp_path / "data"), name: value})
    assert result.returncode == 1, result
    lines = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1 and name.removesuffix("_FILE") in lines[0], result.stderr
    assert "reeld.drained" not in result.stderr, "what never started is not drained"
    assert "tokentoken" not in result.stderr


def test_a_bad_secret_is_not_repeated(tmp_path):
    result = run("serve", env={**GOOD, "DATA_DIR": str(tmp_path), "TWILIO_AUTH_TOKEN": "very,,secret"})
    assert result.returncode == 1 and "secret" not in result.stderr and "TWILIO_AUTH_TOKEN" in result.stderr
    # Secrets that stand in the wrong variable.
    for name in ("TWILIO_ACCOUNT_SID", "TWILIO_API_KEY"):
        result = run("serve", env={**GOOD, "DATA_DIR": str(tmp_path), name: "verysecret"})
        assert result.returncode == 1 and "secret" not in result.stderr and name in result.stderr
    result = run("serve", env={**GOOD, "DATA_DIR": str(tmp_path), "PUBLIC_URL": "https://user:verysecret@x.example"})
    assert result.returncode == 1 and "secret" not in result.stderr and "PUBLIC_URL" in result.stderr


def test_env_file_is_read_and_the_environment_wins(tmp_path, sandbox):
    peer = sandbox(count=1)
    env_file = tmp_path / "env"
    env_file.write_text(f"# a comment\nTWILIO_ACCOUNT_SID={ACCOUNT}\nTWILIO_AUTH_TOKEN={TOKEN}\nTWILIO_API_BASE={peer.url}\n"
                        f"DATA_DIR={tmp_path}/data\nADMIN_LISTEN=nonsense\n")
    assert run("--env-file", str(env_file), "check").returncode == 1, "ADMIN_LISTEN of the file counts"
    good = run("check", "--env-file", str(env_file), env={"ADMIN_LISTEN": "off"})
    assert good.returncode == 0, good


def test_a_command_logs_when_the_environment_or_the_env_file_asks_for_it(tmp_path):
    env_file = tmp_path / "env"

    def log(text, **env):
        env_file.write_text(text)
        return run("--env-file", str(env_file), "demo", "--count", "1", "--data-dir", str(tmp_path / "demo"), env=env).stderr

    assert log("") == "" and log("LOG_LEVEL=\n") == ""
    assert "journal.opened" in log("LOG_LEVEL=info\n") and "journal.opened" in log("", LOG_LEVEL="info")
    assert log("LOG_LEVEL=info\n", LOG_LEVEL="") == "", "the environment wins"


def test_check_reaches_everything_and_says_what_fails(tmp_path, sandbox):
    peer = sandbox(count=1)
    reeld = Daemon(tmp_path, peer.url)
    assert reeld.start().stop() == 0
    for _ in range(2):
        good = reeld.command("check")
        assert good.returncode == 0 and "FAIL" not in good.stdout, good
        assert len([line for line in good.stdout.splitlines() if line.startswith("ok")]) >= 4
        assert "journal.opened" in good.stderr, "LOG_LEVEL asks for it"
        assert reeld.command("check", env={"LOG_LEVEL": ""}).stderr == ""
        assert reeld.command("migrate").returncode == 0
    wrong = reeld.command("check", env={"TWILIO_AUTH_TOKEN": "wrong_token_here"})
    assert wrong.returncode == 1 and "FAIL" in wrong.stdout
    gone = reeld.command("check", env={"TWILIO_API_BASE": "http://127.0.0.1:9"})
    assert gone.returncode == 1
    for result in (good, wrong, gone):
        assert TOKEN not in result.stdout + result.stderr and "wrong_token_here" not in result.stdout + result.stderr
    assert not reeld.files(), "the probe object is removed"


def test_migrate_twice_changes_nothing_the_second_time(tmp_path):
    reeld = Daemon(tmp_path)
    assert reeld.command("migrate").returncode == 0
    before = reeld.query("SELECT sql FROM sqlite_master ORDER BY name")
    assert before and reeld.command("migrate").returncode == 0
    assert reeld.query("SELECT sql FROM sqlite_master ORDER BY name") == before


def test_jobs_list_show_retry_drop(sandbox, daemon):
    peer = sandbox(count=4, fault="404-first", fault_attempts=1)
    reeld = daemon(peer, MAX_ATTEMPTS="1").start()
    recordings = peer.recordings()
    sids = [recording["sid"] for recording in recordings]
    for recording in recordings:
        reeld.post(callback_params(recording))
    wait_until(lambda: [row["status"] for row in reeld.query("SELECT status FROM recordings")] == ["dead"] * 4, lambda: reeld.process.output()[-3000:])
    listing = reeld.command("jobs", "list")
    assert listing.returncode == 0 and all(sid in listing.stdout for sid in sids) and listing.stdout.count("dead") >= 4
    shown = reeld.command("jobs", "show", sids[0])
    assert shown.returncode == 0 and "dead" in shown.stdout and "received" in shown.stdout
    dropped = reeld.command("jobs", "drop", sids[0])
    assert dropped.returncode == 0 and reeld.recording(sids[0])["status"] == "skipped"
    assert sids[0] not in reeld.command("jobs", "list").stdout
    one = reeld.command("jobs", "retry", sids[1])
    assert one.returncode == 0, one
    # A running daemon finds what was put back without being told.
    wait_until(lambda: reeld.recording(sids[1])["status"] == "stored", lambda: str(reeld.recording(sids[1])))
    rest = reeld.command("jobs", "retry", "--all-dead")
    assert rest.returncode == 0 and "2" in rest.stdout, rest
    wait_until(lambda: {reeld.recording(sid)["status"] for sid in sids[2:]} == {"stored"}, "the rest to be archived")
    assert reeld.command("jobs", "list").stdout.count("RE") == 0
    assert reeld.command("jobs", "show", "RE" + "0" * 32).returncode == 1
    assert reeld.command("jobs", "retry", sids[1]).returncode == 1, "what is stored is not retried"
    oracle = Oracle(reeld, peer)
    oracle.acknowledged = set(sids[1:])
    oracle.check()


def test_recordings_list_url_delete(sandbox, daemon):
    peer = sandbox(count=3)
    reeld = daemon(peer).start()
    oracle = Oracle(reeld, peer)
    for sid in oracle.recordings:
        oracle.post(sid)
    oracle.settle()
    first, second, third = oracle.recordings
    listing = reeld.command("recordings", "list")
    assert listing.returncode == 0 and all(sid in listing.stdout for sid in oracle.recordings)
    key = reeld.recording(first)["key"]
    assert reeld.command("recordings", "list", "--prefix", key.rsplit("/", 1)[0]).stdout.count("RE") >= 1
    assert second not in reeld.command("recordings", "list", "--prefix", key).stdout
    url = reeld.command("recordings", "url", first)
    assert url.returncode == 0 and url.stdout.strip() == reeld.recording(first)["url"]
    deleted = reeld.command("recordings", "delete", first)
    assert deleted.returncode == 0 and reeld.recording(first)["status"] == "deleted"
    assert len(reeld.files()) == 2
    again = reeld.command("recordings", "delete", first)
    assert again.returncode == 0 and "before" in again.stdout, "as the API has it"
    assert reeld.command("recordings", "url", first).returncode == 1
    assert third in reeld.command("recordings", "list").stdout
    # A late duplicate does not bring it back.
    assert reeld.post(callback_params(oracle.recordings[first])).status == 200
    wait_until(lambda: reeld.metrics()["reeld_inbox_events"] == 0, "the duplicate to be forwarded")
    assert reeld.recording(first)["status"] == "deleted" and len(reeld.files()) == 2


@pytest.mark.parametrize("url, params", [
    ("https://example.com/api/twilio/recording", [("b", "2"), ("a", "1"), ("a", "0")]),
    ("http://127.0.0.1:8080/x?q=1&r=%20", []), ("https://example.com/", [("Číslo", "ř & = +"), ("Empty", "")])])
def test_sign_agrees_with_an_independent_signer(url, params):
    signature = sign(TOKEN, url, params)
    words = [f"{name}={value}" for name, value in params]
    made = run("sign", "--url", url, "--token", TOKEN, *words)
    assert (made.returncode, made.stdout.strip()) == (0, signature), made
    assert run("sign", "--url", url, "--token", TOKEN, "--verify", signature, *words).returncode == 0
    assert run("sign", "--url", url, "--token", TOKEN + "x", "--verify", signature, *words).returncode == 1
    assert run("sign", "--url", url, "--verify", signature, *words, env={"TWILIO_AUTH_TOKEN": TOKEN}).returncode == 0


def test_healthcheck_asks_the_running_daemon(sandbox, daemon):
    reeld = daemon(sandbox(count=1)).start()
    assert reeld.command("healthcheck").returncode == 0
    assert reeld.command("healthcheck", env={"ADMIN_LISTEN": "off"}).returncode == 0
    assert reeld.stop() == 0
    assert reeld.command("healthcheck").returncode == 1


def test_sandbox_delivers_and_ends_when_all_was_fetched(sandbox, daemon, tmp_path):
    port = free_port()
    reeld = daemon(None, TWILIO_API_BASE=f"http://127.0.0.1:{port}").start()
    done = run("sandbox", "--listen", f"127.0.0.1:{port}", "--account-sid", ACCOUNT, "--auth-token", TOKEN, "--target",
               reeld.url + "/api/twilio/recording", "--count", "20", "--size", "1KB-9KB", "--rate", "100", "--fault", "dup,429:0.3", "--exit-when-done")
    assert done.returncode == 0, done
    assert "TWILIO_API_BASE=" in done.stdout and TOKEN not in done.stdout
    wait_until(lambda: len(reeld.files()) == 20, "all twenty to be archived")
    wait_until(lambda: {row["status"] for row in reeld.query("SELECT status FROM recordings")} == {"stored"}, "the ledger to know")
    refused = run("sandbox", "--listen", "127.0.0.1:0", "--target", reeld.url + "/api/twilio/recording", "--count", "2", "--exit-when-done")
    assert refused.returncode == 1, "another account's callbacks are refused"
