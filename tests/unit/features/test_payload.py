import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtc_sensor.features.payload import PARTS, STREAM, grams, payload, streams
from mtc_sensor.features.spec import GRAM_BITS, PAYLOAD_STATISTICS, PayloadSpec
from mtc_sensor.flow import FlowBatch

from .build import Head, batch_of, packets

ORIG, RESP = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
GET, REPLY = b"GET /a HTTP/1.1", b"HTTP/1.1 200 OK\r\n"


def tcp(data: bytes, sequence: int, *, back: bool = False, total: int | None = None) -> Head:
    ports = (80, 4000) if back else (4000, 80)
    src, dst = (RESP, ORIG) if back else (ORIG, RESP)
    length = 40 + len(data) if total is None else total
    header = struct.pack("!BxHxxxxBBxx4s4s", 0x45, length, 64, 6, src, dst)
    return Head(
        header + struct.pack("!HHIIBBHHH", *ports, sequence, 0, 0x50, 0x18, 9, 0, 0) + data, 20
    )


def udp_of_six(data: bytes) -> Head:
    header = struct.pack(
        "!BxxxHBB16s16s", 0x60, 8 + len(data), 17, 64, bytes(15) + b"\1", bytes(16)
    )
    return Head(header + struct.pack("!HHHH", 4000, 53, 8 + len(data), 0) + data, 40)


def batch(*heads: Head, proto: int = 6) -> FlowBatch:
    back = [head.data[12:16] == RESP for head in heads]
    return batch_of([packets(np.arange(len(heads)) / 1000, 100, back)], [heads], proto, width=146)


EXCHANGE = (
    tcp(b"", 1), tcp(b"", 7, back=True), tcp(GET, 2), tcp(GET, 2),
    tcp(REPLY, 8, back=True, total=1500),
)  # fmt: skip


def columns(name: str) -> slice:
    ends = [0, *PARTS.values()]
    at = list(PARTS).index(name)
    return slice(ends[at], ends[at + 1])


def number(gram: bytes, side: int) -> int:
    """The 4-gram's number as the module's documentation says it."""
    return side << GRAM_BITS | (int.from_bytes(gram, "big") * 2654435761 % 2**32) >> (
        32 - GRAM_BITS
    )


def test_each_side_says_its_bytes_once() -> None:
    stream, length, _ = streams(batch(*EXCHANGE), 146)
    assert length.tolist() == [[len(GET), len(REPLY)]]
    assert stream[0, 0, : len(GET)].tobytes() == GET
    assert stream[0, 1, : len(REPLY)].tobytes() == REPLY
    assert not stream[0, 0, len(GET) :].any()


def test_statistics_of_packets() -> None:
    found = payload(batch(*EXCHANGE), PayloadSpec())[0]
    assert found.shape == (PAYLOAD_STATISTICS,)
    assert found[columns("IP lengths")].tolist() == [40, -40, 55, 55, -1500, 0, 0, 0]
    assert found[columns("payload lengths")].tolist() == [0, 0, 15, 15, -1460, 0, 0, 0]
    gaps = [0, *[np.log1p(1000)] * 4, 0, 0, 0]
    np.testing.assert_allclose(found[columns("gaps")], gaps, rtol=1e-6)
    assert found[columns("first payload lengths")].tolist() == [15, 15, -1460, 0, 0, 0]
    assert found[columns("counts and protocol")].tolist() == [5, 3, 2, 1, 30, -1460, 3, 6, 1]


def test_statistics_of_bytes() -> None:
    found = payload(batch(tcp(b"aaaaaaaa01\0\xff", 1)), PayloadSpec())[0]
    side = found[columns("originator's bytes")]
    assert side[:9].tolist() == [12, *b"aaaaaaaa"]
    p = np.array([8, 1, 1, 1, 1]) / 12
    entropy = -(p * np.log2(p)).sum()
    for at in (9, 15, 21):
        expected = [entropy, 10 / 12, 1 / 12, 1 / 12, 8 / 12, 2 / 12]
        np.testing.assert_allclose(side[at : at + 6], expected, rtol=1e-6)
    assert found[columns("responder's bytes")].tolist() == [0, *[-1] * 26]


