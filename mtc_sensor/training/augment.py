"""Byte matrices as they could have been seen elsewhere: other stacks, losses, captures cut short.

Each function takes and returns (n, packets, bytes) uint8 and changes a random share of the flows;
what it hides is something that tells captures apart but not what a flow does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
_TCP, _TLS_HANDSHAKE = 6, 22


class _Layout(NamedTuple):
    """Where headers are: (n, packets, 1), to be compared with byte positions."""

    position: NDArray[np.int64]
    ipv4: Mask
    tcp: Mask
    transport: NDArray[np.int64]
    payload: NDArray[np.int64]
    """At most the matrix's width."""


def hide_tls_random(matrix: Bytes, rng: np.random.Generator, share: float = 0.8) -> Bytes:
    """Replace the random of TLS hellos, whose first bytes are a clock in older stacks."""
    at = _layout(matrix)
    first = np.take_along_axis(matrix, np.minimum(at.payload, matrix.shape[2] - 1), 2)
    inside = (at.position >= at.payload + 11) & (at.position < at.payload + 43)
    hit = at.tcp & (first == _TLS_HANDSHAKE) & inside & _some(matrix, rng, share)
    return np.where(hit, _noise(matrix, rng), matrix)


def vary_stack(matrix: Bytes, rng: np.random.Generator, share: float = 0.1) -> Bytes:
    """Change what an operating system chooses: TCP window, TCP options, type of service."""
    at = _layout(matrix)
    window = at.tcp & (at.position >= at.transport + 14) & (at.position < at.transport + 16)
    options = at.tcp & (at.position >= at.transport + 20) & (at.position < at.payload)
    matrix = np.where(window & _some(matrix, rng, share), _noise(matrix, rng), matrix)
    matrix = np.where(options & _some(matrix, rng, share / 2), 0, matrix)
    return np.where(at.ipv4 & (at.position == 1) & _some(matrix, rng, share), 0, matrix)


def blur_payload(matrix: Bytes, rng: np.random.Generator, share: float = 0.2) -> Bytes:
    """Replace a tenth of the payload bytes from the ninth on."""
    at = _layout(matrix)
    hit = (at.position >= at.payload + 8) & (rng.random(matrix.shape, np.float32) < 0.1)
    return np.where(hit & (matrix != 0) & _some(matrix, rng, share), _noise(matrix, rng), matrix)


def cut_payload(matrix: Bytes, rng: np.random.Generator, share: float = 0.1) -> Bytes:
    """Keep at most some bytes of every payload, as captures with a short snap length do."""
    at = _layout(matrix)
    kept = rng.integers(0, 48, (len(matrix), 1, 1))
    return np.where((at.position >= at.payload + kept) & _some(matrix, rng, share), 0, matrix)


def lose_packet(matrix: Bytes, rng: np.random.Generator, share: float = 0.2) -> Bytes:
    """Leave out one packet; the later ones move up."""
    flows, packets, width = matrix.shape
    order = np.tile(np.arange(packets), (flows, 1))
    lost = rng.integers(0, packets, (flows, 1))
    order += (order >= lost) & (rng.random((flows, 1)) < share)
    padded = np.concatenate([matrix, np.zeros((flows, 1, width), np.uint8)], axis=1)
    return np.take_along_axis(padded, order[..., None], 1)


def cut_flow(matrix: Bytes, rng: np.random.Generator, share: float = 0.2) -> Bytes:
    """End the flow after 4 or more packets, the fewest that are judged."""
    packets = matrix.shape[1]
    kept = rng.integers(min(4, packets), packets + 1, (len(matrix), 1, 1))
    late = np.arange(packets)[:, None] >= kept
    return np.where(late & _some(matrix, rng, share), 0, matrix)


BYTES: dict[str, Callable[[Bytes, np.random.Generator, float], Bytes]] = {
    "tls-random": hide_tls_random,
    "stack": vary_stack,
    "blur": blur_payload,
    "cut-payload": cut_payload,
    "lose-packet": lose_packet,
    "cut-flow": cut_flow,
}
"""By their names in recipes, in the order of good sense."""


def _layout(matrix: Bytes) -> _Layout:
    width = matrix.shape[2]
    version = matrix[..., :1] >> 4
    ipv4 = version == 4
    transport = np.where(ipv4, (matrix[..., :1] & 15).astype(np.int64) * 4, 40)
    protocol = np.where(ipv4, matrix[..., 9:10], matrix[..., 6:7])
    tcp = (protocol == _TCP) & (ipv4 | (version == 6))
    words = np.take_along_axis(matrix, np.minimum(transport + 12, width - 1), 2) >> 4
    payload = transport + np.where(tcp, words.astype(np.int64) * 4, 8)
    return _Layout(np.arange(width), ipv4, tcp, transport, np.minimum(payload, width))


def _some(matrix: Bytes, rng: np.random.Generator, share: float) -> Mask:
    return rng.random((len(matrix), 1, 1)) < share


def _noise(matrix: Bytes, rng: np.random.Generator) -> Bytes:
    return rng.integers(0, 256, matrix.shape, np.uint8)
