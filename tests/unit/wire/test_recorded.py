"""Bytes that a real Zeek sent; tests/data/wire/README.md says how they were recorded."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.wire import binary_events, broker_bin, events, websocket_api
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.events import ExporterDrained, ExporterStatus, VerdictBatch
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.sample import Sample
from mtc_sensor.wire.values import (
    EnumValue,
    Integer,
    Port,
    Proto,
    Set,
    Table,
    Timespan,
    Timestamp,
    Value,
)
from mtc_sensor.wire.websocket_api import DataMessage
from tests.unit.wire.build import assert_equal_records, canonical, records_of

RECORDED = Path(__file__).parents[2] / "data" / "wire"
BINARY = sorted(RECORDED.glob("*.bin"))
JSON = sorted(RECORDED.glob("*.json"))


def types(time_ns: int) -> tuple[Value, ...]:
    return (
        True, 2**64 - 1, Integer(-7), -0.33, b'TEST "\\\n', IPv4Address("192.168.99.9"),
        IPv6Address("2001:db8::1"), IPv4Network("10.0.0.0/8"), IPv6Network("2001:db8::/32"),
        Port(80, Proto.TCP), Port(53, Proto.UDP), Port(8, Proto.ICMP), Port(0, Proto.UNKNOWN),
        Timestamp(time_ns), Timespan(-1_500_000_000), EnumValue("Wire::GREEN"), Set((1, 2)),
        Set(((3, b"x"),)), Table(((b"a", 1),)), (1, 2, 2**63), (), (5, None),
    )  # fmt: skip


def read(path: Path) -> ZeekEvent:
    raw = path.read_bytes()
    if path.suffix == ".bin":
        return broker_bin.decode_event(raw)
    message = websocket_api.decode(raw.decode())
    assert isinstance(message, DataMessage)
    assert message.topic == "/wire/out/"
    return ZeekEvent.from_value(message.value)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("Wire-types.bin", types(1_700_000_000_123_456_000)),
        ("Wire-types.json", types(1_700_000_000_123_000_000)),  # JSON has milliseconds
        ("Wire-ascii.bin", (bytes(range(128)),)),
        ("Wire-ascii.json", (bytes(range(128)),)),
        ("Wire-bytes.bin", (bytes(range(256)),)),
    ],
)
def test_zeeks_types(name: str, args: tuple[Value, ...]) -> None:
    event = read(RECORDED / name)
    assert event.name == name.partition(".")[0].replace("-", "::")
    assert canonical(event.args) == canonical(args)


@pytest.mark.parametrize("suffix", [".bin", ".json"])
def test_zeeks_samples(suffix: str) -> None:
    records = events.decode(read(RECORDED / f"MTC-sample_batch{suffix}"))
    assert isinstance(records, Records)
    first = Sample(
        run="6f1c", node="worker-1", shard=0, seq=1, link=1, kind=0, uid="CHhAvVGS1DHFjwGM9",
        orig_h=IPv4Address("10.0.0.1"), orig_p=Port(49152, Proto.TCP),
        resp_h=IPv4Address("192.0.2.7"), resp_p=Port(443, Proto.TCP),
        start_us=1_700_000_000_123_456,
        # 40 bytes from the originator, 1500 with 1448 of payload back after 1544 us, then much
        # later more than a sample has room for.
        samples=np.array(
            [40 << 16, 1544 << 33 | 1 << 32 | 1500 << 16 | 1448, 2**64 - 1], np.uint64
        ),
        head=(bytes(range(256)), b""), tokens="TLSv12 h2|a b",
    )  # fmt: skip
    second = Sample(
        run="6f1c", node="worker-1", shard=0, seq=2, link=1, kind=2, uid="C9",
        orig_h=IPv6Address("2001:db8::1"), orig_p=Port(128, Proto.ICMP),
        # Zeek writes it with a dotted tail.
        resp_h=IPv6Address("::c000:201"), resp_p=Port(129, Proto.ICMP),
        start_us=0, samples=np.empty(0, np.uint64), head=(), tokens="",
    )  # fmt: skip
    assert_equal_records(records, records_of([first, second]))


@pytest.mark.parametrize("suffix", [".bin", ".json"])
def test_where_zeeks_streams_stand(suffix: str) -> None:
    status = events.decode(read(RECORDED / f"MTC-exporter_status{suffix}"))
    assert status == ExporterStatus("6f1c", "worker-1", 0, 1, 41, 3)
    drained = events.decode(read(RECORDED / f"MTC-exporter_drained{suffix}"))
    assert drained == ExporterDrained("6f1c", "worker-1", 0, 41)


@pytest.mark.parametrize("suffix", [".bin", ".json"])
def test_zeeks_verdicts(suffix: str) -> None:
    event = events.decode(read(RECORDED / f"MTC-verdict_batch{suffix}"))
    assert isinstance(event, VerdictBatch)
    first, second = event.verdicts
    assert (first.sensor, first.run, first.node, first.shard) == ("s1", "6f1c", "worker-1", 0)
    assert (first.seq, first.uid, first.label, first.score) == (
        1,
        "CHhAvVGS1DHFjwGM9",
        "Neris",
        0.875,
    )
    assert first.detail == "a=0.5"
    assert (second.seq, second.kind, second.model, second.flags) == (2, 2, "flowpic", 2)


def test_we_write_verdicts_as_zeek_does() -> None:
    raw = (RECORDED / "MTC-verdict_batch.bin").read_bytes()
    event = binary_events.decode(raw)
    assert isinstance(event, VerdictBatch)
    # But for the time that Zeek sends along.
    envelope = replace(read(RECORDED / "MTC-verdict_batch.bin"), network_time=None)
    assert binary_events.encode(event) == broker_bin.encode_event(envelope)


@pytest.mark.parametrize("path", BINARY, ids=lambda path: path.stem)
def test_our_bytes_are_zeeks(path: Path) -> None:
    assert broker_bin.encode_event(read(path)) == path.read_bytes()


@pytest.mark.parametrize("path", JSON, ids=lambda path: path.stem)
def test_our_text_is_zeeks(path: Path) -> None:
    # But for reals, written with %f there, and control characters, which JSON wants escaped.
    theirs = re.sub(r"\b(0\.\d+?)0+\b", r"\1", path.read_bytes().decode())
    theirs = theirs.replace("\\v", "\\u000b")
    theirs = "".join(c if c >= " " else f"\\u{ord(c):04x}" for c in theirs)
    assert websocket_api.encode(DataMessage("/wire/out/", read(path).to_value())) == theirs


def test_something_was_recorded() -> None:
    assert (len(BINARY), len(JSON)) == (7, 6)
