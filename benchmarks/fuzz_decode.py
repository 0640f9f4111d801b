"""Fuzz the packet decoder: mutate frames, decode them in batches, count what breaks.

Seeds are the frames that the unit tests decode, one of every link type, header and tunnel, and
the packets of the captures named on the command line. Prints packets per second, crashes (an
exception, or a row that lies outside its packet) and what was dropped why; exits with 1 if
anything crashed.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.packets import DecodedBatch, PacketBatch
from mtc_sensor.capture.pcap import CaptureReader

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.unit.capture.samples import SAMPLES

BATCH_PACKETS = 8192
MAX_SEEDS = 20_000


def seeds(captures: list[Path]) -> list[tuple[int, bytes]]:
    """Return link types and frames to start from."""
    found = list(SAMPLES)
    for capture in captures:
        with CaptureReader(capture) as reader:
            for batch in reader:
                bounds = zip(batch.link, batch.offset, batch.offset + batch.caplen, strict=True)
                found += [(int(k), batch.data[i:j].tobytes()) for k, i, j in bounds]
                if len(found) > MAX_SEEDS:
                    return found[:MAX_SEEDS]
    return found


def mutants(
    start: list[tuple[int, bytes]], rng: np.random.Generator, packets: int
) -> Iterator[PacketBatch]:
    """Yield batches of seeds with changed bytes, most near the front, and cut ends."""
    links = np.array([link for link, _ in start], np.int32)
    sizes = np.array([len(frame) for _, frame in start])
    pool = np.frombuffer(b"".join(frame for _, frame in start), np.uint8)
    begins = np.cumsum(sizes) - sizes
    for done in range(0, packets, BATCH_PACKETS):
        count = min(BATCH_PACKETS, packets - done)
        chosen = rng.integers(0, len(start), count)
        size = sizes[chosen]
        offset = np.cumsum(size) - size
        source = np.repeat(begins[chosen] - offset, size) + np.arange(size.sum())
        data = pool[source]
        _change(data, offset, size, rng)
        cut = np.where(rng.random(count) < 0.3, rng.integers(0, size + 1), 0)
        yield PacketBatch(
            data=data,
            offset=offset,
            caplen=size - cut,
            # Whole frames, cut frames, and frames of which the capture kept less.
            wirelen=size - cut * rng.integers(0, 2, count) + 65535 * rng.integers(0, 2, count),
            ts_us=(done + np.arange(count)) * 10_000,
            link=np.where(rng.random(count) < 0.05, rng.choice(links, count), links[chosen]),
        )


def _change(
    data: NDArray[np.uint8],
    offset: NDArray[np.int64],
    size: NDArray[np.int64],
    rng: np.random.Generator,
) -> None:
    for _ in range(4):
        rows = np.flatnonzero((rng.random(len(offset)) < 0.5) & (size > 0))
        at = (rng.random(len(rows)) ** 2 * np.minimum(size[rows], 160)).astype(np.int64)
        values = rng.integers(0, 256, len(rows)).astype(np.uint8)
        special = rng.choice(np.array([0, 1, 4, 6, 17, 41, 44, 47, 60, 255], np.uint8), len(rows))
        data[offset[rows] + at] = np.where(rng.random(len(rows)) < 0.5, special, values)


def misplaced(packets: PacketBatch, rows: DecodedBatch) -> int:
    """Count rows whose IP header does not lie inside their packet."""
    start = packets.offset[rows.packet]
    stop = start + packets.caplen[rows.packet]
    inside = (rows.ip_offset >= start) & (rows.ip_offset + rows.ip_captured <= stop)
    inside &= (rows.l4_offset >= 0) & (rows.l4_offset <= rows.ip_captured)
    return int(np.count_nonzero(~inside))


def main() -> int:
    """Run the fuzzer; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", nargs="*", type=Path, help="pcaps whose packets are seeds too")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    start = seeds(options.captures)
    decoder = Decoder()
    crashes = decoded = 0
    seconds = 0.0
    for batch in mutants(start, np.random.default_rng(options.seed), options.packets):
        began = time.process_time()
        try:
            rows = decoder.decode(batch)
            crashes += misplaced(batch, rows)
            decoded += len(rows)
        except Exception:
            crashes += 1
            traceback.print_exc()
        seconds += time.process_time() - began
    print(f"seeds {len(start)}, packets {options.packets}, rows {decoded}, crashes {crashes}")
    print(f"{options.packets / seconds:,.0f} packets per CPU second")
    for reason, count in sorted(decoder.counts.items(), key=lambda item: -item[1]):
        print(f"{count:9} {reason}")
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
