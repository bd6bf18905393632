# SPDX-License-Identifier: MIT
"""OpenStack Swift with its S3 API, from Debian's packages: an object store that verifies SigV4 strictly. Four servers and memcached, one
device, one replica, on free loopback ports. The directory must be on a file system with user xattrs (ext4; tmpfs since Linux 6.6), and
/etc/swift/swift.conf must be there, as the package leaves it: it is the one file Swift reads from /etc."""
import getpass
import hashlib
import hmac
import os
import subprocess
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree

from .common import Server, free_port, start_all

BACKENDS = ("account", "container", "object")


class Part(Server):
    """One process of it."""

    def __init__(self, directory, name, argv, port):
        self.name = name
        super().__init__(directory)
        self.arguments = argv
        self.port = port

    def argv(self):
        return self.arguments


class Swift(Server):
    name = "swift"
    region = "us-east-1"
    key_id = "rec:rec"  # account:user, so a colon
    secret = "testsecretkey000000000000000000000000001"
    bucket = "recordings-test"

    def __init__(self, directory):
        super().__init__(directory)
        self.etc = os.path.join(self.directory, "etc")
        self.devices = os.path.join(self.directory, "devices")
        self.ports = {name: free_port() for name in (*BACKENDS, "memcached")}
        self.parts = []

    # ---- Set up ----

    def prepare(self):
        os.makedirs(self.etc, exist_ok=True)
        os.makedirs(os.path.join(self.devices, "d1"), exist_ok=True)
        self.make_rings()
        for name in BACKENDS:
            self.write(f"{name}-server.conf", f"""
                {self.defaults(self.ports[name])}
                devices = {self.devices}
                mount_check = false
                [pipeline:main]
                pipeline = {name}-server
                [app:{name}-server]
                use = egg:swift#{name}
                log_requests = false
                """)
        self.write("proxy-server.conf", f"""
            {self.defaults(self.port)}
            [pipeline:main]
            pipeline = catch_errors cache listing_formats bulk s3api tempauth slo proxy-server
            [app:proxy-server]
            use = egg:swift#proxy
            account_autocreate = true
            allow_account_management = true
            [filter:catch_errors]
            use = egg:swift#catch_errors
            [filter:cache]
            use = egg:swift#memcache
            memcache_servers = 127.0.0.1:{self.ports["memcached"]}
            [filter:listing_formats]
            use = egg:swift#listing_formats
            [filter:bulk]
            use = egg:swift#bulk
            [filter:s3api]
            use = egg:swift#s3api
            location = {self.region}
            s3_acl = false
            dns_compliant_bucket_names = true
            allow_multipart_uploads = true
            min_segment_size = 5242880
            [filter:tempauth]
            use = egg:swift#tempauth
            user_rec_rec = {self.secret} .admin
            [filter:slo]
            use = egg:swift#slo
            """)

    def defaults(self, port):
        # No workers: each server is one process. The log goes to a socket that is not there. Long times, for a busy machine: no request
        # between the servers is given up, and no update of a listing is put off (nobody would make up for it here).
        return f"""
                [DEFAULT]
                bind_ip = 127.0.0.1
                bind_port = {port}
                user = {getpass.getuser()}
                swift_dir = {self.etc}
                workers = 0
                log_address = {self.directory}/nolog
                log_level = ERROR
                conn_timeout = 10
                node_timeout = 60
                container_update_timeout = 60
                """.strip()

    def write(self, name, text):
        with open(os.path.join(self.etc, name), "w", encoding="ascii") as file:
            file.writelines(line.strip() + "\n" for line in text.strip().split("\n"))

    def make_rings(self):
        """One device holds everything. By one process for all three: swift-ring-builder takes a second for each of its steps."""
        script = ("import sys\n"
                  "from swift.common.ring import RingBuilder\n"
                  "for name, port in (word.split('=') for word in sys.argv[2:]):\n"
                  "    builder = RingBuilder(4, 1, 0)\n"
                  "    builder.add_dev({'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': int(port), 'device': 'd1', 'weight': 1,\n"
                  "                     'replication_ip': '127.0.0.1', 'replication_port': int(port)})\n"
                  "    builder.rebalance()\n"
                  "    builder.get_ring().save(f'{sys.argv[1]}/{name}.ring.gz')\n")
        # Debian's own Python: it has the package.
        done = subprocess.run(["/usr/bin/python3", "-c", script, self.etc, *(f"{name}={self.ports[name]}" for name in BACKENDS)], check=False,
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"Swift's rings: {done.stdout}{done.stderr}")

    # ---- The processes ----

    def start(self):
        if not self.prepared:
            self.prepare()
            self.prepared = True
        argv = ["memcached", "-l", "127.0.0.1", "-p", str(self.ports["memcached"]), "-m", "16", "-u", getpass.getuser()]
        self.parts = [Part(self.directory, "memcached", argv, self.ports["memcached"])]
        for name in BACKENDS:
            self.parts.append(self.part(name, self.ports[name]))
        self.parts.append(self.part("proxy", self.port))
        try:
            start_all(self.parts)
            self.make_bucket()
        except RuntimeError:
            self.kill()
            raise
        return self

    def part(self, name, port):
        return Part(self.directory, name, [f"swift-{name}-server", os.path.join(self.etc, f"{name}-server.conf")], port)

    def stop(self, number=None):
        for part in reversed(self.parts):
            part.stop(*([number] if number else []))
        self.parts = []

    def kill(self):
        for part in reversed(self.parts):
            part.kill()
        self.parts = []

    def alive(self):
        return all(part.alive() for part in self.parts)

    def kill_proxy(self):
        """What its clients see is gone; the servers behind it stay, which makes coming back quick."""
        self.parts[-1].kill()

    def start_proxy(self):
        self.parts[-1].start()

    def pause(self):
        self.parts[-1].pause()

    def resume(self):
        self.parts[-1].resume()

    # ---- Its S3 side ----

    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def make_bucket(self, name=None):
        self.request("PUT", f"/{name or self.bucket}")

    def request(self, method, path, query="", body=b""):
        """A signed request, for setting things up and looking at them from outside; `path` and `query` are sent as they are."""
        return self.exchange(method, path, query, body)[1]

    def exchange(self, method, path, query="", body=b""):
        """The same; headers and body of the answer."""
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        host = f"127.0.0.1:{self.port}"
        sha256 = hashlib.sha256(body).hexdigest()
        canonical = f"{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{sha256}\nx-amz-date:{now}\n\n" \
                    f"host;x-amz-content-sha256;x-amz-date\n{sha256}"
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = ("AWS4" + self.secret).encode()
        for word in (now[:8], self.region, "s3", "aws4_request"):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        request = urllib.request.Request(f"http://{host}{path}" + (f"?{query}" if query else ""), data=body or None, method=method, headers={
            "x-amz-date": now, "x-amz-content-sha256": sha256,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.key_id}/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
                             f"Signature={signature}"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.headers, answer.read()

    def listed(self, what, bucket=None):
        """Every key of the bucket → what the server's list says of it ("ETag")."""
        found, query = {}, "list-type=2&max-keys=1000"
        while True:
            answer = xml.etree.ElementTree.fromstring(self.request("GET", f"/{bucket or self.bucket}", query))
            space = answer.tag.partition("}")[0] + "}"
            for item in answer.iter(space + "Contents"):
                found[item.findtext(space + "Key")] = item.findtext(space + what)
            if answer.findtext(space + "IsTruncated") != "true":
                return found
            query = f"list-type=2&max-keys=1000&start-after={urllib.parse.quote(max(found), safe='')}"

    def keys(self, bucket=None):
        """Every key of the bucket → its size, as the server lists them."""
        return {key: int(size) for key, size in self.listed("Size", bucket).items()}

    def environment(self):
        return {"REELD_TEST_S3_ENDPOINT": self.endpoint(), "REELD_TEST_S3_REGION": self.region, "REELD_TEST_S3_BUCKET": self.bucket,
                "REELD_TEST_S3_KEY_ID": self.key_id, "REELD_TEST_S3_SECRET": self.secret}
