"""Token documents from packets: what hellos say, however they are cut into segments."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.flows import FlowSettings, FlowTable
from mtc_sensor.capture.tls import hello_words
from mtc_sensor.flow import FlowBatch
from samples.tls import client_hello, extension, handshake, record, server_flight
from tests.unit.capture import frames

HELLO = client_hello(random.Random(1), "www.example.org")
FLIGHT = server_flight(random.Random(2))
SERVER_HELLO = FLIGHT[: 5 + int.from_bytes(FLIGHT[3:5], "big")]
SETTINGS = FlowSettings(min_packets=1, tokens=True)


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def documents(segments: Sequence[tuple[int, bytes, bool]], cuts: Sequence[int] = ()) -> list[str]:
    """Return the documents of (seq, payload, from the responder) packets, given in batches."""
    packets = []
    for seq, payload, back in segments:
        ports = (443, 40000) if back else (40000, 443)
        ends = (frames.B4, frames.A4) if back else (frames.A4, frames.B4)
        segment = frames.tcp(payload, *ports, seq=seq & 0xFFFFFFFF)
        packets.append(frames.ethernet(frames.ipv4(segment, src=ends[0], dst=ends[1])))
    table, decoder, parts = FlowTable(SETTINGS), Decoder(), []
    bounds = sorted({0, *(min(cut, len(packets)) for cut in cuts), len(packets)})
    for begin, end in pairwise(bounds):
        some = frames.batch(packets[begin:end], times=range(begin, end))
        parts.append(table.add(some, decoder.decode(some)))
    return FlowBatch.concat([*parts, table.finish()]).documents()


def test_a_client_hello_in_words() -> None:
    words = hello_words(HELLO)
    assert words[:2] == ["ext:0", "sni_length:8"]
    assert {"sni_labels:3", "alpn:h2", "alpn:http/1.1", "group:1d", "tls_client:303"} <= set(words)
    ciphers = "1301-1303-1302-c02b-c02f-cca9-cca8-c02c-c030-c00a-c009-c013-c014-9c-9d-2f-35"
    assert f"ciphers_order:{md5(ciphers)}" in words
    assert f"ciphers_set:{md5('-'.join(sorted(ciphers.split('-'))))}" in words
    assert f"groups_order:{md5('1d-17-18')}" in words
    assert not any("example" in word for word in words)


def test_a_server_hello_in_words() -> None:
    assert hello_words(SERVER_HELLO) == ["server_ext:51", "server_ext:43", "tls:303", "chosen:1301"]


def test_grease_says_nothing() -> None:
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x04\x3a\x3a\x13\x01" + b"\x01\0"
    extensions = extension(0x5A5A, b"") + extension(16, b"\0\x05\x04a b\x00")
    body += len(extensions).to_bytes(2, "big") + extensions
    words = hello_words(record(22, handshake(1, body)))
    assert words == [
        "ext:16", "alpn:a_b_", "tls_client:303", "cipher:1301",
        f"ciphers_order:{md5('1301')}", f"ciphers_set:{md5('1301')}",
    ]  # fmt: skip


def test_a_retry_is_no_server_hello() -> None:
    retry = hashlib.sha256(b"HelloRetryRequest").digest()
    assert hello_words(SERVER_HELLO[:11] + retry + SERVER_HELLO[43:]) == []


def test_a_connection_without_tls_has_its_ends_for_words() -> None:
    assert documents([(1, b"GET / HTTP/1.1\r\n", False)]) == ["ip:4 transport:tcp port:443"]


def test_both_hellos_are_in_the_final_record() -> None:
    (document,) = documents([(1, HELLO, False), (9, FLIGHT, True), (9000, b"", False)])
    facts = ["ip:4", "transport:tcp", "port:443"]
    assert document.split() == [*facts, *hello_words(HELLO), *hello_words(SERVER_HELLO)]


def test_an_early_record_has_what_was_there_by_then() -> None:
    nine = [(i, bytes(9), False) for i in range(7)]
    early, final = documents([(1, HELLO, False), *nine, (77, FLIGHT, True)])
    assert "chosen:1301" not in early
    assert "chosen:1301" in final
    assert "tls_client:303" in early


@given(
    st.lists(st.integers(1, len(HELLO) - 1), max_size=6),
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, 9), max_size=3),
    st.sampled_from([1, 0xFFFFFFFF, 0xFFFFFF80]),
)
def test_segments_may_come_in_any_order(
    cuts: list[int], rng: random.Random, batches: list[int], seq: int
) -> None:
    bounds = sorted({0, 6, *(cut for cut in cuts if cut >= 6), len(HELLO)})
    parts = [(seq + begin, HELLO[begin:end], False) for begin, end in pairwise(bounds)]
    # The first segment says that it is a hello; a repetition of another does no harm.
    rest = [*parts[1:], *parts[1:2]]
    rng.shuffle(rest)
    *_, document = documents([parts[0], *rest], batches)
    assert document.split()[3:] == hello_words(HELLO)


@given(st.binary(max_size=80), st.integers(0, len(HELLO)), st.integers(0, 255))
def test_whatever_comes_is_words_or_nothing(noise: bytes, at: int, byte: int) -> None:
    for mutated in (
        HELLO[:at] + noise,
        HELLO[:at] + bytes([byte]) + HELLO[at + 1 :],
        record(22, handshake(1, noise)),
        record(22, handshake(2, noise)),
    ):
        words = hello_words(mutated)
        assert all(word.isascii() and word.isprintable() and " " not in word for word in words)


def test_hellos_that_never_end_are_forgotten() -> None:
    endless = HELLO[:3] + b"\x3f\xff" + HELLO[5:]
    table, decoder = FlowTable(SETTINGS), Decoder()
    for port in range(2000, 4000):
        segment = frames.tcp(endless, port, 443)
        some = frames.batch([frames.ethernet(frames.ipv4(segment))])
        table.add(some, decoder.decode(some))
    assert table._words is not None
    assert len(table._words._pending) <= 1024
    assert np.all(np.diff(table.finish().token_offsets) < 40)
