# SPDX-License-Identifier: MIT
"""Drives the reeld binary from outside: starts and ends processes (only its own, by pid), signs like Twilio with code of its own, reads
the ledger and the stored files, and holds every 2xx as an obligation."""
import base64
import email.utils
import functools
import hashlib
import hmac
import http.client
import http.server
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from servers.common import free_port  # noqa: E402

BINARY = os.path.abspath(os.environ.get("REELD_BINARY", "build/reeld"))
ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "fedcba98765432100123456789abcdef"
PATH = "/api/twilio/recording"
# Generous: a slow machine must not fail a test, a hung one must.
DEADLINE = float(os.environ.get("REELD_TEST_DEADLINE", "60"))


def long_form(config):
    """pytest was asked for the long form of the tests that have one."""
    return config.getoption("--long") or bool(os.environ.get("REELD_LONG"))


def sanitized():
    """The binary was built with AddressSanitizer."""
    return b"__asan_init" in Path(BINARY).read_bytes()


def wait_until(condition, what, seconds=DEADLINE, every=0.02):
    """Returns the condition's first true value; fails with `what` (a string or a function that tells the state) after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what() if callable(what) else what}")
        time.sleep(every)


def sign(token, url, params=()):
    """Twilio's documented rule, written down independently of the code under test."""
    by_name = {}
    for name, value in params:
        by_name.setdefault(name, set()).add(value)
    text = url + "".join(name + value for name in sorted(by_name) for value in sorted(by_name[name]))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:200]!r}>"


def http_request(port, method, target, body=None, headers=None, timeout=20):
    """One request on a connection of its own. Raises OSError or http.client.HTTPException when the peer is gone."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


def rsa_pair(path, bits=2048):
    """A private key as PEM, for TWILIO_ENCRYPTION_KEYS and the sandbox."""
    subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}", "-out", path], check=True)
    path.chmod(0o600)
    return path


WAV = (b"RIFF" + (4036).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little") + bytes.fromhex("01000100401f0000803e000002001000")
       + b"data" + (4000).to_bytes(4, "little") + bytes(4000))


class Peer:
    """A scripted HTTP server in place of Twilio; `answer(request)` gives status, headers and body, and every request is kept."""

    def __init__(self, answer):
        peer = self
        self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                peer.requests.append((self.command, self.path, dict(self.headers)))
                status, headers, body = answer(self)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_DELETE = do_GET

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Process:
    """A child with its output in a file. Its own process group, so that a tracer and its tracee end together."""

    def __init__(self, argv, env, log_path, stderr=None):
        self.log_path = log_path
        self.log = open(log_path, "ab")
        self.child = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=stderr or self.log, start_new_session=True)

    @property
    def running(self):
        return self.child.poll() is None

    def output(self):
        return Path(self.log_path).read_text(errors="replace")

    def signal(self, number):
        if self.running:
            self.child.send_signal(number)

    def kill(self):
        if self.running:
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        self.log.close()

    def wait(self, seconds=DEADLINE):
        return self.child.wait(seconds)


class Sandbox(Process):
    """`reeld sandbox`: the same recordings on every start, since they derive from the seed."""

    def __init__(self, directory, count=10, size=20000, port=None, **options):
        self.port = port or free_port()
        self.count = count
        argv = [BINARY, "sandbox", "--listen", f"127.0.0.1:{self.port}", "--account-sid", ACCOUNT, "--auth-token", TOKEN,
                "--count", str(count), "--size", str(size)]
        for name, value in options.items():
            argv += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
        super().__init__(argv, dict(os.environ, LOG_LEVEL="warn"), os.path.join(directory, f"sandbox-{self.port}.log"))
        wait_until(lambda: self._listening() or not self.running, lambda: "sandbox to listen:\n" + self.output())
        if not self.running:
            raise AssertionError("sandbox ended at once:\n" + self.output())

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _listening(self):
        try:
            return self.stats() is not None
        except (OSError, http.client.HTTPException):
            return False

    def get(self, target):
        token = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        return http_request(self.port, "GET", target, headers={"Authorization": "Basic " + token})

    def recordings(self):
        """All recordings as Twilio's list shows them."""
        found, target = [], f"/2010-04-01/Accounts/{ACCOUNT}/Recordings.json?PageSize=1000"
        while target:
            page = self.get(target).json
            found += page["recordings"]
            target = page["next_page_uri"]
        return found

    def listing(self, **query):
        """sid → what the recording must become (bytes, sha256) and what happened to it. Not subject to faults."""
        reply = http_request(self.port, "GET", "/sandbox/recordings?limit=1000000&" + urllib.parse.urlencode(query), timeout=60)
        assert reply.status == 200, reply
        return {item["sid"]: item for item in reply.json["recordings"]}

    def deliver_all(self, daemon, seconds=DEADLINE, **query):
        """Has the sandbox send callbacks for all its recordings, and waits until each has its answer."""
        query = {"from": 0, "count": self.count, "retry": 1, "target": daemon.url + PATH, **query}
        reply = self.deliver("?" + urllib.parse.urlencode(query))
        assert reply.status == 202, reply
        wait_until(lambda: not self.stats()["callbacks"]["running"], lambda: f"callbacks to end: {self.stats()}", seconds)
        return self.stats()["callbacks"]

    def stats(self):
        reply = http_request(self.port, "GET", "/sandbox/stats")
        return reply.json if reply.status == 200 else None

    def deliver(self, query=""):
        return http_request(self.port, "POST", "/sandbox/deliver" + query, timeout=120)

    def set_faults(self, faults, **query):
        reply = http_request(self.port, "POST", "/sandbox/faults?" + urllib.parse.urlencode({"fault": faults, **query}))
        assert reply.status == 200, reply
        return reply

    def stop(self):
        self.signal(signal.SIGTERM)
        try:
            self.wait(10)
        finally:
            self.kill()


