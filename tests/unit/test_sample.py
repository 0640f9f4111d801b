"""The bundled sample is what its script makes, and holds what it promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.capture.pcap import read_packets
from mtc_sensor.capture.records import CaptureFile
from mtc_sensor.flow import FlowBatch, Kind, address_texts
from samples.make_sample import main
from tests.conftest import SAMPLE


def finals() -> FlowBatch:
    records = FlowBatch.concat(list(CaptureFile(SAMPLE, FlowSettings(min_packets=1))))
    return records.take(records.kind == Kind.FINAL)


def test_the_script_makes_the_same_bytes_again(tmp_path: Path) -> None:
    main(tmp_path / "again.pcap")
    assert (tmp_path / "again.pcap").read_bytes() == SAMPLE.read_bytes()


def test_it_holds_many_flows_of_ordinary_protocols() -> None:
    flows = finals()
    assert len(flows) >= 200
    assert set(flows.proto.tolist()) == {1, 6, 17}
    assert {22, 25, 53, 80, 123, 143, 443} <= set(flows.resp_p.tolist())


def test_it_holds_ipv6_and_vlans() -> None:
    assert any(":" in address for address in address_texts(finals().orig_h))
    (packets,) = read_packets(SAMPLE)
    tags = packets.data[packets.offset[:, None] + np.array([12, 13])]
    assert (tags == [0x81, 0x00]).all(axis=1).any()


def test_the_emulated_beacon_is_regular() -> None:
    flows = finals()
    beacons = flows.take(np.array(address_texts(flows.resp_h)) == "203.0.113.77")
    gaps = np.diff(np.sort(beacons.start_us)) / 1e6
    assert len(beacons) == 19
    assert abs(gaps - 30).max() < 1
