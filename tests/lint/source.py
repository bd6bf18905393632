#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The rules of docs/style.md that a machine can check by reading the source. `source.py CHECK` prints each breach as file:line: text and
exits 1 when there is one. CHECK: banned, includes, spdx, length, docs."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Each has a bounded or checked replacement: snprintf, memcpy, strtoll with checks, REQUIRE, a timer on the loop.
BANNED = ["strcpy", "strncpy", "strcat", "strncat", "sprintf", "vsprintf", "strtok", "atoi", "atol", "atoll", "atof", "gets", "alloca", "assert",
          "system", "popen", "sleep", "usleep", "nanosleep", "tmpnam", "mktemp", "setlocale", "rand", "srand", "gmtime", "localtime", "ctime"]

# A file may include from its own room and from rooms of a lower rank; rooms of one rank may see each other, but for the pairs below.
RANK = {"base": 0, "adapters": 1, "journal": 2, "ledger": 2, "store": 2, "twilio": 2, "pipeline": 3, "intake": 3, "reconcile": 3, "admin": 4, "sandbox": 4,
        "": 5, "cmd": 6}
STRANGERS = {("intake", "pipeline"), ("pipeline", "intake"), ("reconcile", "intake"), ("intake", "reconcile"), ("reconcile", "pipeline"), ("pipeline", "reconcile")}
# Foreign libraries stay behind their adapters: no header of ours drags them into others. A room's private headers (*_internal.h, *_impl.h) may
# include them, and are not included from elsewhere.
PRIVATE = re.compile(r"_(internal|impl)\.h$")
FOREIGN = re.compile(r"^(curl/|sqlite3|openssl/|jansson|expat|llhttp|libpq-fe|hiredis/)")

FILE_LINES = 600
FUNCTION_LINES = 70


def tracked(*suffixes):
    """Files of the source tree by their endings; not what was built or fetched."""
    names = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in ("node_modules", "__pycache__")
                      and not (folder == ROOT and (name == "data" or name.startswith(("build", "."))))]
        names += [os.path.relpath(os.path.join(folder, name), ROOT) for name in files if name.endswith(suffixes)]
    return sorted(names)


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def strip_comments(text):
    """Comments and the insides of string literals become blanks; line numbers stay."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)
    return pattern.sub(lambda match: '""' if match.group().startswith('"') else re.sub(r"[^\n]", " ", match.group()), text)


def check_banned():
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
    for name in tracked(".c", ".h"):
        if not name.startswith(("src/", "include/")):
            continue
        for number, line in enumerate(strip_comments(read(name)).split("\n"), 1):
            match = pattern.search(line)
            if match:
                yield f"{name}:{number}: {match.group(1)}() is banned"


def room_of(path):
    """The room of a file under src/ ("" for the files beside the rooms), None for other places."""
    if not path.startswith("src/"):
        return None
    parts = path.split("/")
    if parts[1:] == ["main.c"]:
        return "cmd"
    return parts[1] if len(parts) > 2 else ""


def check_includes():
    pattern = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
    for name in tracked(".c", ".h"):
        room = room_of(name)
        if room is None:
            continue
        if room not in RANK:
            yield f"{name}:1: {room} is no room of docs/architecture.md"
            continue
        text = read(name)
        for match in pattern.finditer(text):
            place = f"{name}:{text[:match.start(2)].count(chr(10)) + 1}"
            target = match.group(2)
            if match.group(1) == "<":
                if name.endswith(".h") and not PRIVATE.search(name) and FOREIGN.match(target):
                    yield f"{place}: <{target}> belongs into a .c file"
                continue
            if not os.path.exists(os.path.join(ROOT, "src", target)):
                yield f'{place}: "{target}" is not relative to src/'
                continue
            other = room_of("src/" + target)
            if RANK[other] > RANK[room] or (room, other) in STRANGERS or (PRIVATE.search(target) and other != room):
                yield f"{place}: {room or 'src'} may not include from {other or 'src'}"


def check_spdx():
    for name in tracked(".c", ".h", ".def", ".py", ".sh", ".build", ".sql", ".lua") + ["dev", "meson_options.txt"]:
        if "SPDX-License-Identifier: MIT" not in "".join(read(name).split("\n")[:3]):
            yield f"{name}:1: no SPDX-License-Identifier: MIT"


def check_length():
    for name in tracked(".c", ".h"):
        if not name.startswith(("src/", "include/")):
            continue
        lines = read(name).split("\n")
        if len(lines) - 1 > FILE_LINES:
            yield f"{name}:1: {len(lines) - 1} lines, at most {FILE_LINES}"
        start = None
        for number, line in enumerate(lines, 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                if number - start - 1 > FUNCTION_LINES:
                    yield f"{name}:{start}: a function of {number - start - 1} lines, at most {FUNCTION_LINES}"
                start = None


def check_docs():
    """Every metric is documented, every documented one exists, and links between files lead somewhere."""
    metrics = set(re.findall(r'^METRIC\(\w+, \w+, "([^"]+)"', read("src/base/metrics.def"), re.M))
    if os.path.exists(os.path.join(ROOT, "docs/operations.md")):
        documented = set(re.findall(r"^\| `((?:reeld|process)_\w+)", read("docs/operations.md"), re.M))
        for name in sorted(metrics - documented):
            yield f"docs/operations.md:1: {name} is missing"
        for name in sorted(documented - metrics):
            yield f"docs/operations.md:1: {name} does not exist"
    for name in tracked(".md"):
        text = re.sub(r"```.*?```", lambda match: re.sub(r"[^\n]", " ", match.group()), read(name), flags=re.S)
        for match in re.finditer(r"\]\(([^)#\s]+)[^)]*\)", text):
            target = match.group(1)
            if re.match(r"[a-z]+:", target):
                continue
            if not os.path.exists(os.path.join(ROOT, os.path.dirname(name), target)):
                yield f"{name}:{text[:match.start()].count(chr(10)) + 1}: {target} does not exist"


def main():
    check = globals().get("check_" + (sys.argv[1] if len(sys.argv) == 2 else ""))
    if check is None:
        print(__doc__, file=sys.stderr)
        return 2
    breaches = list(check())
    for breach in breaches:
        print(breach)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
