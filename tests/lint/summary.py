#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Counts test cases for ./dev test. Prints "PASSED FAILED" on stdout for the script, and what failed on stderr for people.

  summary.py meson LOG.json    Criterion's cases one by one; a program that is no Criterion suite counts as one
  summary.py pytest REPORT.xml LOG STATUS     STATUS: pytest's own exit status, which must agree with the report"""
import json
import os
import re
import sys
import xml.etree.ElementTree

SYNTHESIS = re.compile(r"Synthesis: Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def meson(path):
    passed = failed = 0
    with open(path, encoding="utf-8") as file:
        tests = [json.loads(line) for line in file if line.strip()]
    for test in tests:
        good = test["result"] in ("OK", "EXPECTEDFAIL", "SKIP")
        output = ESCAPES.sub("", (test.get("stdout") or "") + (test.get("stderr") or ""))
        cases = SYNTHESIS.search(output)
        if cases is not None:
            passed += int(cases.group(2))
            bad = int(cases.group(3)) + int(cases.group(4))
            failed += bad if good else max(bad, 1)
        else:
            passed += good
            failed += not good
        if not good:
            print(f"FAILED   {test['name']} ({test['result']})", file=sys.stderr)
            print("\n".join("    " + line for line in output.split("\n")[-60:]), file=sys.stderr)
    if not tests:
        raise ValueError("no test ran")
    return passed, failed


def pytest_log(log):
    with open(log, encoding="utf-8", errors="replace") as file:
        print(file.read()[-6000:], file=sys.stderr)


def pytest(path, log, status):
    if not os.path.exists(path):
        pytest_log(log)
        raise ValueError("pytest wrote no report")
    total = bad = skipped = 0
    for suite in xml.etree.ElementTree.parse(path).iter("testsuite"):
        total += int(suite.get("tests"))
        bad += int(suite.get("failures")) + int(suite.get("errors"))
        skipped += int(suite.get("skipped"))
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        for problem in list(case.iter("failure")) + list(case.iter("error")):
            print(f"FAILED   {case.get('classname')}.{case.get('name')}", file=sys.stderr)
            print("\n".join("    " + line for line in (problem.text or "").split("\n")[-40:]), file=sys.stderr)
    if bad == 0 and status != "0":
        pytest_log(log)
        print(f"FAILED   pytest ended with {status}", file=sys.stderr)
        bad = 1
        total += 1
    return max(total - bad - skipped, 0), bad


def main():
    try:
        passed, failed = {"meson": meson, "pytest": pytest}[sys.argv[1]](*sys.argv[2:])
    except (OSError, ValueError) as error:
        print(f"summary: {error}", file=sys.stderr)
        passed, failed = 0, 1
    print(passed, failed)


if __name__ == "__main__":
    main()
