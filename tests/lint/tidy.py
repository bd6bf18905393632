#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""clang-tidy over every .c of src/, several at once: tidy.py BUILD_DIR JOBS. A file that was clean is not looked at again until it, a
header or the configuration changes. Exits 1 when anything is found."""
import concurrent.futures
import glob
import hashlib
import os
import re
import subprocess
import sys


def digest(names):
    value = hashlib.sha256()
    for name in names:
        with open(name, "rb") as file:
            value.update(name.encode() + b"\0" + file.read() + b"\0")
    return value.hexdigest()


def tidy(build, source):
    result = subprocess.run(["clang-tidy", "-p", build, "--quiet", "--extra-arg=-Wno-unknown-warning-option", source], capture_output=True, text=True)
    if result.returncode == 0:
        return ""
    return result.stdout or result.stderr


def main():
    build, jobs = sys.argv[1], int(sys.argv[2])
    cache = os.path.join(build, "tidy")
    os.makedirs(cache, exist_ok=True)
    sources = sorted(glob.glob("src/**/*.c", recursive=True))
    shared = digest(sorted(glob.glob("src/**/*.h", recursive=True) + glob.glob("src/**/*.def", recursive=True)
                           + glob.glob("include/**/*.h", recursive=True)) + [".clang-tidy", "meson.build"])
    found = False
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        pending = {}
        for source in sources:
            stamp = os.path.join(cache, re.sub(r"\W", "_", source))
            key = digest([source]) + shared
            if os.path.exists(stamp) and open(stamp, encoding="utf-8").read() == key:
                continue
            pending[pool.submit(tidy, build, source)] = (stamp, key)
        for future in concurrent.futures.as_completed(pending):
            stamp, key = pending[future]
            if future.result():
                print(future.result())
                found = True
            else:
                with open(stamp, "w", encoding="utf-8") as file:
                    file.write(key)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
