"""A real cluster of five processes, its workers reading captures, and sensors beside it."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.zeek.beside import DEMO, wait_for, write_flows
from tests.zeek.cluster import Cluster, SensorProcess, sensor

pytestmark = [pytest.mark.zeek, pytest.mark.slow]
RECORDS = 308
"""That the scripts make of the demo's capture; it has malicious flows."""
FLOWS = 50


@pytest.mark.parametrize(
    ("kind", "backend"),
    [
        ("zeromq", "zeromq"),
        ("broker", "broker"),
        pytest.param("websocket", "zeromq", marks=pytest.mark.long),
        pytest.param("websocket", "broker", marks=pytest.mark.long),
    ],
)
def test_two_workers_are_judged(kind: str, backend: str, tmp_path: Path) -> None:
    flows = write_flows(tmp_path / "flows.pcap", FLOWS, seconds=1, packets=4)
    with Cluster(tmp_path, backend) as cluster, sensor(cluster, kind) as judge:
        workers = [cluster.worker("worker-1", DEMO), cluster.worker("worker-2", flows)]
        assert [worker.streams() for worker in workers] == [[settled(RECORDS)], [settled(FLOWS)]]
        assert_judged(judge, RECORDS + FLOWS)
        cluster.end()
        assert_logged(cluster, judge)
        labelled = {line["uid"] for line in cluster.log("conn") if line["mtc_label"] != "-"}
        assert labelled == {line["uid"] for line in cluster.log("mtc")}


@pytest.mark.long
def test_two_shards_have_two_sensors(tmp_path: Path) -> None:
    flows = write_flows(tmp_path / "flows.pcap", FLOWS, seconds=1, packets=4)
    with (
        Cluster(tmp_path) as cluster,
        sensor(cluster, name="s0", shards=[0]) as first,
        sensor(cluster, name="s1", shards=[1]) as second,
    ):
        started = [
            cluster.worker("worker-1", DEMO, "MTC::shards=2"),
            cluster.worker("worker-2", flows, "MTC::shards=2"),
        ]
        streams = [stream for worker in started for stream in worker.streams()]
        parts = [sum(st["last"] for st in streams if st["shard"] == shard) for shard in (0, 1)]
        assert sum(parts) == RECORDS + FLOWS
        assert min(parts) > 0
        assert streams == [settled(stream["last"], stream["shard"]) for stream in streams]
        assert_judged(first, parts[0])
        assert_judged(second, parts[1])
        cluster.end()
        uids = [{line["uid"] for line in each.verdicts()} for each in (first, second)]
        assert not uids[0] & uids[1]
        assert {line["uid"] for line in cluster.log("mtc")} == uids[0] | uids[1]


@pytest.mark.parametrize(
    ("kind", "backend"),
    [
        ("websocket", "zeromq"),
        pytest.param("zeromq", "zeromq", marks=pytest.mark.long),
        pytest.param("broker", "broker", marks=pytest.mark.long),
    ],
)
def test_a_worker_that_starts_again_is_a_new_run(kind: str, backend: str, tmp_path: Path) -> None:
    flows = write_flows(tmp_path / "flows.pcap", FLOWS, seconds=1, packets=8)
    with Cluster(tmp_path, backend) as cluster, sensor(cluster, kind) as judge:
        old = cluster.worker("worker-1", flows, "dies")
        wait_for(lambda: len(judge.verdicts()) == 32)
        wait_for(lambda: "32 are settled" in (old.folder / "stdout").read_text())
        old.process.send_signal(signal.SIGKILL)
        new = cluster.worker("worker-1", flows)
        # Eight packets make an early record and, in the end, a final one.
        assert new.streams() == [settled(2 * FLOWS)]
        last = judge.end()
        assert (last["judged"], last["lost"]) == (32 + 2 * FLOWS, 5)
        assert (last["shed"], last["in_flight"]) == (0, 0)
        cluster.end()


def settled(records: int, shard: int = 0) -> dict[str, int]:
    """Return what a worker says of a stream of which nothing is missing."""
    return {"shard": shard, "last": records, "acked": records, "shed": 0, "lost": 0}


def assert_judged(judge: SensorProcess, records: int) -> None:
    """End a sensor; assert that it has judged so many samples, and that no other were made."""
    last = judge.end()
    counts = {name: last[name] for name in ("judged", "shed", "lost", "in_flight")}
    assert counts == {"judged": records, "shed": 0, "lost": 0, "in_flight": 0}


def assert_logged(cluster: Cluster, judge: SensorProcess) -> None:
    """Assert that the logger has each verdict, and a notice of each malicious pair of hosts."""
    verdicts, lines = judge.verdicts(), cluster.log("mtc")
    told = Counter((line["uid"], line["model"], line["label"], line["kind"]) for line in lines)
    assert told == Counter((v["uid"], v["model"], v["label"], v["kind"]) for v in verdicts)
    expected = {
        (line["id.orig_h"], line["id.resp_h"], line["id.resp_p"], line["label"])
        for line in lines
        if line["malicious"] == "T"
    }
    notices = [line for line in cluster.log("notice") if line["note"] == "MTC::Malicious_Flow"]
    assert len(notices) == len(expected) > 0
    assert {(line["src"], line["dst"], line["p"]) for line in notices} == {e[:3] for e in expected}
