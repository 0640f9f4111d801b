"""Whole and broken frames of everything that is decoded: a real Zeek counts the same packets."""

from __future__ import annotations

import json
import random
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.pcap import CaptureReader
from tests.unit.capture.build import pcap_bytes
from tests.unit.capture.decoded import rows
from tests.unit.capture.frames import A4, A6, fragments4, fragments6, packed, tcp, udp
from tests.unit.capture.samples import SAMPLES
from tests.unit.capture.test_link import FRAMES

pytestmark = pytest.mark.zeek

Totals = dict[tuple[object, ...], list[int]]
"""Packets and IP bytes by protocol and both ends of a connection."""

# What is decoded beyond Zeek: it knows these tags and orders in fewer places, or not at all.
BEYOND_ZEEK = [
    "802.1Q 0x9100",
    "MPLS, 3 labels, IPv6",
    "raw 14",
    "cooked, 802.1Q",
    "null, big-endian",
    "loop",
]
SCENES = [
    (link, [frame]) for link, frame in SAMPLES if frame not in {FRAMES[n][1] for n in BEYOND_ZEEK}
]
SCENES += [
    (101, fragments4(udp(bytes(200)), 48)),
    (101, fragments6(udp(bytes(200)), 48)),
    (101, fragments4(tcp(bytes(99), options=b"\x01" * 20), 16, 6)),
] * 8


def _own(frame: bytes, number: int) -> bytes:
    """Give a frame its own source: Zeek never follows a tunnel again that was broken once."""
    own = bytes([10]) + number.to_bytes(3, "big")
    return frame.replace(packed(A4), own, 1).replace(packed(A6), packed(A6)[:12] + own, 1)


def _broken(frame: bytes, rng: random.Random) -> tuple[bytes, int]:
    changed = bytearray(frame)
    # VLAN tags stay as they are: see BEYOND_ZEEK.
    places = [
        i for i in range(min(len(frame), 130)) if frame[max(i - 1, 0) : i + 2].count(0x81) == 0
    ]
    for at in rng.choices(places, k=rng.choice([0, 1, 1, 2])):
        changed[at] = rng.choice([0, 4, 6, 17, 41, 44, 47, 255, rng.randrange(256)])
    kept = len(frame) - rng.choice([0] * 5 + [rng.randrange(len(frame))])
    return bytes(changed[:kept]), rng.choice([kept, len(frame)])


def _scene(link: int, count: int) -> list[tuple[int, bytes, int]]:
    rng = random.Random(link)
    chosen = rng.choices([frames for kind, frames in SCENES if kind == link], k=count)
    packets = [_broken(_own(frame, i), rng) for i, frames in enumerate(chosen) for frame in frames]
    return [(1_700_000_000_000_000 + i * 1000, *packet) for i, packet in enumerate(packets)]


def _by_zeek(capture: Path) -> Totals:
    command = ["zeek", "-C", "-r", str(capture), "LogAscii::use_json=T"]
    subprocess.run(command, cwd=capture.parent, check=True, timeout=120)
    totals: Totals = defaultdict(lambda: [0, 0])
    for line in (capture.parent / "conn.log").read_text().splitlines():
        c = json.loads(line)
        ends = [(c["id.orig_h"], c["id.orig_p"]), (c["id.resp_h"], c["id.resp_p"])]
        total = totals[(c["ip_proto"], *sorted(ends))]
        total[0] += c["orig_pkts"] + c["resp_pkts"]
        total[1] += c["orig_ip_bytes"] + c["resp_ip_bytes"]
    return {key: total for key, total in totals.items() if total[0] and key[0] in (1, 6, 17, 58)}


def _by_us(capture: Path) -> Totals:
    decoder = Decoder()
    totals: Totals = defaultdict(lambda: [0, 0])
    with CaptureReader(capture) as reader:
        for row in (row for batch in reader for row in rows(decoder.decode(batch))):
            ends = [(row.src, row.sport), (row.dst, row.dport)]
            total = totals[(row.proto, *sorted(ends))]
            total[0] += 1
            total[1] += row.ip_len
    return dict(totals)


@pytest.mark.parametrize(
    ("link", "count"), [(101, 2000), (1, 800), (113, 100), (276, 100), (0, 100)]
)
def test_zeek_counts_the_same(link: int, count: int, tmp_path: Path) -> None:
    capture = tmp_path / "scene.pcap"
    capture.write_bytes(pcap_bytes(_scene(link, count), link))

    ours, zeeks = _by_us(capture), _by_zeek(capture)

    assert len(ours) > count / 5
    assert ours == zeeks
