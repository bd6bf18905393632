# SPDX-License-Identifier: MIT
"""What an operator's environment does to reeld: limits of open files, commands run as root, signals that are not meant for it, changed settings."""
import os
import signal
import socket
import subprocess

import pytest
from reeldlib import BINARY, DEADLINE, PATH, TOKEN, Daemon, Process, callback_params, free_port, http_request, sign, wait_until

OWNER = 65532
RECORDING = {"source": "DialVerb", "sid": "RE" + "ab" * 16, "channels": 1, "call_sid": "CA" + "cd" * 16, "start_time": "Wed, 20 Apr 2022 23:45:25 +0000",
             "duration": "11"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")


def events(reeld, name):
    return [line for line in reeld.logs() if line.get("event") == name]


def told(reeld, name, count=1):
    """Lines of the log, which are written after the answer: `count` of them."""
    wait_until(lambda: len(events(reeld, name)) >= count, lambda: f"{count} of {name}:\n" + reeld.process.output()[-3000:])
    return events(reeld, name)


def check(reeld, **env):
    """Exit status and {subject: (verdict, words)} of reeld check."""
    result = reeld.command("check", env=env)
    rows = [line.split(None, 2) for line in result.stdout.splitlines()]
    return result, {subject: (verdict, words) for verdict, subject, words in rows}


# ---- open files

def test_idle_connections_never_take_the_last_descriptors(sandbox, daemon):
    reeld = daemon(sandbox(count=1)).start(prefix=["prlimit", "--nofile=300:300"])
    warned, = told(reeld, "limits.open_files")
    assert (warned["limit"], warned["wanted"], warned["connections"]) == (300, 4096 + 2 * 64 + 100, 300 - 2 * 64 - 100)
    params = callback_params(RECORDING)
    held = socket.create_connection(("127.0.0.1", reeld.port), timeout=20)
    idle = []
    for _ in range(350):
        idle.append(socket.create_connection(("127.0.0.1", reeld.port), timeout=20))
    wait_until(lambda: reeld.metrics()['reeld_http_connections_closed_total{reason="limit"}'] >= 250, lambda: str(reeld.metrics()))
    assert reeld.command("healthcheck").returncode == 0
    body = "&".join(f"{name}={value}" for name, value in params if name in ("AccountSid", "CallSid", "RecordingSid", "RecordingStatus"))
    pairs = [pair.split("=") for pair in body.split("&")]
    held.sendall((f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{reeld.port}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                  f"X-Twilio-Signature: {sign(TOKEN, reeld.url + PATH, pairs)}\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode())
    assert held.recv(4096).startswith(b"HTTP/1.1 200 "), "the journal takes events"
    assert not events(reeld, "journal.segment_failed")
    for connection in [held, *idle]:
        connection.close()
    wait_until(lambda: reeld.metrics()["reeld_http_connections"] == 0, "the idle ones to be gone")
    assert reeld.stop() == 0


def test_the_soft_limit_of_open_files_is_raised(sandbox, daemon):
    reeld = daemon(sandbox(count=1)).start(prefix=["prlimit", "--nofile=128:4500"])
    assert reeld.metrics()["process_max_fds"] == 4500
    assert not events(reeld, "limits.open_files")
    assert reeld.stop() == 0


def test_too_few_descriptors_for_everything_else_stop_the_start_and_check_says_so(tmp_path):
    reeld = Daemon(tmp_path)
    for command in ("serve", "check"):
        result = subprocess.run(["prlimit", "--nofile=200:200", BINARY, command], env=reeld.env, capture_output=True, text=True, timeout=DEADLINE, check=False)
        said = [line for line in (result.stdout + result.stderr).splitlines() if "MAX_TRANSFERS: " in line]
        assert result.returncode == 1 and len(said) == 1 and "example: MAX_TRANSFERS=" in said[0], result


# ---- whose files they are

@as_root
def test_root_leaves_nothing_that_the_owner_of_data_dir_cannot_use(tmp_path, sandbox):
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:-2]:
        if parent.stat().st_uid == os.geteuid() and str(parent) != "/tmp":
            parent.chmod(parent.stat().st_mode | 0o055)
    reeld = Daemon(tmp_path, sandbox(count=1).url)
    os.mkdir(reeld.data)
    os.chown(reeld.data, OWNER, OWNER)
    for command in (["check"], ["migrate"], ["check"], ["jobs", "list"], ["recordings", "list"]):
        result = reeld.command(*command)
        assert result.returncode == 0, (command, result)
        for folder, folders, files in os.walk(reeld.data):
            for name in folders + files:
                assert os.stat(os.path.join(folder, name)).st_uid == OWNER, (command, name)
    assert os.path.exists(os.path.join(reeld.data, "ledger.db"))


def test_check_leaves_no_files_behind(tmp_path, sandbox):
    reeld = Daemon(tmp_path, sandbox(count=1).url)
    result, lines = check(reeld)
    assert result.returncode == 0 and lines["journal"][0] == "ok" and not os.path.exists(reeld.data), result
    os.mkdir(reeld.data)
    assert check(reeld)[0].returncode == 0 and os.listdir(reeld.data) == []
    assert reeld.start().stop() == 0

    def tree():
        return sorted((os.path.join(folder, name)) for folder, folders, files in os.walk(reeld.data) for name in folders + files)
    before = tree()
    assert check(reeld)[0].returncode == 0 and tree() == before


# ---- check and serve agree

@pytest.mark.parametrize("variable, subject", [("LISTEN", "listen"), ("ADMIN_LISTEN", "admin")])
def test_check_finds_an_address_that_serve_could_not_have(tmp_path, sandbox, variable, subject):
    reeld = Daemon(tmp_path, sandbox(count=1).url)
    with socket.create_server(("127.0.0.1", 0)) as other:
        for address in ("192.0.2.1:8080", f"127.0.0.1:{other.getsockname()[1]}"):
            env = {variable: address, "ADMIN_TOKEN": "a-token"}
            result, lines = check(reeld, **env)
            assert result.returncode == 1 and lines[subject][0] == "FAIL" and variable in lines[subject][1], result
            assert {name for name, (verdict, _) in lines.items() if verdict != "ok"} == {subject}, result
            assert reeld.command("serve", env=env).returncode == 1


def test_check_beside_a_running_daemon_is_content_with_its_addresses(sandbox, daemon):
    reeld = daemon(sandbox(count=1)).start()
    result, lines = check(reeld)
    assert result.returncode == 0 and "running reeld" in lines["listen"][1] and "running reeld" in lines["admin"][1], result


def test_an_accounts_file_without_an_account_verifies_nothing(tmp_path):
    empty = tmp_path / "accounts"
    empty.write_text("# none yet\n")
    reeld = Daemon(tmp_path, TWILIO_ACCOUNT_SID="", TWILIO_AUTH_TOKEN="", TWILIO_ACCOUNTS_FILE=empty)
    result, lines = check(reeld)
    assert result.returncode == 1 and lines["twilio"][0] == "FAIL" and "TWILIO_ACCOUNTS_FILE" in lines["twilio"][1], result
    started = reeld.command("serve")
    said = [line for line in started.stderr.splitlines() if not line.startswith("{")]
    assert started.returncode == 1 and len(said) == 1 and "TWILIO_ACCOUNTS_FILE: " in said[0] and "example" in said[0], started


def test_check_of_an_empty_postgres_says_that_serve_fills_it(tmp_path, space, replica):
    reeld = replica(space)
    assert check(reeld)[1]["ledger"] == ("ok", "postgres at DATABASE_URL: serve applies the migrations that it lacks")
    assert check(reeld, MIGRATE="off")[1]["ledger"][0] == "FAIL"
    assert reeld.command("migrate").returncode == 0
    assert check(reeld)[1]["ledger"] == ("ok", "postgres at DATABASE_URL")


def test_a_full_journal_is_no_failure_because_serve_starts_and_empties_it(sandbox, daemon):
    reeld = daemon(sandbox(count=1), JOURNAL_SEGMENT="64KiB", JOURNAL_MAX="128KiB", DATABASE_URL="postgresql://nobody@127.0.0.1:9/none").start()
    taken = 0
    while reeld.post(callback_params({**RECORDING, "sid": f"RE{taken:032x}"})).status == 200:
        taken += 1
        assert taken < 1000, "JOURNAL_MAX holds no such number"
    assert reeld.stop() == 0
    del reeld.env["DATABASE_URL"]
    result, lines = check(reeld)
    assert result.returncode == 0 and lines["journal"][0] == "warn" and f"{taken} events waiting" in lines["journal"][1], result
    reeld.spawn()
    wait_until(lambda: len(reeld.query("SELECT 1 FROM recordings")) == taken, "the ledger to take what waited")
    wait_until(reeld.ready, lambda: reeld.process.output())
    assert reeld.stop() == 0


def test_check_prints_one_line_each_also_without_s3_credentials(tmp_path):
    reeld = Daemon(tmp_path, S3_BUCKET="bucket", S3_ENDPOINT="http://127.0.0.1:9", AWS_EC2_METADATA_SERVICE_ENDPOINT="http://127.0.0.1:9", LOG_LEVEL="")
    result, lines = check(reeld)
    assert result.returncode == 1 and lines["storage"][0] == "FAIL" and result.stderr == "", result


# ---- signals

def test_signals_of_other_tools_do_not_end_it(sandbox, daemon):
    reeld = daemon(sandbox(count=1)).start()
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        reeld.process.signal(number)
    assert reeld.get("/healthz").status == 200 and reeld.running
    assert reeld.stop() == 0


def test_a_second_signal_at_once_is_the_first_one_again(sandbox, daemon):
    """timeout and shells signal the process and its group. Two numbers, so that the kernel does not make one of them."""
    reeld = daemon(sandbox(count=1)).start()
    reeld.process.signal(signal.SIGTERM)
    reeld.process.signal(signal.SIGINT)
    assert reeld.process.wait() == 0, reeld.process.output()[-2000:]


def test_sighup_names_what_only_a_restart_changes(sandbox, daemon, tmp_path):
    env_file = tmp_path / "env"
    reeld = daemon(sandbox(count=1))
    del reeld.env["LISTEN"]  # the environment would win
    env_file.write_text(f"LISTEN=127.0.0.1:{reeld.port}\nMAX_BODY=32KiB\n")
    reeld.process = Process([BINARY, "--env-file", str(env_file), "serve"], reeld.env, str(tmp_path / "reeld-1.log"))
    wait_until(reeld.ready, lambda: reeld.process.output())
    reeld.process.signal(signal.SIGHUP)
    told(reeld, "reload.accounts")
    assert not events(reeld, "reload.needs_restart")
    env_file.write_text(f"LISTEN=127.0.0.1:{free_port()}\nMAX_BODY=64KiB\nADMIN_TOKEN=new\n")
    reeld.process.signal(signal.SIGHUP)
    told(reeld, "reload.accounts", 2)
    warned, = told(reeld, "reload.needs_restart")
    assert warned["variables"] == "LISTEN, MAX_BODY"
    assert reeld.stop() == 0


# ---- messages

@pytest.mark.parametrize("name, value", [("AWS_REGION", "e/u"), ("S3_SSE", "rot13"), ("S3_BUCKET", "Not_A/Bucket"), ("S3_STORAGE_CLASS", "é"),
                                         ("REDIS_URL", "http://h"), ("REDIS_URL", "redis://user@h")])
def test_a_bad_setting_names_itself_the_problem_and_an_example(tmp_path, name, value):
    env = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret-secret", "S3_BUCKET": "bucket", name: value}
    result = Daemon(tmp_path, **env).command("serve")
    said = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    assert result.returncode == 1 and len(said) == 1, result
    assert said[0].startswith(f"reeld: {name}: ") and f"; example: {name}=" in said[0], said


# ---- refusals

def test_a_refusal_says_who_and_where_but_never_the_query(sandbox, daemon):
    reeld = daemon(sandbox(count=1)).start()
    assert reeld.get(PATH + "?RecordingSid=secret").status == 403
    refused, = told(reeld, "webhook.refused")
    assert (refused["reason"], refused["peer"], refused["path"]) == ("invalid_signature", "127.0.0.1", PATH)
    assert "secret" not in reeld.process.output()
    assert reeld.stop() == 0


def test_what_is_refused_before_a_handler_is_logged_and_counted(sandbox, daemon):
    reeld = daemon(sandbox(count=1), HEADER_TIMEOUT="300ms").start()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert http_request(reeld.port, "POST", PATH + "?q=secret", "x" * 70000, form).status == 413
    assert http_request(reeld.port, "POST", "/" + "n" * 200, "x" * 70000, form).status == 413
    with socket.create_connection(("127.0.0.1", reeld.port), timeout=20) as slow:
        slow.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab".encode())
        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")
    metrics = reeld.metrics()
    assert metrics['reeld_webhooks_total{endpoint="recording",status="413",outcome="bad_request"}'] == 1
    assert metrics['reeld_webhooks_total{endpoint="recording",status="408",outcome="bad_request"}'] == 1
    lines = told(reeld, "webhook.refused", 3)
    assert [(line["level"], line["path"], line["detail"]) for line in lines] == [
        ("info", PATH, "Request body too large"), ("info", "/" + "n" * 63, "Request body too large"), ("info", PATH, "Request was not complete in time")], lines
    assert all(line["peer"] == "127.0.0.1" for line in lines) and "secret" not in reeld.process.output()
    assert reeld.stop() == 0


# ---- smaller

def test_an_unknown_path_of_the_api_wants_the_token_first(sandbox, daemon):
    reeld = daemon(sandbox(count=1), ADMIN_TOKEN="the-token").start()
    assert reeld.get("/api/nope", reeld.admin_port).status == 401
    assert reeld.get("/api/nope", reeld.admin_port, {"Authorization": "Bearer the-token"}).status == 404
    assert reeld.get("/nope", reeld.admin_port).status == 404
    assert reeld.stop() == 0
