# SPDX-License-Identifier: MIT
"""Where the pipeline's recordings go, and the look at what is really there after a run."""
import hashlib
import os
import random
import shutil

import benchlib as lib
from servers.swift import Swift

SAMPLES = 8


class NginxSink:
    """The nginx that serves the media takes them by PUT as well: it checks no signature, and costs next to nothing."""

    name = "nginx"

    def __init__(self, web, _directory):
        self.web = web

    def environment(self):
        return {"S3_ENDPOINT": f"http://127.0.0.1:{self.web.port}", "S3_BUCKET": "sink", "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "bench",
                "AWS_SECRET_ACCESS_KEY": "benchbenchbench"}

    def cpu_seconds(self):
        return self.web.cpu_seconds()

    def objects(self):
        """Key → bytes of each object."""
        return {os.path.relpath(os.path.join(folder, name), self.web.sink): os.path.getsize(os.path.join(folder, name))
                for folder, _, names in os.walk(self.web.sink) for name in names}

    def read(self, key):
        with open(os.path.join(self.web.sink, key), "rb") as file:
            return file.read()

    def stop(self):
        """It ends with its web server."""


class SwiftSink:
    """OpenStack Swift's S3 API, which verifies each signature. Its servers run on the cores of who starts it, its device lies in memory where
    that has user xattrs."""

    name = "swift"

    def __init__(self, _web, directory):
        self.directory = lib.memory_directory(directory, xattrs=True)
        self.swift = Swift(self.directory)
        try:
            self.swift.start()
        except BaseException:
            self.stop()
            raise

    def environment(self):
        return {"S3_ENDPOINT": self.swift.endpoint(), "S3_BUCKET": self.swift.bucket, "AWS_REGION": self.swift.region,
                "AWS_ACCESS_KEY_ID": self.swift.key_id, "AWS_SECRET_ACCESS_KEY": self.swift.secret}

    def cpu_seconds(self):
        return sum(lib.cpu_seconds(pid) for part in self.swift.parts for pid in lib.family(part.child.pid))

    def objects(self):
        return self.swift.keys()

    def read(self, key):
        return self.swift.request("GET", f"/{self.swift.bucket}/{key}")

    def stop(self):
        self.swift.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


SINKS = {sink.name: sink for sink in (NginxSink, SwiftSink)}


def check_stored(sink, sids, size, sha256):
    """Raises unless there is one object for each recording and no other, all of that size, and the bytes of some picked at random are right.
    What the ledger says is the word of who is measured; this is not."""
    found = sink.objects()
    missing = set(sids) - {os.path.basename(key).partition(".")[0] for key in found}
    if missing:
        raise RuntimeError(f"{sink.name}: {len(missing)} of {len(sids)} recordings are not there, among them {min(missing)}")
    if len(found) != len(sids):
        raise RuntimeError(f"{sink.name}: {len(found)} objects for {len(sids)} recordings")
    for key, got in found.items():
        if got != size:
            raise RuntimeError(f"{sink.name}: {key} has {got} bytes, not {size}")
    for key in random.sample(sorted(found), min(SAMPLES, len(found))):
        if hashlib.sha256(sink.read(key)).hexdigest() != sha256:
            raise RuntimeError(f"{sink.name}: {key} does not have the recording's bytes")
