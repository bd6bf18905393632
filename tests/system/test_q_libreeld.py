# SPDX-License-Identifier: MIT
"""libreeld as others use it: installed, found with pkg-config, and nothing of the source tree in sight."""
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from reeldlib import BINARY, TOKEN, sign

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(BINARY).resolve().parent
MESON = "/usr/bin/meson" if os.path.exists("/usr/bin/meson") else "meson"
HEADERS = sorted(path.name for path in (ROOT / "include/reeld").glob("*.h"))
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
URL = "https://calls.example.com/cgi-bin/voice.cgi"

pytestmark = pytest.mark.skipif(not (BUILD / "build.ninja").exists(), reason="the binary is in no build directory")


def run(*command, env=None, stdin=None):
    result = subprocess.run([str(part) for part in command], env={**os.environ, **(env or {})}, input=stdin, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result


def options():
    return {option["name"]: option["value"] for option in json.loads(run(MESON, "introspect", BUILD, "--buildoptions").stdout)}


def sanitizer_flags():
    sanitize = options()["b_sanitize"]
    return [] if sanitize == "none" else [f"-fsanitize={sanitize}"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What `meson install --destdir` leaves, as a sysroot."""
    destination = tmp_path_factory.mktemp("destdir")
    targets = [name for target in json.loads(run(MESON, "introspect", BUILD, "--targets").stdout) if target["installed"] for name in target["filename"]]
    run("ninja", "-C", BUILD, *(os.path.relpath(name, BUILD) for name in targets))
    run(MESON, "install", "-C", BUILD, "--no-rebuild", "--destdir", destination)
    return destination


def found(destination, name):
    paths = [path for path in destination.rglob(name) if not path.is_symlink()]
    assert len(paths) == 1, f"{name}: {paths}"
    return paths[0]


def pkg_config(destination, *arguments):
    env = {"PKG_CONFIG_PATH": str(found(destination, "libreeld.pc").parent), "PKG_CONFIG_SYSROOT_DIR": str(destination)}
    return shlex.split(run("pkg-config", *arguments, "libreeld", env=env).stdout)


def test_all_that_is_promised_is_installed(installed):
    assert sorted(path.name for path in found(installed, "twiml.h").parent.iterdir()) == HEADERS
    programs = [path for path in installed.rglob("reeld") if path.parent.name == "bin"]
    assert len(programs) == 1
    assert pkg_config(installed, "--modversion") == run(programs[0], "--version").stdout.split()[1:]
    assert re.search(r"^Requires: libcrypto >= 3", found(installed, "libreeld.pc").read_text(), re.M)
    assert str(ROOT) not in found(installed, "libreeld.pc").read_text()


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("compiler", [["gcc", "-std=c17", "-x", "c"], ["g++", "-std=c++11", "-x", "c++"], ["g++", "-std=c++20", "-x", "c++"]], ids=["c17", "c++11", "c++20"])
def test_a_header_stands_alone(installed, tmp_path, header, compiler):
    source = tmp_path / "source"
    source.write_text(f"#include <reeld/{header}>\n#include <reeld/{header}>\nint main(void) {{ return 0; }}\n")
    run(*compiler, *STRICT, *pkg_config(installed, "--cflags"), "-fsyntax-only", source)


def test_a_cpp_program_links(installed, tmp_path):
    source = tmp_path / "main.cc"
    source.write_text("".join(f"#include <reeld/{header}>\n" for header in HEADERS) + """
int main() {
    char key[256], mask[16];
    reeld_phone_mask("+15005550006", 12, mask, sizeof(mask));
    reeld_signature_key *signature = reeld_signature_key_new("12345", 5);
    reeld_signature_key_free(&signature);
    return reeld_storage_key(key, sizeof(key), "", 0, "CA00000000000000000000000000000000", "RE00000000000000000000000000000000", "wav") > 0 ? 0 : 1;
}
""")
    run("g++", "-std=c++11", *STRICT, *sanitizer_flags(), source, "-o", tmp_path / "main", *pkg_config(installed, "--cflags", "--libs"))
    run(tmp_path / "main")


@pytest.fixture(scope="module", params=[[], ["--static"]], ids=["libs", "libs-static"])
def example(request, installed, tmp_path_factory):
    program = tmp_path_factory.mktemp("example") / "voice.cgi"
    flags = pkg_config(installed, *request.param, "--cflags", "--libs")
    run("gcc", "-std=c17", *STRICT, *sanitizer_flags(), ROOT / "docs/examples/voice.c", "-o", program, *flags)
    return program


def request(program, params, signature=None):
    env = {"PATH": os.environ["PATH"], "TWILIO_AUTH_TOKEN": TOKEN, "VOICE_URL": URL, "COUNTRY": "US", "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
           "AWS_SECRET_ACCESS_KEY": "secret", "S3_HOST": "bucket.s3.eu-central-1.amazonaws.com",
           "HTTP_X_TWILIO_SIGNATURE": sign(TOKEN, URL, params.items()) if signature is None else signature}
    result = subprocess.run([program], env=env, input=urlencode(params), capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result
    head, _, body = result.stdout.partition("\n\n")
    return head, body, result.stderr


def test_the_example_answers_a_call(example):
    head, body, log = request(example, {"CallSid": "CA" + "1" * 32, "From": "(415) 555-2671", "To": "+15005550006"})
    assert head == "Content-Type: text/xml"
    assert log == "voice: a call from ********2671\n"
    assert body.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    response = ElementTree.fromstring(body.encode())
    assert [element.tag for element in response.iter()] == ["Response", "Start", "Recording", "Say"]
    assert response.find("Start/Recording").attrib == {"recordingStatusCallback": URL + "#rc=5&rp=all", "recordingStatusCallbackEvent": "completed absent", "channels": "dual"}
    assert response.find("Say").text == "This call is recorded & kept."


def test_the_example_knows_withheld_callers(example):
    assert request(example, {"CallSid": "CA" + "1" * 32, "From": "+266696687"})[2] == "voice: a call from ******6687 (withheld)\n"


def test_the_example_finds_the_recording(example):
    call, recording = "CA" + "1" * 32, "RE" + "2" * 32
    head, body, log = request(example, {"CallSid": call, "RecordingSid": recording, "RecordingStatus": "completed"})
    assert head.startswith("Status: 204") and body == ""
    key = re.search(rf"^voice: key (recordings/\d{{4}}/\d\d/\d\d/{call}/{recording}\.wav)$", log, re.M)
    assert key, log
    assert re.search(rf"^voice: link https://bucket\.s3\.eu-central-1\.amazonaws\.com/{re.escape(key[1])}\?X-Amz-Algorithm=AWS4-HMAC-SHA256&.*X-Amz-Signature=[0-9a-f]{{64}}$", log, re.M), log


@pytest.mark.parametrize("signature", ["", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="])
def test_the_example_refuses_a_wrong_signature(example, signature):
    head, body, _ = request(example, {"CallSid": "CA" + "1" * 32, "From": "+14155552671"}, signature)
    assert head.startswith("Status: 403") and "<" not in body


def test_the_code_in_the_documentation_compiles(installed, tmp_path):
    blocks = re.findall(r"^```c\n(.*?)^```", (ROOT / "docs/libreeld.md").read_text(), re.M | re.S)
    assert len(blocks) >= 4
    for number, block in enumerate(blocks):
        source = tmp_path / f"block{number}.c"
        source.write_text(block)
        run("gcc", "-std=c17", *STRICT, *pkg_config(installed, "--cflags"), "-fsyntax-only", source)


def public_functions():
    text = "".join((ROOT / "include/reeld" / header).read_text() for header in HEADERS)
    return set(re.findall(r"\b(reeld_\w+)\(", re.sub(r"/\*.*?\*/", "", text, flags=re.S)))


def test_the_archive_defines_names_of_its_own_only(installed):
    archives = [path for path in installed.rglob("libreeld.a")]
    for archive in archives:
        names = {line.split()[-1] for line in run("nm", "--extern-only", "--defined-only", archive).stdout.splitlines() if len(line.split()) == 3}
        names = {name for name in names if not name.startswith(("__asan", "__odr_asan", "__ubsan"))}
        assert names >= public_functions()
        assert [name for name in names if not name.startswith("reeld_")] == []


def test_the_shared_library_exports_the_headers_functions_and_no_other(tmp_path):
    compiler = {"CC": "gcc"}
    run(MESON, "setup", "--wrap-mode=nodownload", "-Ddefault_library=shared", "-Dtests=false", tmp_path / "build", ROOT, env=compiler)
    library = next(name for target in json.loads(run(MESON, "introspect", tmp_path / "build", "--targets").stdout) if target["type"] == "shared library" for name in target["filename"])
    run("ninja", "-C", tmp_path / "build", os.path.basename(library))
    exported = {line.split()[-1] for line in run("nm", "--dynamic", "--extern-only", "--defined-only", library).stdout.splitlines()}
    assert exported == public_functions()
    assert re.search(r"SONAME.*\[libreeld\.so\.0\]", run("readelf", "--dynamic", library).stdout)
