# SPDX-License-Identifier: MIT
"""The private listener and health."""
import http.client
import shutil
import subprocess

import pytest
from reeldlib import Oracle, http_request


@pytest.fixture
def busy(sandbox, daemon):
    """A daemon whose metrics have something to say."""
    peer = sandbox(count=20, fault="404-first,500,dup:0.5", fault_attempts=1)
    reeld = daemon(peer, RETRY_MAX="200ms").start()
    peer.deliver_all(reeld)
    oracle = Oracle(reeld, peer)
    oracle.adopt()
    oracle.settle()
    return reeld


def test_promtool_accepts_the_metrics(busy):
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool (Debian package prometheus) is needed"
    reply = busy.get("/metrics", busy.admin_port)
    assert reply.status == 200 and reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    result = subprocess.run([promtool, "check", "metrics"], input=reply.body, capture_output=True, check=False)
    assert result.returncode == 0 and result.stderr == b"" and result.stdout == b"", result


def test_openmetrics_when_asked_for(busy):
    reply = busy.get("/metrics", busy.admin_port, {"Accept": "application/openmetrics-text; version=1.0.0"})
    assert reply.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert reply.body.endswith(b"# EOF\n")


def test_the_counters_add_up(busy):
    metrics = busy.metrics()
    answered = sum(value for name, value in metrics.items() if name.startswith("reeld_webhooks_total"))
    assert answered == metrics["reeld_webhook_duration_seconds_count"] >= 20
    assert metrics['reeld_jobs_finished_total{outcome="stored"}'] == 20
    assert metrics['reeld_transfer_bytes_total{direction="out"}'] >= 20 * 19000
    assert metrics["reeld_transfers_in_flight"] == 0 and metrics["reeld_inbox_events"] == 0
    assert sum(value for name, value in metrics.items() if name.startswith("reeld_retries_total")) > 0
    assert metrics["process_resident_memory_bytes"] > 0 and metrics["process_open_fds"] > 0
    assert any(name.startswith('reeld_build_info{version="') for name in metrics)


def test_counters_are_there_before_they_count(daemon):
    """Else the first dead recording is no increase to who watches."""
    reeld = daemon().start()
    metrics = reeld.metrics()
    assert [metrics[f'reeld_jobs_finished_total{{outcome="{outcome}"}}'] for outcome in ("stored", "skipped", "absent", "failed", "dead")] == [0] * 5
    assert [metrics[f'reeld_transfer_bytes_total{{direction="{direction}"}}'] for direction in ("in", "out")] == [0, 0]
    assert reeld.stop() == 0


def test_health_and_readiness(busy):
    for port in (busy.port, busy.admin_port):
        assert busy.get("/healthz", port).json == {"status": "ok"}
        ready = busy.get("/readyz", port)
        assert ready.status == 200 and isinstance(ready.json, dict) and len(ready.json) > 1, ready
        assert http_request(port, "HEAD", "/healthz").body == b""
        assert http_request(port, "POST", "/healthz").status == 405
    assert busy.get("/nonsense", busy.admin_port).status == 404


def test_the_private_listener_can_be_off(sandbox, daemon):
    reeld = daemon(sandbox(count=1), ADMIN_LISTEN="off").start()
    with pytest.raises((OSError, http.client.HTTPException)):
        reeld.get("/metrics", reeld.admin_port)
    assert reeld.stop() == 0
