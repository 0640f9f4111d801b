"""The same packets through both sources: off the bus and from a capture."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.flows import FlowSettings, FlowTable
from mtc_sensor.flow import FlowBatch, Kind
from mtc_sensor.wire import assemble
from mtc_sensor.wire.sample import Sample
from mtc_sensor.wire.values import Address, Port, Proto, unmap_address
from tests.unit.capture import frames
from tests.unit.wire.build import records_of, sample

HEAD_BYTES = 160
PROTOS = {1: Proto.ICMP, 58: Proto.ICMP, 6: Proto.TCP, 17: Proto.UDP}


def tcp4(number: int) -> bytes:
    """Return packet `number` of a conversation, requests and answers in turn."""
    if number % 2:
        answer = frames.tcp(b"y" * 700, sport=443, dport=40000, options=bytes(12))
        return frames.ipv4(answer, src=frames.B4, dst=frames.A4)
    return frames.ipv4(frames.tcp(b"x" * 10 * number, flags=0x18 if number else 2))


def udp6(number: int) -> bytes:
    if number % 2:
        answer = frames.udp(b"answer" * 50, sport=53, dport=40000)
        return frames.ipv6(answer, frames.UDP, src=frames.B6, dst=frames.A6)
    return frames.ipv6(frames.udp(b"question"), frames.UDP)


def ping(number: int) -> bytes:
    if number % 2:
        return frames.ipv4(frames.icmp(0), frames.ICMP, src=frames.B4, dst=frames.A4)
    return frames.ipv4(frames.icmp(8), frames.ICMP)


def long_ping(number: int) -> bytes:
    return frames.ipv4(frames.icmp(8, payload=bytes(1000)), frames.ICMP)


def unreachable(number: int) -> bytes:
    return frames.ipv4(frames.icmp(3, 3, b"z" * number), frames.ICMP)


def in_vxlan(number: int) -> bytes:
    inner = frames.ethernet(tcp4(number))
    return frames.ipv4(frames.udp(frames.vxlan(inner), 50000, 4789), frames.UDP, src="10.9.9.9")


Way = tuple[str, int, Callable[[int], bytes]]
WAYS: list[Way] = [
    ("TCP", 1, lambda n: frames.ethernet(tcp4(n))),
    ("UDP over IPv6 in a VLAN", 1, lambda n: frames.ethernet(frames.vlan(udp6(n), 0x86DD), 0x8100)),
    ("ping, cooked", 113, lambda n: frames.sll(ping(n))),
    ("ICMP without a counterpart, raw", 101, unreachable),
    ("long pings", 1, lambda n: frames.ethernet(long_ping(n))),
    ("IP in IP", 101, lambda n: frames.ipv4(tcp4(n), frames.IPIP, src="10.9.9.9")),
    ("GRE", 101, lambda n: frames.ipv4(frames.gre(tcp4(n)), frames.GRE, src="10.9.9.9")),
    ("VXLAN, outer and inner", 1, lambda n: frames.ethernet(in_vxlan(n))),
]


def to_flow_batch(samples: Sequence[Sample]) -> FlowBatch:
    return assemble.to_flow_batch([records_of([one]) for one in samples])


def captured(packets: Sequence[bytes], link: int) -> FlowBatch:
    batch = frames.batch(packets, link, times=[1_000_000 * n for n in range(len(packets))])
    table = FlowTable(FlowSettings(min_packets=1))
    return FlowBatch.concat([table.add(batch, Decoder().decode(batch)), table.finish()])


def exported(flows: FlowBatch, packets: Sequence[bytes], link: int) -> list[Sample]:
    """Return the samples that Zeek would send: where it sends heads, payload lengths unknown."""
    return [_exported(flows.take([row]), packets, link) for row in range(len(flows))]


def _exported(flow: FlowBatch, packets: Sequence[bytes], link: int) -> Sample:
    has_heads = len(flow.head) > 0
    proto = PROTOS[int(flow.proto[0])]
    return Sample(
        run="r", node="zeek", shard=0, seq=1, kind=int(flow.kind[0]), uid="C1",
        orig_h=_address(flow.orig_h), orig_p=Port(int(flow.orig_p[0]), proto),
        resp_h=_address(flow.resp_h), resp_p=Port(int(flow.resp_p[0]), proto),
        start_us=int(flow.start_us[0]),
        samples=flow.samples & ~np.uint64(0xFFFF if has_heads else 0),
        link=link, head=tuple(packet[:HEAD_BYTES] for packet in packets[:8] if has_heads),
        tokens="",
    )  # fmt: skip


def _address(rows: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Address:
    return unmap_address(ipaddress.IPv6Address(rows[0].tobytes()))


@pytest.mark.parametrize(("link", "packet"), [way[1:] for way in WAYS], ids=[w[0] for w in WAYS])
@pytest.mark.parametrize("count", [3, 10])
def test_both_sources_give_the_same_records(
    link: int, packet: Callable[[int], bytes], count: int
) -> None:
    packets = [packet(number) for number in range(count)]
    flows = captured(packets, link)
    assert len(flows) >= (1 if count < 8 else 2)
    batch = to_flow_batch(exported(flows, packets, link))
    assert batch.head_len.all()
    for field in fields(FlowBatch):
        if field.name != "uid":
            ours, theirs = getattr(batch, field.name), getattr(flows, field.name)
            assert ours.dtype == theirs.dtype, field.name
            np.testing.assert_array_equal(ours, theirs, field.name)


def test_a_short_final_of_a_later_block() -> None:
    # Five packets, the last two in the final's block: the first three heads have no sample here.
    packets = [frames.ethernet(tcp4(number)) for number in range(5)]
    flows = captured(packets, 1)
    (whole,) = exported(flows, packets, 1)
    batch = to_flow_batch([replace(whole, kind=int(Kind.FINAL), samples=whole.samples[3:])])
    np.testing.assert_array_equal(batch.samples, flows.samples[3:])
    np.testing.assert_array_equal(batch.head, flows.head)


def test_the_exporter_knows_the_payload_of_a_packet_whose_header_has_no_length() -> None:
    packet = bytearray(frames.ethernet(tcp4(1)))
    packet[16:18] = bytes(2)
    (own,) = exported(captured([bytes(packet)], 1), [bytes(packet)], 1)
    batch = to_flow_batch([replace(own, samples=own.samples | np.uint64(700))])
    np.testing.assert_array_equal(batch.head_len, [80])
    np.testing.assert_array_equal(batch.samples & np.uint64(0xFFFFFFFF), [700])


def test_heads_of_something_else_are_empty() -> None:
    packet = frames.ethernet(tcp4(1))
    heads = (packet, b"", packet[:30], bytes(160), packet)
    (own,) = exported(captured([packet], 1), [packet], 1)
    other = replace(own, resp_p=Port(444, Proto.TCP), samples=own.samples | np.uint64(700))
    batch = to_flow_batch([replace(own, head=heads), replace(other, head=heads)])
    np.testing.assert_array_equal(batch.head_len, [80, 0, 0, 0, 80, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(batch.head_l4, [20, 0, 0, 0, 20, 0, 0, 0, 0, 0])
    assert not batch.head[1].any()
    assert not batch.head[5:].any()
    np.testing.assert_array_equal(batch.head_offsets, [0, 5, 10])
    # The other's payload is what it added.
    np.testing.assert_array_equal(batch.samples & np.uint64(0xFFFF), [700, 700])


def test_a_fragment_has_an_empty_head() -> None:
    first, last = frames.fragments4(frames.udp(b"f" * 200), 104)
    flows = captured([first, last], 101)
    (own,) = exported(flows, [first, last], 101)
    batch = to_flow_batch([replace(own, head=(last,))])
    np.testing.assert_array_equal(batch.head_len, [0])
    np.testing.assert_array_equal(batch.samples, flows.samples)


def test_a_head_does_not_go_on_into_the_next_one() -> None:
    packet = frames.ethernet(tcp4(1))
    (own,) = exported(captured([packet], 1), [packet], 1)
    # An Ethernet header alone, and one whose IP header is cut in the middle.
    heads = (packet[:14], packet[14:], packet[: 14 + 18], packet[14 + 18 :])
    batch = to_flow_batch([replace(own, head=heads)])
    assert (batch.head_len <= [0, 0, 18, 0]).all()


@given(st.lists(st.tuples(st.sampled_from(WAYS), st.binary(max_size=200)), max_size=8), st.data())
def test_any_bytes_are_taken(drawn: list[tuple[Way, bytes]], data: st.DataObject) -> None:
    heads = []
    for (_, _, packet), noise in drawn:
        where = data.draw(st.integers(0, 100))
        heads.append((packet(where % 2)[:where] + noise)[:HEAD_BYTES])
    link = data.draw(st.sampled_from([0, 1, 12, 101, 113, 228, 276, 999]))
    batch = to_flow_batch([replace(sample(), link=link, head=tuple(heads))] * 2)
    assert batch.head.shape == (2 * len(heads), 80)
    assert (batch.head_len <= [len(head) for head in heads] * 2).all()
    assert (batch.head_l4 <= batch.head_len).all()


@given(
    st.sampled_from(WAYS), st.integers(0, 9), st.lists(st.integers(0, 1 << 30)), st.integers(0, 160)
)
def test_the_short_cut_and_the_decoder_find_the_same(
    way: Way, number: int, changes: list[int], size: int
) -> None:
    _, link, packet = way
    (own,) = exported(captured([packet(number)], link), [packet(number)], link)[:1]
    head = bytearray(packet(number)[:HEAD_BYTES])
    for change in changes[:3]:  # a place in the headers and what is there then
        head[(change >> 8) % min(len(head), 64)] = change & 0xFF
    samples = own.samples & ~np.uint64(0xFFFF)
    changed = replace(own, samples=samples, head=(bytes(head[:size]), packet(number)))
    ours = to_flow_batch([changed])
    with pytest.MonkeyPatch.context() as patch:
        everything = np.ones(2, np.bool_)
        patch.setattr(assemble, "_cut_usual", lambda records, batch: everything)
        theirs = to_flow_batch([changed])
    for field in fields(FlowBatch):
        np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name))


def test_no_heads_and_no_samples() -> None:
    assert len(to_flow_batch([])) == 0
    batch = to_flow_batch([sample(packets=3, heads=0), sample(packets=0, heads=0)])
    np.testing.assert_array_equal(batch.packets, [3, 0])
    np.testing.assert_array_equal(batch.heads, [0, 0])
    assert batch.uid.tolist() == [b"CHhAvVGS1DHFjwGM9"] * 2
    assert batch.uid.dtype == "S24"
