# SPDX-License-Identifier: MIT
"""The same event again: at once, later, after a restart. One effect."""
import threading

from reeldlib import Oracle, wait_until


def test_fifty_at_once_are_one_recording(sandbox, daemon):
    peer = sandbox(count=1, size="2MB")
    reeld = daemon(peer).start()
    oracle = Oracle(reeld, peer)
    sid = next(iter(oracle.recordings))
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(oracle.post(sid))) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status for reply in replies] == [200] * 50
    oracle.settle()
    oracle.check()
    assert peer.listing()[sid]["media_complete"] == 1, "fetched more than once"
    assert reeld.stop() == 0


def test_after_archiving_the_answer_names_the_recording(sandbox, daemon):
    peer = sandbox(count=1)
    reeld = daemon(peer).start()
    oracle = Oracle(reeld, peer)
    sid = next(iter(oracle.recordings))
    oracle.post(sid)
    oracle.settle()
    reply = wait_until(lambda: (lambda r: r if "recordingUrl" in r.json else None)(oracle.post(sid)), "the filter to know")
    assert reply.json == {"success": True, "message": "Recording already processed", "recordingUrl": reeld.recording(sid)["url"]}
    metrics = reeld.metrics()
    assert sum(value for name, value in metrics.items() if name.startswith("reeld_duplicates_total")) >= 1
    oracle.check()


def test_a_duplicate_after_a_restart_changes_nothing(sandbox, daemon):
    peer = sandbox(count=3)
    reeld = daemon(peer).start()
    oracle = Oracle(reeld, peer)
    for sid in oracle.recordings:
        oracle.post(sid)
    oracle.settle()
    before = reeld.query("SELECT recording_sid, stored_at, attempts FROM recordings ORDER BY id")
    assert reeld.stop() == 0
    reeld.start()
    for sid in oracle.recordings:
        assert oracle.post(sid).status == 200
    wait_until(lambda: reeld.metrics()["reeld_inbox_events"] == 0, "the duplicates to be forwarded")
    assert reeld.query("SELECT recording_sid, stored_at, attempts FROM recordings ORDER BY id") == before
    assert {item["media_complete"] for item in peer.listing().values()} == {1}
    oracle.check()


def test_duplicates_while_the_first_is_still_being_fetched(sandbox, daemon):
    peer = sandbox(count=4, fault="stall", fault_attempts=1, stall="1s")
    reeld = daemon(peer).start()
    oracle = Oracle(reeld, peer)
    for sid in oracle.recordings:
        oracle.post(sid)
    wait_until(lambda: peer.stats()["faults"]["stall"] == 4, "all downloads to stand still")
    for sid in oracle.recordings:
        assert oracle.post(sid).status == 200
    oracle.settle()
    oracle.check()
    assert {item["media_requests"] for item in peer.listing().values()} == {1}
