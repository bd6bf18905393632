# SPDX-License-Identifier: MIT
"""Containerfile, compose.yaml, Kubernetes manifests and the systemd unit fit reeld's defaults, each other and what docs/deployment.md says.
Reads files only: no container, no network."""
import configparser
import fnmatch
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from reeldlib import BINARY

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "docs" / "kubernetes"
USER = 65532
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "min": 60}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)([a-z]*)", str(text)).groups()
    return int(number) * SECONDS[unit or "s"]


def settings():
    """variable → (kind, default) of src/config.def, with the variables that only other builds have."""
    rows = re.findall(r'^SETTING\((\w+), (\w+), \w+,\s+"([^"]*)"', read("src/config.def"), re.M)
    found = {name: (kind, default) for kind, name, default in rows}
    found.update({name: ("ABSENT", "") for name in re.findall(r"^ABSENT\((\w+),", read("src/config.def"), re.M)})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):  # the AWS chain's own
        found.setdefault(name, ("SECRET" if name.startswith("AWS_SE") else "ABSENT", ""))
    return found


def assert_known(variables):
    known = settings()
    for name in variables:
        plain = name.removesuffix("_FILE") if name != "TWILIO_ACCOUNTS_FILE" else name
        assert plain in known, f"{name} is no variable of reeld"
        may_be_a_file = known[plain][0] in ("SECRET", "TOKENS", "DSN", "ABSENT")
        assert plain == name or may_be_a_file, f"{name}: {plain} is no secret, so it cannot come from a file"


def default(name):
    return settings()[name][1]


def port(name):
    return int(default(name).rsplit(":", 1)[1])


# ---- Containerfile ----

