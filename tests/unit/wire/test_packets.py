"""Packets of a record: from what Zeek counted to samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.flow import Samples, pack_samples, unpack_samples
from mtc_sensor.wire._payloads import set_payloads
from mtc_sensor.wire.sample import write
from tests.unit.wire.build import line, read_lines, sample

ORIG, RESP = 0, 1
TCP, UDP, ICMP = 6, 17, 1


def read(times: str, counters: list[int]) -> list[tuple[int, int, int, int]]:
    """Return time, direction, length and payload of packets."""
    text = ",".join(str(counter % 2**64) for counter in counters)
    samples = read_lines(
        line(packets=f'{{"times":[{times}],"counters":[{text}]}}'.encode())
    ).samples
    return list(zip(*(column.tolist() for column in unpack_samples(samples)), strict=True))


def test_counters_are_subtracted() -> None:
    counters = [7, 7 + 60, 7 + 60 + 1500 * 2**17 + 1448 * 2**34]
    assert read("1700000000.123456,1700000001.0", counters) == [
        (0, ORIG, 60, 0),
        (876_544, RESP, 1500, 1448),
    ]


def test_counters_are_cut_to_64_bits() -> None:
    before = 2**64 - 5
    assert read("3.5", [before, before + 1500 + 1448 * 2**34]) == [(0, ORIG, 1500, 1448)]


def test_what_there_is_no_room_for() -> None:
    longest = [0, 70_000 * 2**17, 70_000 * 2**17 + 100_000 * 2**34]
    assert read("5,999999", longest) == [(0, RESP, 65_535, 0), (2**31 - 1, ORIG, 0, 65_535)]


def test_time_and_stream_can_go_back() -> None:
    assert read("5.0,4.9", [0, 40, 80 - 300 * 2**34]) == [(0, ORIG, 40, 0), (0, ORIG, 40, 0)]


@pytest.mark.parametrize(
    ("seconds", "microseconds"),
    [("1", 0), ("1.0", 0), ("1.0000014", 1), ("1.0000015", 2), ("1.00000149999", 1)],
)
def test_times_are_rounded_to_microseconds(seconds: str, microseconds: int) -> None:
    assert read(f"1,{seconds}", [0, 40, 80])[1][0] == microseconds


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**31 - 1), st.booleans(), st.integers(1, 65_535), st.integers(0, 65_535)
        )
    )
)
def test_what_is_written_is_read(packets: list[tuple[int, bool, int, int]]) -> None:
    columns = [np.array(column, np.int64) for column in zip(*packets, strict=True)]
    samples = pack_samples(*columns) if packets else np.empty(0, np.uint64)
    samples[:1] &= np.uint64(2**33 - 1)
    written = write(replace(sample(), samples=samples))
    np.testing.assert_array_equal(read_lines(written).samples, samples)


def payloads(proto: int, least: int, *packets: tuple[int, int, int]) -> list[int]:
    """Return what is payload of packets of one record: direction, length, and what they added."""
    return [int(payload) for payload in told(proto, least, packets).payload]


def told(proto: int, least: int, packets: Sequence[tuple[int, int, int]]) -> Samples:
    sides, lengths, added = (np.array(column, np.int64) for column in zip(*packets, strict=True))
    samples = pack_samples(np.zeros(len(packets), np.int64), sides, lengths, added)
    offsets = np.array([0, len(packets)], np.int64)
    set_payloads(samples, offsets, np.array([proto], np.uint8), np.array([least], np.int64))
    return unpack_samples(samples)


HANDSHAKE = ((ORIG, 60, 0), (RESP, 60, 0), (ORIG, 52, 0))
"""With time stamps."""
REQUEST = (ORIG, 152, 100)
ANSWER = (RESP, 1500, 1448)


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        ((REQUEST, ANSWER, (ORIG, 52, 0)), [100, 1448, 0]),
        # Sent again; in part; less than a word.
        ((REQUEST, ANSWER, (RESP, 1500, 0)), [100, 1448, 1448]),
        ((REQUEST, ANSWER, (RESP, 1500, 200)), [100, 1448, 1448]),
        ((REQUEST, ANSWER, (ORIG, 53, 0)), [100, 1448, 1]),
        # After others that are missing, which are counted to it.
        ((REQUEST, ANSWER, (RESP, 1500, 2896)), [100, 1448, 1448]),
        ((REQUEST, ANSWER, (ORIG, 52, 1448)), [100, 1448, 0]),
        # With a selective acknowledgement: with data, without.
        ((REQUEST, ANSWER, (RESP, 1512, 1448)), [100, 1448, 1448]),
        ((REQUEST, ANSWER, (ORIG, 64, 0)), [100, 1448, 0]),
        # As long as options: what was sent before, unless it answers what was sent again.
        (((ORIG, 64, 12), (ORIG, 64, 0)), [12, 12]),
        (((ORIG, 64, 12), ANSWER, (RESP, 1500, 0), (ORIG, 64, 0)), [12, 1448, 1448, 0]),
        (((ORIG, 68, 16), ANSWER, (RESP, 1500, 0), (ORIG, 68, 0)), [16, 1448, 1448, 16]),
        (((ORIG, 152, 100), (ORIG, 76, 300)), [100, 24]),
        # Shorter headers than usual: a reset, and a probe.
        ((REQUEST, ANSWER, (RESP, 40, 0)), [100, 1448, 0]),
        ((REQUEST, ANSWER, (RESP, 41, 0)), [100, 1448, 1]),
        ((REQUEST, ANSWER, (RESP, 340, 300)), [100, 1448, 300]),
        # The IP header has no length.
        ((REQUEST, (RESP, 0, 2896), (RESP, 0, 0)), [100, 2896, 0]),
    ],
)
def test_payload_of_tcp(packets: tuple[tuple[int, int, int], ...], expected: list[int]) -> None:
    assert payloads(TCP, 40, *HANDSHAKE, *packets) == [0, 0, 0, *expected]


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        (((RESP, 1500, 0),), [1460]),
        (((ORIG, 53, 0),), [1]),
        (((ORIG, 41, 0), (RESP, 52, 0)), [1, 0]),
        # Nothing in this direction tells, but something in the other.
        (((ORIG, 77, 0), (RESP, 52, 0)), [25, 0]),
    ],
)
def test_a_tcp_record_that_adds_nothing(
    packets: tuple[tuple[int, int, int], ...], expected: list[int]
) -> None:
    assert payloads(TCP, 40, *packets) == expected


@pytest.mark.parametrize(
    ("packets", "side"),
    [
        (((ORIG, 152, 100), (ORIG, 0, 2896), (ORIG, 52, 0)), RESP),
        (((RESP, 152, 100), (ORIG, 0, 2896), (RESP, 52, 0)), ORIG),
        # The one before says nothing of it, nor does data that follows.
        (((ORIG, 52, 0), (ORIG, 0, 2896), (ORIG, 600, 548), (RESP, 52, 0)), ORIG),
        # Cut short: the rest is added when it is acknowledged, or by the next of its own.
        (((ORIG, 152, 100), (ORIG, 0, 42), (ORIG, 52, 2854), (RESP, 52, 0)), RESP),
        (((ORIG, 152, 100), (ORIG, 0, 42), (RESP, 600, 3402), (ORIG, 52, 0)), RESP),
        # All are of one host.
        (((ORIG, 0, 9), (RESP, 40, 0), *2 * ((ORIG, 0, 9), (ORIG, 40, 0))), RESP),
        (((ORIG, 0, 2896),), ORIG),
    ],
)
def test_whose_packets_without_a_length_are(
    packets: tuple[tuple[int, int, int], ...], side: int
) -> None:
    found = told(TCP, 40, packets)
    assert set(found.responder[found.ip_len == 0].tolist()) == {side}
    assert found.responder[found.ip_len > 0].tolist() == [one[0] for one in packets if one[1]]


def test_payload_of_datagrams() -> None:
    assert payloads(UDP, 28, (ORIG, 128, 100), (RESP, 28, 0), (RESP, 60, 0)) == [100, 0, 32]
    assert payloads(ICMP, 28, (ORIG, 84, 56), (RESP, 84, 0)) == [0, 0]


@given(
    st.sampled_from([TCP, UDP, ICMP]),
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 65_535), st.integers(0, 65_535)), min_size=1
    ),
)
def test_any_packets_are_taken(proto: int, packets: list[tuple[int, int, int]]) -> None:
    found = payloads(proto, 40, *packets)
    assert all(
        payload in (0, added) or payload <= length
        for payload, (_, length, added) in zip(found, packets, strict=True)
    )
