"""FlowPics of whole batches against np.histogram2d in a loop over the flows, in one run.

Both sides start from what they like best (packed samples; plain arrays of times and sizes, already
sliced by flow and channel) and end with the same dense uint16 pictures, which is asserted. The loop
and the builder, which serving uses, write every batch into memory that they keep; the last columns
are `flowpics`, which returns fresh memory. The sides take turns on each batch, and the best of
``--repeat`` rounds counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.features.flowpic import FlowPicBuilder, flowpics
from mtc_sensor.features.spec import FlowPicSpec
from mtc_sensor.flow import FlowBatch, Kind, pack_samples

WINDOW_S = 60.0
MAX_SIZE = 1500
Images = NDArray[np.uint16]
Flow = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Times (s) and sizes (bytes) of one channel of one flow."""


def make_flows(n: int, rng: np.random.Generator) -> FlowBatch:
    """Make `n` records with bursts, of lognormally many packets (median 60, at most 1000)."""
    counts = np.minimum(rng.lognormal(np.log(60), 1.0, n).astype(np.int64) + 1, 1000)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    total = int(offsets[-1])
    gaps = rng.lognormal(-4.0, 2.5, total)
    gaps[offsets[:-1]] = 0.0
    times = np.cumsum(gaps)
    times -= np.repeat(times[offsets[:-1]], counts)
    span = np.repeat(times[offsets[1:] - 1], counts)
    times *= np.minimum(1.0, 0.999 * WINDOW_S / np.maximum(span, 1e-9))
    small = rng.random(total) < 0.5
    size = np.where(small, rng.integers(40, 100, total), rng.integers(100, MAX_SIZE, total))
    return FlowBatch(
        uid=np.array([f"C{i}" for i in range(n)], "S24"),
        kind=np.full(n, Kind.FINAL, np.uint8),
        proto=np.full(n, 6, np.uint8),
        orig_h=np.zeros((n, 16), np.uint8),
        resp_h=np.zeros((n, 16), np.uint8),
        orig_p=np.zeros(n, np.uint16),
        resp_p=np.zeros(n, np.uint16),
        start_us=np.zeros(n, np.int64),
        samples=pack_samples(times * 1e6, small & (rng.random(total) < 0.8), size, 0),
        sample_offsets=offsets,
        head=np.empty((0, 80), np.uint8),
        head_len=np.empty(0, np.uint16),
        head_l4=np.empty(0, np.uint16),
        head_offsets=np.zeros(n + 1, np.int64),
        tokens=np.empty(0, np.uint8),
        token_offsets=np.zeros(n + 1, np.int64),
    )


def sliced(batch: FlowBatch, channels: int) -> list[list[Flow]]:
    """Take a batch apart for the loop: for each flow and channel, times and sizes."""
    samples = batch.samples
    times = (samples >> np.uint64(33)) / 1e6
    sizes = ((samples >> np.uint64(16)) & np.uint64(0xFFFF)).astype(np.float64)
    channel = (samples >> np.uint64(32)).astype(np.int64) & (channels - 1)
    flows = []
    for start, end in zip(batch.sample_offsets[:-1], batch.sample_offsets[1:], strict=True):
        own = [np.flatnonzero(channel[start:end] == c) + start for c in range(channels)]
        flows.append([(times[index], sizes[index]) for index in own])
    return flows


def histogram_loop(flows: Sequence[list[Flow]], spec: FlowPicSpec, images: Images) -> Images:
    """Build the same pictures with np.histogram2d, one channel of one flow at a time."""
    edges = [
        np.linspace(0, end, spec.resolution + 1) for end in (float(spec.max_size), spec.window_s)
    ]
    for image, flow in zip(images, flows, strict=False):
        for channel, (times, sizes) in zip(image, flow, strict=True):
            channel[:] = np.histogram2d(sizes, times, bins=edges)[0]
    return images[: len(flows)]


def compare(flows: FlowBatch, spec: FlowPicSpec, pictures: int, repeat: int) -> list[float]:
    """Return CPU seconds of the loop, a builder and fresh memory; assert equal pictures."""
    images = np.zeros((pictures, *spec.shape), np.uint16)
    builder = FlowPicBuilder(spec)
    totals = [0.0] * 3
    for first in range(0, len(flows), pictures):
        batch = flows.take(np.arange(first, min(first + pictures, len(flows))))
        plain = sliced(batch, spec.channels)
        best = [float("inf")] * 3
        for _ in range(repeat):
            loop, best[0] = timed(lambda: histogram_loop(plain, spec, images), best[0])  # noqa: B023
            built, best[1] = timed(lambda: builder.build(batch).images, best[1])  # noqa: B023
            assert np.array_equal(loop, built)
            fresh, best[2] = timed(lambda: flowpics(batch, spec).images, best[2])  # noqa: B023
            assert np.array_equal(loop, fresh)
            del fresh
        totals = [total + part for total, part in zip(totals, best, strict=True)]
    return totals


def timed(build: Callable[[], Images], best: float) -> tuple[Images, float]:
    """Return what `build` makes, and the CPU seconds it took if less than `best`."""
    begin = time.process_time()
    images = build()
    return images, min(best, time.process_time() - begin)


def main() -> None:
    """Print one line per resolution and direction setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=2000, help="flows (1500: an eighth of them)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds per batch; the best counts")
    options = parser.parse_args()
    flows = make_flows(options.flows, np.random.default_rng(1))
    flowpics(flows.take([0]), FlowPicSpec())  # compiles
    print(f"{len(flows)} flows, {len(flows.samples)} packets; CPU microseconds per picture")
    print("resolution  channels  batch  histogram2d  builder   ratio  fresh memory   ratio")
    for resolution, n, pictures in (
        (1500, len(flows) // 8, 64),
        (256, len(flows), 128),
        (64, len(flows), 256),
        (32, len(flows), 256),
    ):
        for direction in (False, True):
            spec = FlowPicSpec(resolution=resolution, direction=direction, max_size=MAX_SIZE)
            part = flows.take(np.arange(n))
            loop, built, fresh = compare(part, spec, pictures, options.repeat)
            print(
                f"{resolution:10d} {spec.channels:9d} {pictures:6d} {1e6 * loop / n:12.1f} "
                f"{1e6 * built / n:8.2f} {loop / built:6.0f}x {1e6 * fresh / n:13.2f} "
                f"{loop / fresh:6.0f}x",
                flush=True,
            )


if __name__ == "__main__":
    main()