class Daemon:
    """`reeld serve` on one data directory and one port over any number of starts."""

    def __init__(self, directory, twilio_url="http://127.0.0.1:9", **env):
        self.directory = str(directory)
        self.data = os.path.join(self.directory, "data")
        workers = env.get("WORKERS", 1)
        self.port, self.admin_port = free_port(), free_port(workers if isinstance(workers, int) else 1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.starts = 0
        self.env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LISTEN": f"127.0.0.1:{self.port}",
            "ADMIN_LISTEN": f"127.0.0.1:{self.admin_port}", "DATA_DIR": self.data, "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_API_BASE": twilio_url, "RETRY_BASE": "50ms", "RETRY_MAX": "1s", "JOURNAL_SEGMENT": "1MiB",
            "LOG_FORMAT": "json", "LOG_LEVEL": "info",
        }
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        self.env.update({name: str(value) for name, value in env.items()})
        self.env = {name: value for name, value in self.env.items() if value != ""}

    def spawn(self, prefix=()):
        """Starts without waiting; `prefix` is a tracer's command line."""
        self.starts += 1
        self.process = Process([*prefix, BINARY, "serve"], self.env, os.path.join(self.directory, f"reeld-{self.starts}.log"))
        return self

    def start(self, prefix=()):
        self.spawn(prefix)
        wait_until(lambda: self.ready() or not self.process.running, lambda: "ready:\n" + self.process.output())
        assert self.process.running, "reeld ended at once:\n" + self.process.output()
        return self

    @property
    def running(self):
        return self.process is not None and self.process.running

    def get(self, target, port=None, headers=None):
        return http_request(port or self.port, "GET", target, headers=headers)

    def ready(self):
        try:
            return self.get("/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def metrics(self):
        """name{labels} → value, as scraped."""
        text = self.get("/metrics", self.admin_port).body.decode()
        return {m.group(1): float(m.group(2)) for m in re.finditer(r"^([^#\s][^ ]*) (\S+)$", text, re.M)}

    def logs(self):
        """Every JSON log line of the current start."""
        lines = []
        for line in self.process.output().splitlines():
            if line.startswith("{"):
                lines.append(json.loads(line))
        return lines

    def kill(self):
        self.process.kill()

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.process.signal(signal.SIGTERM)
        status = self.process.wait()
        self.process.log.close()
        return status

    def command(self, *arguments, env=None, seconds=DEADLINE):
        """Another reeld command on the same configuration."""
        return subprocess.run([BINARY, *arguments], env=dict(self.env, **(env or {})), capture_output=True, text=True, timeout=seconds,
                              stdin=subprocess.DEVNULL, check=False)

    def post(self, params, token=TOKEN, path=PATH, headers=None, signature=None, timeout=20):
        body = urllib.parse.urlencode(params, quote_via=urllib.parse.quote)
        head = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", "User-Agent": "TwilioProxy/1.1",
                "X-Twilio-Signature": sign(token, self.env.get("PUBLIC_URL", self.url) + path, params) if signature is None else signature}
        head.update(headers or {})
        return http_request(self.port, "POST", path, body, head, timeout)

    # what it left behind
    def query(self, sql, *arguments):
        """Rows of the ledger as dicts; none while it does not exist yet or is busy."""
        path = os.path.join(self.data, "ledger.db")
        if not os.path.exists(path):
            return []
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, arguments)]
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "no such table" in str(error) or "unable to open" in str(error):
                return []
            raise
        finally:
            connection.close()

    def recording(self, sid):
        rows = self.query("SELECT * FROM recordings WHERE recording_sid = ?", sid)
        assert len(rows) <= 1, f"{sid} has {len(rows)} rows"
        return rows[0] if rows else None

    def files(self):
        """Stored recordings: path below DATA_DIR/recordings → absolute path."""
        root = Path(self.data, "recordings")
        return {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()} if root.exists() else {}

    def temporaries(self):
        """Files of uploads that are under way, or were cut."""
        return sorted(path.name for path in Path(self.data, ".tmp").glob("*"))

    def leftovers(self):
        """What lies in the storage and is no recording."""
        return self.temporaries() + [name for name in self.files() if not re.fullmatch(r"\d{4}/\d\d/\d\d/C[AF][0-9a-f]{32}/RE[0-9a-f]{32}\.(wav|mp3)", name)]


