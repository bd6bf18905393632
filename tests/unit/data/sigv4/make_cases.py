#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes cases.json from AWS's published cases: make_cases.py AWS_C_AUTH BOTOCORE > cases.json

AWS_C_AUTH: tests/aws-signing-test-suite of https://github.com/awslabs/aws-c-auth (its folder v4); BOTOCORE: tests/unit/auth/aws4_testsuite of
https://github.com/boto/botocore. Requests are taken apart into what a signer is given; what is expected is copied as published."""
import json
import os
import sys
from urllib.parse import unquote

EPOCH_MS = 1440938160000  # 2015-08-30T12:36:00Z
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def read(*parts):
    with open(os.path.join(*parts), encoding="utf-8", newline="") as file:
        return file.read().replace("\r\n", "\n")


def split_query(query):
    return [[unquote(part.partition("=")[0]), unquote(part.partition("=")[2])] for part in query.split("&") if part]


def take_apart(text):
    """Method, raw path, decoded query, headers (a continuation line stays in its value) and body."""
    head, _, body = text.partition("\n\n")
    lines = head.rstrip("\n").split("\n")
    method, _, rest = lines[0].partition(" ")
    target = rest.rpartition(" HTTP/1.1")[0]
    path, _, query = target.partition("?")
    headers = []
    for line in lines[1:]:
        if line[0] in " \t":
            headers[-1][1] += "\n" + line
        else:
            name, _, value = line.partition(":")
            headers.append([name, value])
    return {"method": method, "path": path, "query": split_query(query), "headers": headers, "body": body}


def aws_c_auth(folder):
    for name in sorted(os.listdir(folder)):
        context = json.loads(read(folder, name, "context.json"))
        assert context["credentials"]["secret_access_key"] == SECRET and context["timestamp"] == "2015-08-30T12:36:00Z"
        case = {"source": "aws-c-auth", "name": name, **take_apart(read(folder, name, "request.txt"))}
        case.update(token=context["credentials"].get("token", ""), token_unsigned=context.get("omit_session_token", False),
                    normalize=context["normalize"], hash_header=context["sign_body"], expires=context["expiration_in_seconds"])
        for field, kind in (("header", "header"), ("presigned", "query")):
            case[field] = [read(folder, name, f"{kind}-{part}.txt").rstrip("\n")
                          for part in ("canonical-request", "string-to-sign", "signature")]
        yield case


def botocore(folder):
    for path, _, files in sorted(os.walk(folder)):
        names = [file for file in files if file.endswith(".req")]
        if not names:
            continue
        name = names[0][:-len(".req")]
        case = {"source": "botocore", "name": name, **take_apart(read(path, name + ".req"))}
        canonical = read(path, name + ".creq").rstrip("\n")
        sent = dict(take_apart(read(path, name + ".sreq"))["headers"])
        token = sent.get("X-Amz-Security-Token", "")
        case["headers"] = [header for header in case["headers"] if header[0].lower() not in ("x-amz-date", "x-amz-security-token")]
        case.update(token=token, token_unsigned=token != "" and "x-amz-security-token" not in canonical, normalize=True,
                    hash_header="x-amz-content-sha256:" in canonical, expires=0)
        signature = read(path, name + ".authz").strip().rpartition("Signature=")[2]
        case["header"] = [canonical, read(path, name + ".sts").rstrip("\n"), signature]
        yield case


def main():
    cases = list(aws_c_auth(sys.argv[1])) + list(botocore(sys.argv[2]))
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
    print(f'{{"access_key_id":"AKIDEXAMPLE","secret_access_key":"{SECRET}","region":"us-east-1","service":"service","now_ms":{EPOCH_MS},"cases":['
          f"\n{lines}\n]}}")


main()
