#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes s3_cases.json: make_s3_cases.py > s3_cases.json

S3's rules where they differ from other services', and what the published cases leave out; signed here from the documentation alone:
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and sigv4-query-string-auth.html"""
import hashlib
import hmac
import json
from urllib.parse import quote

NOW_MS = 1774311825123
DATE = "20260324T002345Z"
KEY_ID, SECRET, REGION = "rec:rec", "testsecretkey000000000000000000000000001", "eu-central-1"
UNSIGNED = "UNSIGNED-PAYLOAD"


def encode(text, safe=""):
    return quote(text.encode(), safe=safe + "-._~")


def canonical_query(query):
    return "&".join(f"{name}={value}" for name, value in sorted((encode(name), encode(value)) for name, value in query))


def sign(case, extra_headers, query, payload_hash):
    """Canonical request, string to sign and signature."""
    headers = {}
    for name, value in case["headers"] + extra_headers:
        headers.setdefault(name.lower(), []).append(" ".join(value.split()))
    names = sorted(headers)
    canonical = "\n".join([case["method"], encode(case["path"], "/"), canonical_query(query)] +
                          [f"{name}:{','.join(headers[name])}" for name in names] + ["", ";".join(names), payload_hash])
    scope = f"{DATE[:8]}/{REGION}/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{DATE}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + SECRET).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return [canonical, to_sign, hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()]


def make(name, path, method="GET", query=(), headers=(), body="", payload_hash=None, token="", expires=900):
    case = {"source": "s3", "name": name, "method": method, "path": path, "query": [list(pair) for pair in query],
            "headers": [["Host", "bucket.s3.eu-central-1.amazonaws.com"]] + [list(pair) for pair in headers], "body": body, "token": token,
            "token_unsigned": False, "normalize": False, "hash_header": True, "expires": expires}
    if payload_hash is not None:
        case["payload_hash"] = payload_hash
    body_hash = payload_hash or hashlib.sha256(body.encode()).hexdigest()
    extra = [["x-amz-date", DATE], ["x-amz-content-sha256", body_hash]] + ([["x-amz-security-token", token]] if token else [])
    case["header"] = sign(case, extra, case["query"], body_hash)
    names = ";".join(sorted({pair[0].lower() for pair in case["headers"]}))
    added = [["X-Amz-Algorithm", "AWS4-HMAC-SHA256"], ["X-Amz-Credential", f"{KEY_ID}/{DATE[:8]}/{REGION}/s3/aws4_request"],
             ["X-Amz-Date", DATE], ["X-Amz-Expires", str(expires)], ["X-Amz-SignedHeaders", names]]
    case["presigned"] = sign(case, [], case["query"] + added + ([["X-Amz-Security-Token", token]] if token else []), body_hash)
    case["sent"] = encode(path, "/") + ("?" + canonical_query(case["query"]) if query else "")
    return case


def main():
    token = "IQoJb3JpZ2luX2VjE//////////wEaDGV1LWNlbnRyYWwtMSJHMEUCIQ+/=="
    cases = [
        make("object", "/recordings/2026/03/24/CA1/RE1.wav"),
        make("root", "/"),
        make("double slash", "/a//b///c//"),
        make("dot segments", "/a/./b/../c/."),
        make("reserved characters", "/a+b=c*d~e%f&g;h:i@j,k$l!m'n(o)p?q#r[s]t\"u<v>w\\x^y`z|{}"),
        make("percent that looks encoded", "/a%20b%2Fc"),
        make("space", "/a b/c "),
        make("UTF-8", "/\u00fcber/\u1234/\U0001f399.wav"),
        make("control characters", "/a\tb\nc\x7f"),
        make("unsigned payload", "/key", method="PUT", payload_hash=UNSIGNED),
        make("body", "/key", method="PUT", body="RIFF....WAVE", headers=[("Content-Type", "audio/wav"), ("Content-Length", "12")]),
        make("meta beside longer meta", "/key", method="PUT", payload_hash=UNSIGNED,
             headers=[("x-amz-meta-call-sid", "CA1"), ("x-amz-meta-call", "1"), ("X-Amz-Meta-Call-Sid2", "x"), ("x-amz-meta-calls", "2")]),
        make("uploads", "/key", method="POST", query=[("uploads", "")]),
        make("part", "/key", method="PUT", query=[("uploadId", "VXBsb2FkIElE/+="), ("partNumber", "10")], payload_hash=UNSIGNED),
        make("list", "/", query=[("prefix", "recordings/2026 03"), ("list-type", "2"), ("delimiter", "/"), ("continuation-token", "1ue/G+=")]),
        make("query order", "/", query=[("b", "2"), ("a-b", "1"), ("a", "2"), ("a", "10"), ("a", ""), ("A", "x"), ("\u00e4", "y"), ("a.", "z")]),
        make("session token", "/key", token=token, payload_hash=UNSIGNED),
        make("longest validity", "/key", expires=604800, payload_hash=UNSIGNED),
        make("folded values", "/key", headers=[("x-amz-meta-a", "  a   b\tc  "), ("x-amz-meta-a", "d"), ("x-amz-meta-empty", "   ")]),
    ]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    print(f'{{"access_key_id":"{KEY_ID}","secret_access_key":"{SECRET}","region":"{REGION}","service":"s3","now_ms":{NOW_MS},"cases":['
          f"\n{lines}\n]}}")


main()