def callback_params(recording, status="completed", **changes):
    """A recording callback as Twilio sends it, for a recording of the sandbox's list."""
    params = {
        "RecordingSource": recording["source"], "RecordingTrack": "both", "RecordingSid": recording["sid"],
        "RecordingUrl": f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Recordings/{recording['sid']}",
        "RecordingStatus": status, "RecordingChannels": str(recording["channels"]), "ErrorCode": "0", "CallSid": recording["call_sid"],
        "RecordingStartTime": recording["start_time"], "AccountSid": ACCOUNT, "RecordingDuration": str(recording["duration"]),
    }
    params.update(changes)
    return [(name, value) for name, value in params.items() if value is not None]


class Obligations:
    """What was acknowledged and must come true: `pending()` says what of it has not yet."""

    def settle(self, seconds=DEADLINE):
        """Waits until every obligation is met."""
        wait_until(lambda: not self.pending(),
                   lambda: f"obligations still open: {self.pending()}\nlog:\n{self.daemon.process.output()[-6000:]}", seconds, 0.05)


class Oracle(Obligations):
    """Holds each 2xx for a completed recording as an obligation and checks, from outside, that it was met exactly once."""

    def __init__(self, daemon, sandbox):
        self.daemon, self.sandbox = daemon, sandbox
        self.recordings = {recording["sid"]: recording for recording in sandbox.recordings()}
        self.acknowledged = set()
        self.refused = {}
        self.expected = {}

    def post(self, sid, via=None, **changes):
        """Posts one callback; a peer that dies is no answer and no obligation. Any replica's 2xx is an obligation of all."""
        try:
            reply = (via or self.daemon).post(callback_params(self.recordings[sid], **changes))
        except (OSError, http.client.HTTPException):
            return None
        if 200 <= reply.status < 300:
            self.acknowledged.add(sid)
        else:
            self.refused[sid] = reply.status
        return reply

    def posts(self):
        """One callback for each recording, to be called."""
        return [functools.partial(self.post, sid) for sid in self.recordings]

    def adopt(self):
        """Takes over the obligations from callbacks that the sandbox delivered itself."""
        self.acknowledged |= {sid for sid, item in self.sandbox.listing(sha256=0).items() if item["acknowledged"] > 0}

    def expected_bytes(self, sid):
        """Size and SHA-256 of the recording, from the sandbox without reeld."""
        if sid not in self.expected:
            self.expected = {sid: (item["bytes"], item["sha256"]) for sid, item in self.sandbox.listing(format="wav").items()}
        return self.expected[sid]

    def expected_path(self, sid):
        """Where the recording must be, below DATA_DIR/recordings."""
        recording = self.recordings[sid]
        start = email.utils.parsedate_to_datetime(recording["start_time"])
        return f"{start:%Y/%m/%d}/{recording['call_sid']}/{sid}.wav"

    def pending(self):
        rows = {row["recording_sid"]: row["status"] for row in self.daemon.query("SELECT recording_sid, status FROM recordings")}
        return {sid: rows.get(sid, "not in the ledger") for sid in self.acknowledged if rows.get(sid) != "stored"}

    def check(self):
        """Exactly one file with the right bytes, one row, stored once, the call pointing to it."""
        files = self.daemon.files()
        for sid in self.acknowledged:
            recording = self.recordings[sid]
            row = self.daemon.recording(sid)
            assert row is not None and row["status"] == "stored", f"{sid}: acknowledged, but {row}"
            found = [path for path in files.values() if path.name.startswith(sid)]
            assert len(found) == 1, f"{sid}: {len(found)} files: {found}"
            assert found[0] == files.get(self.expected_path(sid)), f"{sid}: stored as {found[0]}, not as {self.expected_path(sid)}"
            data = found[0].read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            assert (row["bytes"], row["sha256"]) == (len(data), digest), f"{sid}: ledger and file differ"
            assert (len(data), digest) == self.expected_bytes(sid), f"{sid}: not the bytes that Twilio has"
            calls = self.daemon.query("SELECT * FROM calls WHERE twilio_sid = ?", recording["call_sid"])
            assert len(calls) == 1, f"{sid}: {len(calls)} call rows"
            assert calls[0]["recording_url"] == row["url"], f"{sid}: the call does not point to the recording: {calls[0]}"
            stored = self.daemon.query("SELECT count(*) AS n FROM recording_events e JOIN recordings r ON r.id = e.recording_id "
                                       "WHERE r.recording_sid = ? AND e.what = 'stored'", sid)
            assert stored[0]["n"] == 1, f"{sid}: stored {stored[0]['n']} times"
        unknown = [path for path in files.values() if path.name.split(".")[0] not in self.recordings]
        assert not unknown, f"files that nobody ordered: {unknown}"


