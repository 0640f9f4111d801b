"""Every byte value in a payload arrives as it was sent, over every transport."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.wire.events import Verdict
from mtc_sensor.wire.records import Records
from tests.zeek.beside import TRANSPORTS, Zeek, meet, running, udp_frame
from tests.zeek.echo import judge, make_sensor


@pytest.mark.zeek
@pytest.mark.parametrize("kind", TRANSPORTS)
def test_every_byte_survives(kind: str, tmp_path: Path) -> None:
    frames = [udp_frame(0, n % 2 > 0, bytes(range(32 * n, 32 * n + 32))) for n in range(8)]
    pcap = tmp_path / "bytes.pcap"
    with pcap.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for n, frame in enumerate(frames):
            out.write(struct.pack("<IIII", 1_700_000_000, n, len(frame), len(frame)) + frame)
    seen: list[Records] = []

    def remember(parts: Sequence[Records], strain: float) -> Iterator[list[list[Verdict]]]:
        seen.extend(parts)
        return judge(parts, strain)

    config, script = meet(kind, tmp_path)
    with (
        running(lambda: make_sensor(config, judge=remember)),
        Zeek(tmp_path / "zeek", pcap, script) as zeek,
    ):
        assert zeek.wait() == 0
    heads = np.concatenate([records.head for records in seen])
    assert heads.tobytes() == b"".join(frames)
    assert [n for records in seen for n in np.diff(records.head_offsets)] == [8, 0]
