from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mtc_sensor.training.augment import (
    blur_payload,
    cut_flow,
    cut_payload,
    hide_tls_random,
    lose_packet,
    vary_stack,
)

Bytes = NDArray[np.uint8]
TLS = bytes([22, 3, 1, 0, 80, 1, 0, 0, 76, 3, 3])


def packet(payload: bytes, options: bytes = b"") -> bytes:
    """An IPv4 TCP packet with window 0x1234."""
    ip = bytes([0x45, 8, 0, 0, 0, 0, 0x40, 0, 0, 6]) + bytes(10)
    tcp = bytes(12) + bytes([(5 + len(options) // 4) << 4, 0x18, 0x12, 0x34, 0, 0, 0, 0])
    return (ip + tcp + options + payload)[:80].ljust(80, b"\0")


def matrix(*packets: bytes) -> Bytes:
    padded = [*packets, *[bytes(80)] * (8 - len(packets))]
    return np.frombuffer(b"".join(padded), np.uint8).reshape(1, 8, 80)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def changed(before: Bytes, after: Bytes) -> list[int]:
    """Byte positions that changed in any packet."""
    return sorted(set(np.nonzero(before != after)[2].tolist()))


def test_only_the_random_of_a_tls_hello_is_hidden(rng: np.random.Generator) -> None:
    before = matrix(
        packet(TLS + b"r" * 32, options=b"\1" * 4), packet(b"GET / HTTP/1.1" + b"x" * 30)
    )
    after = hide_tls_random(before, rng, share=1)
    assert set(changed(before, after)) <= set(range(55, 80))
    assert len(changed(before, after)) > 20
    assert np.array_equal(after[0, 1:], before[0, 1:])


def test_the_stack_is_window_options_and_type_of_service(rng: np.random.Generator) -> None:
    before = matrix(packet(b"abc", options=b"\2\4\5\xb4"))
    after = vary_stack(before, rng, share=2)  # options change at half the share
    assert changed(before, after) == [1, 34, 35, 40, 41, 42, 43]
    assert not after[0, 0, 40:44].any()


def test_blurring_spares_headers_and_the_first_payload_bytes(rng: np.random.Generator) -> None:
    before = np.repeat(matrix(packet(b"y" * 40)), 50, axis=0)
    after = blur_payload(before, rng, share=1)
    assert min(changed(before, after)) >= 48
    assert 0.05 < (before != after)[:, 0, 48:].mean() < 0.15


def test_a_cut_payload_keeps_its_headers(rng: np.random.Generator) -> None:
    before = np.repeat(matrix(packet(b"y" * 40)), 50, axis=0)
    after = cut_payload(before, rng, share=1)
    assert np.array_equal(after[..., :40], before[..., :40])
    lengths = (after[:, 0, 40:] != 0).sum(1)
    assert lengths.min() < 10
    assert lengths.max() > 30


def test_a_lost_packet_closes_up(rng: np.random.Generator) -> None:
    before = matrix(*[packet(bytes([i])) for i in range(1, 9)])
    after = lose_packet(before, rng, share=1)
    kept = after[0, :, 40].tolist()
    assert kept[-1] == 0
    assert len(set(kept[:7])) == 7
    assert kept[:7] == sorted(kept[:7])


def test_a_cut_flow_keeps_at_least_four_packets(rng: np.random.Generator) -> None:
    before = np.repeat(matrix(*[packet(b"a")] * 8), 200, axis=0)
    packets = (cut_flow(before, rng, share=1)[..., 0] != 0).sum(1)
    assert set(packets.tolist()) == {4, 5, 6, 7, 8}


@pytest.mark.parametrize(
    "change",
    [hide_tls_random, vary_stack, blur_payload, cut_payload, lose_packet, cut_flow],
)
def test_any_bytes_are_taken_and_left_alone(
    change: Callable[[Bytes, np.random.Generator], Bytes], rng: np.random.Generator
) -> None:
    noise = rng.integers(0, 256, (64, 8, 80), np.uint8)
    copy = noise.copy()
    result = change(noise, np.random.default_rng(7))
    assert np.array_equal(noise, copy)
    assert (result.shape, result.dtype) == (noise.shape, noise.dtype)
    assert np.array_equal(result, change(noise, np.random.default_rng(7)))
    assert not change(np.zeros((4, 8, 80), np.uint8), rng).any()
