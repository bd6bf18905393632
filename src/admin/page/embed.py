#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Turns the files of the page into C: embed.py OUTPUT FILE...

page.html is served as /, each other one under its name. The ETag is a part of the SHA-256 of its bytes.
"""
import hashlib
import pathlib
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


def main():
    output, files = sys.argv[1], [pathlib.Path(name) for name in sys.argv[2:]]
    lines = ["/* SPDX-License-Identifier: MIT */", "/* Made by src/admin/page/embed.py. */", '#include "admin/page.h"', ""]
    rows = []
    for number, path in enumerate(files):
        data = path.read_bytes()
        lines.append("static const unsigned char bytes_%d[] = {" % number)
        for at in range(0, len(data), 32):
            lines.append("\t" + ",".join("%d" % byte for byte in data[at:at + 32]) + ",")
        lines += ["};", ""]
        target = "/" if path.name == "page.html" else "/" + path.name
        rows.append('\t{"%s", "%s", "\\"%s\\"", bytes_%d, sizeof(bytes_%d)},' %
                    (target, TYPES[path.suffix], hashlib.sha256(data).hexdigest()[:20], number, number))
    lines += ["static const struct page_file list[] = {", *rows, "};", "",
              "const struct page_files page_files = {list, sizeof(list) / sizeof(list[0])};", ""]
    pathlib.Path(output).write_text("\n".join(lines))


main()
