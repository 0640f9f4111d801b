"""Decode frames and show the rows so that a test can compare them with literals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.packets import DecodedBatch
from mtc_sensor.flow import address_text
from tests.unit.capture.frames import batch


class Row(NamedTuple):
    """One decoded row: its packet, 5-tuple and lengths."""

    packet: int
    proto: int
    src: str
    sport: int
    dst: str
    dport: int
    ip_len: int
    payload: int


def rows(decoded: DecodedBatch) -> list[Row]:
    """Return the rows of a decoded batch."""
    return [
        Row(
            int(decoded.packet[i]),
            int(decoded.proto[i]),
            address_text(decoded.src[i]),
            int(decoded.sport[i]),
            address_text(decoded.dst[i]),
            int(decoded.dport[i]),
            int(decoded.ip_len[i]),
            int(decoded.payload[i]),
        )
        for i in range(len(decoded))
    ]


def decode(
    frames: Sequence[bytes], link: int | Sequence[int] = 1
) -> tuple[list[Row], dict[str, int]]:
    """Decode whole frames; return their rows and what was counted."""
    decoder = Decoder()
    return rows(decoder.decode(batch(frames, link))), dict(decoder.counts)


def equal(one: DecodedBatch, other: DecodedBatch) -> bool:
    """Tell whether two batches hold the same, but for places in the buffer."""
    names = [f.name for f in fields(DecodedBatch) if f.name != "ip_offset"]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)