class Calls(Obligations):
    """What Twilio says of calls, word by word: each 2xx is an obligation here too. `stories`: call SID → (from, to, duration, its words)."""

    STATUS = {"initiated": (0, "RINGING"), "ringing": (0, "RINGING"), "in-progress": (1, "IN_PROGRESS"), "completed": (2, "COMPLETED"),
              "busy": (2, "NO_ANSWER"), "canceled": (2, "FAILED")}

    def __init__(self, daemon, stories):
        self.daemon, self.stories = daemon, stories
        self.acknowledged = set()

    @staticmethod
    def recorded(sandbox, recordings):
        """The stories of calls that were recorded."""
        stories = {}
        for sid in {recording["call_sid"] for recording in recordings.values()}:
            call = sandbox.get(f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{sid}.json").json
            stories[sid] = (call["from"], call["to"], int(call["duration"]), ("ringing", "in-progress", "completed"))
        return stories

    def told(self):
        """All there is to say."""
        return {(sid, word) for sid, story in self.stories.items() for word in story[3]}

    def posts(self):
        """Each word in its turn, to be called."""
        return [functools.partial(self.post, sid, word) for sid, story in self.stories.items() for word in story[3]]

    def post(self, sid, word, via=None):
        """As Oracle.post. `ringing` is the incoming call, which is answered with TwiML."""
        caller, called, duration, _ = self.stories[sid]
        params = [("AccountSid", ACCOUNT), ("CallSid", sid), ("CallStatus", word), ("From", caller), ("To", called)]
        if word == "completed":
            params.append(("CallDuration", str(duration)))
        try:
            reply = (via or self.daemon).post(params, path="/api/twilio/incoming" if word == "ringing" else "/api/twilio/status")
        except (OSError, http.client.HTTPException):
            return None
        if 200 <= reply.status < 300:
            self.acknowledged.add((sid, word))
        return reply

    def rows(self):
        rows = {}
        for row in self.daemon.query("SELECT twilio_sid, from_number, to_number, status, duration FROM calls"):
            rows.setdefault(row.pop("twilio_sid"), []).append(row)
        return rows

    def pending(self):
        """Calls that have not one row, or are not as far as was acknowledged: sid → rows."""
        rows, ranks = self.rows(), dict((name, rank) for rank, name in self.STATUS.values())
        behind = {}
        for sid, word in self.acknowledged:
            found = rows.get(sid, [])
            if len(found) != 1 or ranks[found[0]["status"]] < self.STATUS[word][0] or (word == "completed" and found[0]["duration"] is None):
                behind[sid] = found
        return behind

    def check(self):
        """Once all is acknowledged: exactly one row each, with the last status there is, and the duration if it was told."""
        assert self.acknowledged == self.told()
        rows = self.rows()
        for sid, (caller, called, duration, words) in self.stories.items():
            _, status = max(self.STATUS[word] for word in words)
            due = {"from_number": caller, "to_number": called, "status": status, "duration": duration if "completed" in words else None}
            assert rows.get(sid) == [due], f"{sid}: {words} were acknowledged, but {rows.get(sid)}"
        assert set(rows) == set(self.stories), "calls that nobody made"


class Senders:
    """Twilio's side of a load: each post (a function that returns a Reply, or None for no answer) from one of several threads and in any
    order; what was not answered, or with a 5xx, is posted again, unless `again(post)` says that nobody is there any more."""

    def __init__(self, posts, dice, threads=4, again=lambda post: True):
        self.todo = list(posts)
        dice.shuffle(self.todo)
        self.again = again
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self):
        while not self.stopped.is_set():
            with self.lock:
                if not self.todo:
                    return
                post = self.todo.pop()
            reply = post()
            if (reply is None or reply.status >= 500) and self.again(post):
                with self.lock:
                    self.todo.insert(0, post)
            time.sleep(0.01)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def join(self, seconds):
        for thread in self.threads:
            thread.join(seconds)
        assert not self.todo, f"{len(self.todo)} callbacks were not acknowledged"