def test_4_grams_are_found_on_their_side_only() -> None:
    asked = (number(b"GET ", 0), number(b"GET ", 1), number(b"HTTP", 0), number(b"HTTP", 1),
             number(b"TTP/", 1), number(b"none", 0))  # fmt: skip
    found = payload(batch(*EXCHANGE), PayloadSpec(vocabulary=asked))[0, PAYLOAD_STATISTICS:]
    assert found.tolist() == [1, 0, 1, 1, 1, 0]


def test_all_4_grams_of_a_record() -> None:
    row, numbers = grams(batch(tcp(b"abcabcab", 1), tcp(b"xyz", 9, back=True)), 146)
    assert set(row.tolist()) == {0}
    assert sorted(numbers.tolist()) == sorted(number(g, 0) for g in (b"abca", b"bcab", b"cabc"))


def test_ipv6_and_udp() -> None:
    made = batch(udp_of_six(b"query"), proto=17)
    stream, length, taken = streams(made, 146)
    assert length.tolist() == [[5, 0]]
    assert stream[0, 0, :5].tobytes() == b"query"
    assert taken[0, 0, :2].tolist() == [53, 5]


def test_wider_heads_are_cut_to_what_the_model_knows() -> None:
    wide = batch(tcp(bytes(range(1, 101)), 1))
    assert streams(wide, 80)[1].tolist() == [[40, 0]]
    assert streams(wide, 146)[1].tolist() == [[100, 0]]
    narrow = replace(wide, head=wide.head[:, :80].copy(), head_len=np.minimum(wide.head_len, 80))
    spec = PayloadSpec(bytes=80)
    np.testing.assert_array_equal(payload(wide, spec), payload(narrow, spec))


def test_heads_whose_samples_an_earlier_record_had_are_passed_over() -> None:
    made = batch(*EXCHANGE)
    late = replace(made, samples=made.samples[3:], sample_offsets=np.array([0, 2]))
    stream, length, taken = streams(late, 146)
    assert length.tolist() == [[len(GET), len(REPLY)]]
    assert stream[0, 1, : len(REPLY)].tobytes() == REPLY
    assert taken[0, :, 0].tolist() == [0, 0, 0, 55, -1500, 0, 0, 0]


def test_streams_end_somewhere() -> None:
    many = [tcp(bytes([65 + i]) * 106, i) for i in range(8)]
    stream, length, _ = streams(batch(*many), 146)
    assert length[0, 0] == STREAM
    assert stream[0, 0, -1] == 65 + (STREAM - 1) // 106


@pytest.mark.parametrize("head", [Head(b""), Head(b"\x45" * 19, 20), Head(b"\x45" * 60, 0)])
def test_heads_without_transport_say_nothing(head: Head) -> None:
    found = payload(batch(head), PayloadSpec())[0]
    assert not found[columns("IP lengths")].any()
    assert found[columns("originator's bytes")].tolist() == [0, *[-1] * 26]


def test_nothing_in_nothing_out() -> None:
    assert payload(batch_of([]), PayloadSpec(vocabulary=(1,))).shape == (0, PAYLOAD_STATISTICS + 1)
    assert [len(part) for part in grams(batch_of([]), 146)] == [0, 0]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=160), st.integers(0, 200)), max_size=10),
    st.sampled_from([1, 6, 17, 58, 0]),
)
def test_any_heads_do(heads: list[tuple[bytes, int]], proto: int) -> None:
    made = batch(*(Head(data, l4) for data, l4 in heads), proto=proto)
    found = payload(made, PayloadSpec(vocabulary=(0, 9)))
    assert np.isfinite(found).all()
    _, length, _ = streams(made, 146)
    assert (length >= 0).all()
    assert (length <= STREAM).all()
