# SPDX-License-Identifier: MIT
"""What the benchmarks share: signed requests, pinned servers, wrk, CPU and memory of a process."""
import base64
import contextlib
import hashlib
import hmac
import os
import re
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from servers.common import free_port  # noqa: E402, F401

ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "benchmarktoken0123456789abcdef01"
PUBLIC_URL = "https://bench.example.com"
PATH = "/api/twilio/recording"
# On a machine with one core both are that one, which is good for a smoke run only.
SERVER_CORE, LOAD_CORE = (str(pick(os.sched_getaffinity(0))) for pick in (min, max))
BOTH_CORES = f"{SERVER_CORE},{LOAD_CORE}"


@contextlib.contextmanager
def on_cores(cores):
    """The bench itself and what it starts without saying where."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def unique_part(index):
    return hashlib.md5(b"%d" % index).hexdigest()


def recording_sids(count):
    """Of the requests from 0."""
    return ["RE" + unique_part(index) for index in range(count)]


def form_fields(index):
    """The parameters of a recording callback in Twilio's order (a 2022 capture), with a SID of its own."""
    unique = unique_part(index)
    return [
        ("RecordingSource", "StartCallRecordingAPI"), ("RecordingTrack", "both"), ("RecordingSid", "RE" + unique),
        ("RecordingUrl", f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Recordings/RE{unique}"),
        ("RecordingStatus", "completed"), ("RecordingChannels", "2"), ("ErrorCode", "0"), ("CallSid", "CA" + unique),
        ("RecordingStartTime", "Wed, 20 Apr 2022 23:45:25 +0000"), ("AccountSid", ACCOUNT), ("RecordingDuration", "11"),
    ]


def percent(text):
    return re.sub(r"[^A-Za-z0-9_.~-]", lambda m: "".join("%%%02X" % b for b in m.group().encode()), text)


def request_templates(close):
    """Everything but the SIDs is the same in all requests, so it is encoded once: a run needs half a million of them."""
    mark = "@" * 32
    fields = [(name, value.replace(unique_part(0), mark)) for name, value in form_fields(0)]
    body = "&".join(f"{name}={percent(value).replace('%40' * 32, mark)}" for name, value in fields)
    message = PUBLIC_URL + PATH + "".join(name + value for name, value in sorted(fields))
    connection = "Connection: close\r\n" if close else ""
    head = (f"POST {PATH} HTTP/1.1\r\nHost: bench.example.com\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\n"
            "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nX-Twilio-Signature: SIGNATURE\r\n"
            f"I-Twilio-Idempotency-Token: 6f1c3b52-5b0e-4f0a-9a35-93b1d3b7a9b1\r\n{connection}"
            f"Content-Length: {len(body)}\r\n\r\n")
    return head.encode(), body.encode(), message.encode(), mark.encode()


def write_requests(path, first, count, close=False):
    head, body, message, mark = request_templates(close)
    key = TOKEN.encode()
    with open(path, "wb") as out:
        for index in range(first, first + count):
            unique = unique_part(index).encode()
            signature = base64.b64encode(hmac.digest(key, message.replace(mark, unique), "sha1"))
            request = head.replace(b"SIGNATURE", signature) + body.replace(mark, unique)
            out.write(b"%08d" % len(request) + request)


def family(pid):
    """The process and its children (nginx's worker)."""
    found = [pid]
    for each in found:
        try:
            with open(f"/proc/{each}/task/{each}/children") as children:
                found += [int(child) for child in children.read().split()]
        except OSError:
            pass
    return found


def cpu_seconds(pid):
    """Of all threads. schedstat has nanoseconds; stat's ticks are too coarse for short runs."""
    try:
        total = 0
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                total += int(stat.read().split()[0])
        return total / 1e9
    except OSError:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def core_busy_seconds(core):
    """Of everything that runs there, in ticks of 10 ms."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, re.search(rf"^cpu{core} (.*)$", stat.read(), re.M).group(1).split()[:7])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class Server:
    """A process pinned to the server's core; only processes started here are ever signalled, by pid."""

    def __init__(self, name, argv, env=None, port=None, cwd=None, log=None, user=None, core=SERVER_CORE):
        self.name, self.port, self.log_path = name, port, log or os.devnull
        self.log = open(self.log_path, "ab")
        full_env = dict(os.environ, **(env or {}))
        self.process = subprocess.Popen(["taskset", "-c", core] + argv, env=full_env, cwd=cwd, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, start_new_session=True, user=user)
        try:
            if port:
                self.wait_port()
        except BaseException:
            self.stop()
            raise

    def wait_port(self, seconds=20):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode} before it listened")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not listen on {self.port}")

    def pids(self):
        return family(self.process.pid)

    def cpu_seconds(self):
        return sum(cpu_seconds(pid) for pid in self.pids())

    def rss_mb(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/status") as status:
                total += int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))
        return total / 1024

    def log_tail(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()[-2000:]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def wrk(port, requests_file, connections, seconds):
    """One run from the load's core. Returns a dict with rates and microseconds."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wrk_replay.lua")
    argv = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency", "-s", script,
            f"http://127.0.0.1:{port}{PATH}", "--", requests_file]
    output = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=seconds + 120).stdout
    line = re.search(r"^RESULT (.*)$", output, re.M)
    if line is None:
        raise RuntimeError("wrk printed no result:\n" + output)
    result = {key: int(value) for key, value in (pair.split("=") for pair in line.group(1).split())}
    result["rate"] = result["requests"] / (result["duration_us"] / 1e6)
    return result


def nginx_server(directory, port, body='{"success":true,"message":"Recording accepted"}'):
    os.makedirs(os.path.join(directory, "tmp"), exist_ok=True)
    config = os.path.join(directory, "nginx.conf")
    with open(config, "w") as out:
        out.write(f"""daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr error; user root;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 60s;
  client_body_temp_path {directory}/tmp/b; proxy_temp_path {directory}/tmp/p; fastcgi_temp_path {directory}/tmp/f;
  uwsgi_temp_path {directory}/tmp/u; scgi_temp_path {directory}/tmp/s;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ default_type application/json; return 200 '{body}'; }}
  }}
}}
""")
    return Server("nginx", [shutil.which("nginx") or "/usr/sbin/nginx", "-c", config, "-p", directory], port=port)


def memory_directory(directory, xattrs=False):
    """A new one in memory: else writing a sink's files back to the disk is what is measured. Below `directory` where there is none such."""
    if os.access("/dev/shm", os.W_OK):
        memory = tempfile.mkdtemp(prefix="reeld-bench-", dir="/dev/shm")
        try:
            if xattrs:
                os.setxattr(memory, "user.bench", b"1")
            return memory
        except OSError:
            os.rmdir(memory)
    return tempfile.mkdtemp(prefix="memory-", dir=directory)


