"""Records judged per second, per shipped model and batch size, against a plain loop in torch.

    python benchmarks/inference.py

The plain loop takes one record at a time, through the same network without gradients, and has its
inputs for nothing: they are built before the clock runs. Our sides begin with records as they come
off the wire: `outputs` builds the inputs, asks the network and calibrates; `judge`, which is what
the sensor does, makes verdicts of that too, malicious ones with evidence, as in a replay; live
it is bounded. The sides take turns; the best of ``--rounds`` counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from recorded import add_data_option, columns, describe, machine, record
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


def rates(sides: Sequence[tuple[int, Callable[[], object]]], rounds: int) -> list[float]:
    """Return records per second of sides that judge so many; the best of `rounds` counts."""
    best = [float("inf")] * len(sides)
    for _ in range(rounds):
        for side, (_, run) in enumerate(sides):
            begin = time.perf_counter()
            run()
            best[side] = min(best[side], time.perf_counter() - begin)
    return [count / seconds for (count, _), seconds in zip(sides, best, strict=True)]


def compare(model: Model, records: FlowBatch, sizes: Sequence[int], rounds: int) -> None:
    """Print one line for each batch size."""
    rows = np.resize(model.rows(records), max(*sizes, SINGLE))
    inputs = single_inputs(model, records.take(rows[:SINGLE]))
    for size in sizes:
        batches = [records.take(rows[:size])] * max(1, 256 // size)
        count = size * len(batches)
        malicious = model.judge(batches[0]).malicious.mean()
        plain, outputs, judge = rates(
            (
                (len(inputs), partial(plain_loop, model, inputs)),
                (count, partial(each, model.outputs, batches)),
                (count, partial(each, model.judge, batches)),
            ),
            rounds,
        )
        print(
            f"{model.name:>12s} {size:6d} {plain:10,.0f} {outputs:10,.0f} {judge:10,.0f} "
            f"{malicious:10.1%} {outputs / plain:13.1f}x {judge / plain:11.1f}x",
            flush=True,
        )


def each(run: Callable[[FlowBatch], object], batches: Sequence[FlowBatch]) -> None:
    """Call `run` with one batch after the other."""
    for batch in batches:
        run(batch)


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
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args()
    samples = record(options.data)
    models = load_models(options.models, options.device, options.threads)
    print(f"{machine()}; {models[0].device}, {torch.get_num_threads()} threads of torch")
    print(describe(samples))
    records = to_flow_batch([columns(samples)])
    print(
        "records/s:    batch plain loop    outputs      judge  malicious outputs/plain judge/plain"
    )
    for model in models:
        compare(model, records, options.batch, options.rounds)


if __name__ == "__main__":
    main()