def instructions():
    """(instruction, rest) in order, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", read("Containerfile"), flags=re.M)
    return [tuple(line.split(None, 1)) for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]


def installed(stage):
    stages = "\n".join(" ".join(pair) for pair in instructions()).split("FROM ")
    return set(re.search(r"--no-install-recommends ([^&]*)&&", stages[stage]).group(1).split())


def test_containerfile_fits_the_defaults():
    last = dict(instructions())
    assert last["USER"] == f"{USER}:{USER}" and last["STOPSIGNAL"] == "SIGTERM"
    assert last["ENTRYPOINT"] == '["reeld"]' and last["CMD"] == '["serve"]' and last["HEALTHCHECK"].endswith('CMD ["reeld", "healthcheck"]')
    assert {int(number) for number in last["EXPOSE"].split()} == {port("LISTEN"), port("ADMIN_LISTEN")}
    assert last["VOLUME"] == '["/var/lib/reeld"]' and last["ENV"] == "DATA_DIR=/var/lib/reeld"
    assert ("ARG", "BASE=docker.io/library/debian:bookworm-slim") in instructions()
    assert [rest for name, rest in instructions() if name == "FROM"] == ["${BASE} AS build", "${BASE}"]


def test_containerfile_has_the_version_and_the_packages_of_the_project():
    version = re.search(r"version: '([^']+)'", read("meson.build")).group(1)
    assert ("ARG", f"VERSION={version}") in instructions()
    assert yaml.safe_load(read("docs/kubernetes/kustomization.yaml"))["images"][0]["newTag"] == version
    build = set(re.search(r"^BUILD_PACKAGES='([^']*)'", read("dev"), re.M).group(1).split())
    assert build - {"git"} == installed(1), "`dev` and the Containerfile build with different packages"
    assert not [name for name in installed(2) if name.endswith("-dev") or name in ("gcc", "meson")]
    documented = re.search(r"^libraries: `([^`]*)`", read("docs/deployment.md"), re.M).group(1).split()
    assert set(documented) == installed(2)


def test_the_build_context_is_only_what_is_copied():
    lines = [line for line in read(".containerignore").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {name for kind, rest in instructions() if kind == "COPY" and "--from" not in rest for name in rest.split()[:-1]}
    assert let_in == copied
    assert all((ROOT / name).exists() for name in copied)
    assert "secrets" not in let_in and fnmatch.filter(read(".gitignore").splitlines(), "/secrets/")


# ---- compose ----

@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(read("compose.yaml"))


def test_compose_services_restart_are_checked_and_have_time_to_stop(compose):
    services = compose["services"]
    assert {"reeld", "postgres", "redis", "s3"} <= set(services)
    assert services["postgres"]["image"].endswith("postgres:15") and services["redis"]["image"].endswith("redis:7")
    for name, service in services.items():
        assert "restart" in service, name
        assert ":" in service["image"].rsplit("/", 1)[1], f"{name}: no version"
        if name not in ("reeld", "bucket"):  # the image brings reeld's; the other one ends
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
            assert {"interval", "timeout", "retries"} <= set(service["healthcheck"]), name
            assert service["networks"] == ["back"] and "ports" not in service, f"{name} is reachable from outside"
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"], f"{name}: {volume}"
        for condition in service.get("depends_on", {}):
            assert condition in services
    assert compose["networks"]["back"]["internal"] is True


def test_compose_reeld_fits_the_image_and_the_defaults(compose):
    reeld = compose["services"]["reeld"]
    environment = reeld["environment"]
    assert_known(environment)
    assert seconds(reeld["stop_grace_period"]) >= seconds(environment.get("SHUTDOWN_GRACE", default("SHUTDOWN_GRACE"))) + 10
    assert reeld["user"] == f"{USER}:{USER}" and reeld["read_only"] is True
    assert reeld["cap_drop"] == ["ALL"] and "no-new-privileges:true" in reeld["security_opt"]
    assert reeld["volumes"] == ["journal:/var/lib/reeld"]
    assert [entry.rsplit(":", 1)[1] for entry in reeld["ports"]] == [str(port("LISTEN"))]
    assert "127.0.0.1" in reeld["ports"][0] and "ADMIN_LISTEN" not in environment, "more is open than has to be"
    assert reeld["ulimits"]["nofile"] > int(default("MAX_CONNECTIONS"))


def test_compose_has_no_secret_in_the_environment(compose):
    used = set()
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            secret = re.search("(TOKEN|SECRET|PASSWORD|_URL|SECRET_ACCESS_KEY)$", variable) and variable != "PUBLIC_URL"
            assert not secret, f"{name}: {variable} belongs in a file"
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"], f"{name}: {variable}"
        used |= set(service.get("secrets", []))
    assert used == set(compose["secrets"])


def test_the_documented_lines_make_every_secret_of_compose(compose, tmp_path):
    script = re.search(r"<!-- test: secrets -->\n```sh\n(.*?)```", read("docs/deployment.md"), re.S).group(1)
    subprocess.run(["sh", "-euc", script], cwd=tmp_path, env={"PATH": os.environ["PATH"], "TWILIO_AUTH_TOKEN": "the_token"}, check=True, timeout=30)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(made) == {secret["file"].removeprefix("./secrets/") for secret in compose["secrets"].values()}
    assert made["twilio_auth_token"] == "the_token\n"
    assert made["database_url"] == f"postgres://reeld:{made['postgres_password'].strip()}@postgres:5432/reeld\n"
    assert made["redis_url"] == f"redis://:{made['redis_password'].strip()}@redis:6379/0\n"
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


# ---- Kubernetes ----

@pytest.fixture(scope="module")
def manifests():
    """(kind, name) → document."""
    found = {}
    for path in sorted(KUBERNETES.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document["kind"] == "Kustomization":
                continue
            key = document["kind"], document["metadata"]["name"]
            assert key not in found, f"{path.name}: {key} twice"
            assert document["apiVersion"]
            assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "reeld", path.name
            found[key] = document
    return found


@pytest.fixture(scope="module")
def pod(manifests):
    return manifests["StatefulSet", "reeld"]["spec"]["template"]["spec"]


def test_the_kustomization_has_everything_but_secrets_and_extras():
    kustomization = yaml.safe_load(read("docs/kubernetes/kustomization.yaml"))
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert files - set(kustomization["resources"]) == {"secret.example.yaml", "servicemonitor.yaml"}
    assert set(kustomization["resources"]) <= files
    page = read("docs/deployment.md")
    assert all(name in page for name in files - {"namespace.yaml"})


def test_every_selector_finds_the_pods(manifests):
    stateful = manifests["StatefulSet", "reeld"]
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    ports = {entry["name"]: entry["containerPort"] for entry in stateful["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert ports == {"http": port("LISTEN"), "metrics": port("ADMIN_LISTEN")}
    for kind, name in (("Service", "reeld"), ("Service", "reeld-headless")):
        service = manifests[kind, name]["spec"]
        assert service["selector"].items() <= labels.items()
        assert all(entry["targetPort"] in ports for entry in service["ports"])
    for selector in (stateful["spec"]["selector"], manifests["PodDisruptionBudget", "reeld"]["spec"]["selector"],
                     manifests["NetworkPolicy", "reeld"]["spec"]["podSelector"]):
        assert selector["matchLabels"].items() <= labels.items()
    headless = manifests["Service", stateful["spec"]["serviceName"]]
    assert headless["spec"]["clusterIP"] == "None"
    monitor = manifests["ServiceMonitor", "reeld"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= headless["metadata"]["labels"].items()
    other = manifests["Service", "reeld"]["metadata"]["labels"]
    assert not monitor["selector"]["matchLabels"].items() <= other.items(), "each replica would be scraped twice"
    assert monitor["endpoints"][0]["port"] in {entry["name"] for entry in headless["spec"]["ports"]}
    open_ports = {entry["port"] for rule in manifests["NetworkPolicy", "reeld"]["spec"]["ingress"] for entry in rule["ports"]}
    assert open_ports == set(ports.values())
    annotations = stateful["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["metrics"])


def test_nothing_is_privileged(pod):
    assert pod["automountServiceAccountToken"] is False
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True and {context[name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {USER}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in pod["containers"]:
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] is True and own["allowPrivilegeEscalation"] is False and own["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"] and {"cpu", "memory"} <= set(container["resources"]["requests"])


def test_each_replica_has_a_volume_that_stays(manifests, pod):
    spec = manifests["StatefulSet", "reeld"]["spec"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] == "/var/lib/reeld"
    size = re.fullmatch(r"(\d+)Gi", claim["spec"]["resources"]["requests"]["storage"]).group(1)
    journal = re.fullmatch(r"(\d+)GiB", manifests["ConfigMap", "reeld"]["data"]["JOURNAL_MAX"]).group(1)
    assert int(size) > int(journal) * 1.1
    assert manifests["PodDisruptionBudget", "reeld"]["spec"]["maxUnavailable"] == 1


def test_probes_and_the_time_to_stop(manifests, pod):
    container = pod["containers"][0]
    paths = {name: container[name + "Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert all(container[name + "Probe"]["httpGet"]["port"] == "http" for name in paths)
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = seconds(manifests["ConfigMap", "reeld"]["data"].get("SHUTDOWN_GRACE", default("SHUTDOWN_GRACE")))
    assert pod["terminationGracePeriodSeconds"] >= before + grace + 10


def test_settings_and_secrets_of_the_pod_exist(manifests, pod):
    container = pod["containers"][0]
    config, secret = manifests["ConfigMap", "reeld"]["data"], manifests["Secret", "reeld"]["stringData"]
    files = {entry["name"]: entry["value"] for entry in container["env"]}
    assert_known([*config, *files])
    assert all(isinstance(value, str) for value in config.values()), "a ConfigMap holds strings"
    assert not [name for name in config if settings()[name][0] in ("SECRET", "TOKENS", "DSN")], "a secret in the ConfigMap"
    (mount,) = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "secrets"]
    assert {value for name, value in files.items() if name.endswith("_FILE")} == {f"{mount}/{key}" for key in secret}
    assert not config["ADMIN_LISTEN"].startswith("127.") and "ADMIN_TOKEN_FILE" in files
    monitor = manifests["ServiceMonitor", "reeld"]["spec"]["endpoints"][0]["authorization"]["credentials"]
    assert monitor["key"] in secret


# ---- systemd ----

@pytest.fixture(scope="module")
def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(read("docs/reeld.service"))
    return parser


def test_the_unit_fits_the_defaults(unit):
    service = unit["Service"]
    assert service["Type"] == "notify" and "HUP" in service["ExecReload"] and service["Restart"] == "always"
    assert seconds(service["TimeoutStopSec"]) >= seconds(default("SHUTDOWN_GRACE")) + 10
    assert int(service["LimitNOFILE"]) > int(default("MAX_CONNECTIONS")) + 2 * int(default("MAX_TRANSFERS"))
    assert service["Environment"] == f"DATA_DIR=/var/lib/{service['StateDirectory']}"
    assert service["User"] == "reeld" and service["CapabilityBoundingSet"] == ""


def test_systemd_accepts_the_unit_and_finds_it_closed(tmp_path):
    if not os.path.exists("/usr/bin/systemd-analyze"):
        pytest.fail("systemd-analyze is missing: install systemd")
    copy = tmp_path / "reeld.service"
    copy.write_text(read("docs/reeld.service").replace("/usr/bin/reeld", BINARY))
    verified = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False, timeout=60)
    about_us = [line for line in verified.stderr.splitlines() if "reeld" in line]
    assert verified.returncode == 0 and not about_us, verified.stderr
    rated = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=15", copy], capture_output=True, text=True, check=False,
                           timeout=60)
    assert rated.returncode == 0, rated.stdout[-1500:]


# ---- docs ----

def test_the_page_names_only_variables_that_exist():
    page = read("docs/deployment.md")
    named = {name for name in re.findall(r"`([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", page)}
    own = {"REELD_PUBLISH", "CAP_NET_BIND_SERVICE", "VERSION", "BASE", "SOURCE"}
    assert len(named - own) > 20
    assert_known(named - own)
