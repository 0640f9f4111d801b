"""The same records from a real Zeek and from capture; what may differ is in docs/parity.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mtc_sensor import judging
from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.flow import FlowBatch, Kind
from mtc_sensor.wire.assemble import to_flow_batch
from mtc_sensor.wire.records import Records
from mtc_sensor.zeek_replay import ZeekSetup, replay_zeek
from mtc_sensor.zeek_summary import ZeekSummary
from tests.zeek import conversations
from tests.zeek.conversations import in_order, write_pcap
from tests.zeek.parity import (
    Comparison,
    compare,
    compare_all,
    differing,
    flows,
    matched,
    of_capture,
)

pytestmark = [pytest.mark.zeek, pytest.mark.slow]

CAPTURES = [
    "benign/mercury/geneve.pcap",
    "benign/ndpi/wa_voice.pcap",
    "malware/trickbot/2017-06-12-Trickbot-malspam-traffic.pcap",
    "ustc-tfc2016/Neris.val.pcap",
    "iscx-vpn/vpn_p2p.val.pcap",
]
"""Tunnels; long connections; what the sensor is for; cut sessions; raw IP."""
LONG_CAPTURES = ["benign", "malware", "ustc-tfc2016", "iscx-vpn"]


def _same(comparison: Comparison, flows: int) -> None:
    assert comparison.fault == ""
    assert comparison.differences == []
    assert comparison.flows >= flows


def test_whatever_is_in_a_capture(tmp_path: Path) -> None:
    talks = [
        *conversations.tcp_talks(),
        *conversations.links(),
        *conversations.tunnels(),
        *conversations.others(),
        *conversations.bad_checksums(),
    ]
    comparison = compare(write_pcap(tmp_path / "all.pcap", in_order(talks)))
    _same(comparison, 45)


def test_long_connections(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "long.pcap", in_order(conversations.long_talks()))
    comparison = compare(path)
    _same(comparison, 7)
    assert comparison.records[Kind.BLOCK] > 15


def test_other_settings(tmp_path: Path) -> None:
    talks = [*conversations.long_talks(), *conversations.tcp_talks()]
    path = write_pcap(tmp_path / "long.pcap", in_order(talks))
    _same(compare(path, FlowSettings(min_packets=2, max_samples=30, block_s=20.0)), 17)


def test_checksums_that_are_verified(tmp_path: Path) -> None:
    talks = [*conversations.bad_checksums(), *conversations.links(), *conversations.others()]
    path = write_pcap(tmp_path / "bad.pcap", in_order(talks))
    ignored, verified = compare(path), compare(path, verify_checksums=True)
    _same(verified, 13)
    assert verified.packets < ignored.packets


def test_packets_cut_short(tmp_path: Path) -> None:
    talks = [*conversations.tcp_talks(), *conversations.links(), *conversations.tunnels()]
    _same(compare(write_pcap(tmp_path / "cut.pcap", in_order(talks), snaplen=150)), 25)


@pytest.mark.parametrize("link", [12, 101])
def test_raw_ip(link: int, tmp_path: Path) -> None:
    timed = in_order(conversations.tcp_talks())
    path = write_pcap(tmp_path / "raw.pcap", [(at, frame[14:]) for at, frame in timed], link)
    _same(compare(path), 8)


def test_packets_at_time_zero(tmp_path: Path) -> None:
    """Zeek says that its time begins with each of them."""
    path = tmp_path / "zero.pcap"
    packets = conversations.in_ethernet(conversations.udp_talk())
    timed = conversations.steps(packets, begin=-conversations.START_S, every=0.0)
    _same(compare(write_pcap(path, timed)), 1)


def test_fragments_differ_in_their_heads_only(tmp_path: Path) -> None:
    path = write_pcap(tmp_path / "fragments.pcap", in_order(conversations.fragmented()))
    comparison = compare(path)
    assert comparison.fault == ""
    assert [difference.causes for difference in comparison.differences] == [("heads",)] * 3
    assert comparison.flows == 3


@pytest.mark.parametrize("transport", ["zeromq", "websocket"])
def test_over_the_wire(transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talks = [*conversations.tunnels(), *conversations.tcp_talks(), *conversations.long_talks()]
    path = write_pcap(tmp_path / "all.pcap", in_order(talks))
    batches: list[FlowBatch] = []

    def recorded(parts: Sequence[Records], head_bytes: int) -> FlowBatch:
        batches.append(to_flow_batch(parts, head_bytes))
        return batches[-1]

    monkeypatch.setattr(judging, "to_flow_batch", recorded)
    summary = ZeekSummary()
    replay_zeek(path, tmp_path, ZeekSetup(transport), (), summary)
    ours = of_capture(path, FlowSettings(), verify_checksums=False).records
    assert summary.errors == []
    pairs = list(matched(flows(FlowBatch.concat(batches)), flows(ours)))
    assert [causes for pair in pairs if (causes := differing(*pair))] == []
    assert len(pairs) >= 30


@pytest.mark.data
def test_real_captures(data: Path) -> None:
    comparisons = list(compare_all([data / name for name in CAPTURES], FlowSettings()))
    for comparison in comparisons:
        _same(comparison, 1)


@pytest.mark.data
@pytest.mark.long
def test_hundreds_of_real_captures(data: Path) -> None:
    captures = [path for name in LONG_CAPTURES for path in sorted((data / name).rglob("*.pcap"))]
    comparisons = list(compare_all(captures, FlowSettings()))
    assert len(comparisons) >= 300
    assert [comparison for comparison in comparisons if comparison.fault] == []
    differences = sum(len(comparison.differences) for comparison in comparisons)
    assert differences <= 0.005 * sum(comparison.flows for comparison in comparisons)
