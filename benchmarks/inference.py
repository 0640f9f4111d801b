"""Records judged per second, per shipped model and batch size, against a plain loop in torch.

    python benchmarks/inference.py

The plain loop takes one record at a time, through the same network without gradients, and has its
inputs for nothing: they are built before the clock runs. Our side begins with records as they come
off the wire, builds the inputs, asks the network, calibrates, and makes verdicts with evidence:
what the sensor does with a batch. The sides take turns; the best of ``--rounds`` counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from recorded import add_data_option, describe, machine, record
from torch import Tensor

from mtc_sensor.flow import FlowBatch
from mtc_sensor.inference import Model, load_models
from mtc_sensor.models.bundle import find_bundles
from mtc_sensor.wire.assemble import to_flow_batch

SINGLE = 100
"""Records that the plain loop is timed with."""


def single_inputs(model: Model, records: FlowBatch) -> list[list[Tensor]]:
    """Return the inputs of each record, for each network that is asked about it, on the device."""
    asked = [model] if model.members is None else model.members.models
    return [
        [part for one in asked for part in one.inputs(records.take([row]))[0]]
        for row in range(len(records))
    ]


def plain_loop(model: Model, inputs: Sequence[Sequence[Tensor]]) -> None:
    """Ask the networks about one record after the other."""
    asked = [model] if model.members is None else list(model.members.models)
    with torch.inference_mode():
        for parts in inputs:
            for one, part in zip(asked * len(parts), parts, strict=False):
                one.bundle.outputs(part)[0].cpu()


def rate(run: Callable[[], object], records: int, rounds: int) -> float:
    """Return records per second of the best of `rounds`."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
    return records / best


def compare(model: Model, records: FlowBatch, sizes: Sequence[int], rounds: int) -> None:
    """Print one line for each batch size."""
    rows = np.resize(model.rows(records), max(*sizes, SINGLE))
    inputs = single_inputs(model, records.take(rows[:SINGLE]))
    for size in sizes:
        batch = records.take(rows[:size])
        repeats = max(1, 256 // size)

        def ours(batch: FlowBatch = batch, repeats: int = repeats) -> None:
            for _ in range(repeats):
                model.judge(batch)

        ours()
        one = rate(lambda: plain_loop(model, inputs), len(inputs), rounds)
        many = rate(ours, size * repeats, rounds)
        print(
            f"{model.name:>12s} {size:6d} {many:12,.0f} {one:12,.0f} {many / one:7.1f}x", flush=True
        )


def main() -> None:
    """Print records per second, and the ratio to the plain loop."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--models", nargs="+", default=list(find_bundles()))
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64, 256, 1024])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch (default: as many as cores)")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    samples = record(options.data)
    models = load_models(options.models, options.device)
    print(f"{machine()}; {models[0].device}, {torch.get_num_threads()} threads of torch")
    print(describe(samples))
    records = to_flow_batch(samples)
    print(f"{'model':>12s}  batch    records/s   plain loop    ratio")
    for model in models:
        compare(model, records, options.batch, options.rounds)


if __name__ == "__main__":
    main()