def twilio_and_sink(directory, port, size, core=LOAD_CORE):
    """nginx as both ends: every recording is the same file, and what is PUT lands in a directory. It checks no signature and stores no
    metadata; the ETag is that of the one file, so that an uploader that compares it finds its bytes. All of it lies in memory."""
    memory = memory_directory(directory)
    for name in ("tmp", "media", "sink"):
        os.makedirs(os.path.join(memory, name))
    data = (b"RIFF" + (size - 8).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little") + (1).to_bytes(2, "little") + (1).to_bytes(2, "little")
            + (8000).to_bytes(4, "little") + (16000).to_bytes(4, "little") + (2).to_bytes(2, "little") + (16).to_bytes(2, "little") + b"data"
            + (size - 44).to_bytes(4, "little"))
    data += bytes(size - len(data))
    with open(os.path.join(memory, "media", "audio.wav"), "wb") as out:
        out.write(data)
    config = os.path.join(directory, "nginx.conf")
    with open(config, "w") as out:
        out.write(f"""daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr error; user root;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 60s; sendfile on; client_max_body_size 0;
  client_body_temp_path {memory}/tmp/b; proxy_temp_path {memory}/tmp/p; fastcgi_temp_path {memory}/tmp/f;
  uwsgi_temp_path {memory}/tmp/u; scgi_temp_path {memory}/tmp/s;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /2010-04-01/ {{ root {memory}/media; types {{ }} default_type audio/x-wav; try_files /audio.wav =404; }}
    location / {{
      root {memory}; dav_methods PUT DELETE; create_full_put_path on; etag off;
      add_header ETag '"{hashlib.md5(data).hexdigest()}"' always;
    }}
  }}
}}
""")
    server = Server("nginx", [shutil.which("nginx") or "/usr/sbin/nginx", "-c", config, "-p", directory], port=port, core=core)
    server.sink, server.sha256 = os.path.join(memory, "sink"), hashlib.sha256(data).hexdigest()
    stop = server.stop

    def stop_and_forget():
        stop()
        shutil.rmtree(memory)
    server.stop = stop_and_forget
    return server


def post_all(port, requests_file, count, connections=16):
    """Sends each request once, over a few keep-alive connections with one request on its way in each; every answer must be 200. One thread:
    it shares its core with the servers that are not measured, so it has to be cheap."""
    requests = []
    with open(requests_file, "rb") as file:
        while len(requests) < count:
            requests.append(file.read(int(file.read(8))))
    requests.reverse()
    with selectors.DefaultSelector() as selector:
        peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(min(connections, count))]
        for peer in peers:
            selector.register(peer, selectors.EVENT_READ, bytearray())
            peer.sendall(requests.pop())
        open_peers = len(peers)
        while open_peers > 0:
            for key, _ in selector.select():
                answer = key.data
                got = key.fileobj.recv(65536)
                answer += got
                head = answer.find(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", answer[:head + 2]) if head >= 0 else None
                if got and (length is None or len(answer) < head + 4 + int(length.group(1))):
                    continue
                if b" 200 " not in answer[:16]:
                    raise RuntimeError(f"answered {bytes(answer[:80])!r}")
                answer.clear()
                if requests:
                    key.fileobj.sendall(requests.pop())
                else:
                    selector.unregister(key.fileobj)
                    open_peers -= 1
        for peer in peers:
            peer.close()


def reeld_environment(directory, port, **extra):
    environment = {
        "LISTEN": f"127.0.0.1:{port}", "ADMIN_LISTEN": "off", "DATA_DIR": os.path.join(directory, "data"), "PUBLIC_URL": PUBLIC_URL,
        "TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_API_BASE": "http://127.0.0.1:9", "LOG_LEVEL": "warn",
        "LOG_FORMAT": "json", "MAX_CONNECTIONS": "8192",
    }
    environment.update(extra)
    return environment


def reeld_server(binary, directory, port, core=SERVER_CORE, **extra):
    os.makedirs(directory, exist_ok=True)
    return Server("reeld", [binary, "serve"], env=reeld_environment(directory, port, **extra), port=port,
                  log=os.path.join(directory, "reeld.log"), core=core)


def median(values):
    return statistics.median(values) if values else float("nan")
