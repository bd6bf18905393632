#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Turns numbered .sql files into a C array: embed.py OUTPUT DIALECT FILE...

The array is `const struct migration migrations_<dialect>[]`, ordered by number. Numbers must be 1, 2, 3, ... without a gap.
"""
import hashlib
import pathlib
import re
import sys


def c_string(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return "\n".join('\t\t"%s\\n"' % line for line in escaped.split("\n"))


def main():
    output, dialect, files = sys.argv[1], sys.argv[2], sys.argv[3:]
    lines = [
        "/* SPDX-License-Identifier: MIT */",
        "/* Made by migrations/embed.py. */",
        '#include "ledger/migrations.h"',
        "",
        "static const struct migration list[] = {",
    ]
    for expected, path in enumerate(sorted(map(pathlib.Path, files), key=lambda p: p.name), start=1):
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)\.sql", path.name)
        if not match or int(match.group(1)) != expected:
            sys.exit("%s: want %04d_name.sql here" % (path, expected))
        data = path.read_bytes()
        lines += [
            "\t{%d, \"%s\", \"%s\"," % (expected, path.stem, hashlib.sha256(data).hexdigest()),
            c_string(data.decode("ascii").rstrip("\n")) + "},",
        ]
    lines += [
        "};",
        "",
        "const struct migration_set migrations_%s = {list, sizeof(list) / sizeof(list[0])};" % dialect,
        "",
    ]
    pathlib.Path(output).write_text("\n".join(lines))


main()
