"""The decoder as a whole: no byte outside a packet counts, no input breaks it, batches are free."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.packets import DecodedBatch, PacketBatch
from tests.unit.capture.decoded import Row, equal, rows
from tests.unit.capture.frames import batch
from tests.unit.capture.samples import SAMPLES

POISON = [b"", b"\x00" * 64, b"\xff" * 64, bytes(range(64, 128)), b"\x45" * 64]


def _decode(packets: PacketBatch) -> tuple[DecodedBatch, dict[str, int]]:
    decoder = Decoder()
    decoded = decoder.decode(packets)
    _check_places(packets, decoded)
    return decoded, dict(decoder.counts)


def _check_places(packets: PacketBatch, decoded: DecodedBatch) -> None:
    start = packets.offset[decoded.packet]
    assert np.all(np.diff(decoded.packet) >= 0)
    assert np.all(decoded.ip_offset >= start)
    assert np.all(decoded.ip_offset + decoded.ip_captured <= start + packets.caplen[decoded.packet])
    assert np.all((decoded.l4_offset == 0) | (decoded.l4_offset + 8 <= decoded.ip_captured))
    assert np.all((decoded.payload >= 0) & (decoded.ip_len >= 0))
    assert np.all(np.isin(decoded.proto, (1, 6, 17, 58)))


@pytest.mark.parametrize("number", range(len(SAMPLES)))
def test_a_frame_may_be_cut_anywhere_and_what_follows_does_not_count(number: int) -> None:
    link, frame = SAMPLES[number]
    cuts = [frame[:size] for size in range(len(frame) + 1)]
    wire = [len(frame)] * len(cuts)

    results = [_decode(batch(cuts, link, wire=wire, between=poison)) for poison in POISON]
    # The hardest poison: what was cut off.
    packets = batch([frame] * len(cuts), link)
    results.append(_decode(replace(packets, caplen=np.arange(len(cuts), dtype=np.int64))))

    for decoded, counts in results[1:]:
        assert equal(decoded, results[0][0])
        assert counts == results[0][1]


def _mutated(frame: bytes, changes: Sequence[tuple[int, int]], size: int) -> bytes:
    changed = bytearray(frame)
    for at, value in changes:
        changed[at % len(frame)] = value
    return bytes(changed[: max(len(frame) - size, 0)])


MUTANTS = st.builds(
    lambda sample, changes, size: (sample[0], _mutated(sample[1], changes, size)),
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    st.one_of(st.just(0), st.integers(0, 80)),
)


@given(st.lists(MUTANTS, min_size=1, max_size=12), st.sampled_from(POISON))
@settings(max_examples=150)
def test_mutants_decode_alike_in_one_batch_and_one_by_one(
    mutants: list[tuple[int, bytes]], poison: bytes
) -> None:
    links, frames = [link for link, _ in mutants], [frame for _, frame in mutants]
    together, counts = _decode(batch(frames, links))

    decoder = Decoder()
    alone = [
        decoder.decode(batch([frame], link, times=[i], between=poison))
        for i, (link, frame) in enumerate(mutants)
    ]

    assert [row._replace(packet=i) for i, part in enumerate(alone) for row in rows(part)] == (
        rows(together)
    )
    assert decoder.counts == counts


@given(st.lists(st.binary(max_size=120), max_size=8), st.sampled_from([0, 1, 101, 113, 276, 999]))
@settings(max_examples=150)
def test_random_bytes_decode_to_something(frames: list[bytes], link: int) -> None:
    decoded, counts = _decode(batch(frames, link))

    assert set(decoded.packet.tolist()) <= set(range(len(frames)))
    assert len(decoded) + sum(counts.values()) >= len(frames)


PORTS = st.integers(1024, 2000)
TRANSPORTS = st.one_of(
    st.builds(
        lambda sport, dport, flags, words: TCP(
            sport=sport, dport=dport, flags=flags, options=[("NOP", None)] * (4 * words)
        ),
        PORTS,
        PORTS,
        st.integers(0, 255),
        st.integers(0, 10),
    ),
    st.builds(lambda sport, dport: UDP(sport=sport, dport=dport), PORTS, PORTS),
)
V4 = st.ip_addresses(network="0.0.0.0/0").map(str)
V6 = st.ip_addresses(network="2000::/3").map(str)
NETWORKS = st.one_of(
    st.builds(lambda src, dst: IP(src=src, dst=dst), V4, V4),
    st.builds(lambda src, dst: IPv6(src=src, dst=dst), V6, V6),
)
STACKS = st.builds(
    lambda tags, network, transport, payload: functools.reduce(
        lambda outer, inner: outer / inner,
        [Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")]
        + [Dot1Q(vlan=tag) for tag in tags]
        + [network, transport, Raw(payload)],
    ),
    st.lists(st.integers(0, 4095), max_size=2),
    NETWORKS,
    TRANSPORTS,
    st.binary(max_size=100),
)


@given(st.lists(STACKS, min_size=1, max_size=6))
@settings(max_examples=60)
def test_scapy_sees_the_same(stacks: list[Packet]) -> None:
    frames = [bytes(stack) for stack in stacks]

    decoded, counts = _decode(batch(frames))

    assert rows(decoded) == [_by_scapy(i, frame) for i, frame in enumerate(frames)]
    assert counts == {}


def _by_scapy(number: int, frame: bytes) -> Row:
    stack = Ether(frame)
    network = stack[IP] if IP in stack else stack[IPv6]
    transport = network.payload
    payload = len(network) - len(transport)
    size = network.len if IP in stack else network.plen + 40
    header = transport.dataofs * 4 if TCP in stack else 8
    return Row(
        number,
        6 if TCP in stack else 17,
        network.src,
        transport.sport,
        network.dst,
        transport.dport,
        size,
        size - payload - header,
    )


def test_scapy_sees_the_same_icmp() -> None:
    frames = [bytes(Ether() / IP(src="1.2.3.4", dst="4.3.2.1") / ICMP(type=t)) for t in range(256)]

    decoded, _ = _decode(batch(frames))

    assert decoded.sport.tolist() == [Ether(frame)[ICMP].type for frame in frames]
    assert decoded.packet.tolist() == list(range(256))
