"""The sensor end to end over ZeroMQ: `mtc-sensor run` as a process, and an exporter of our own.

    python benchmarks/sensor_rate.py --models byte-cnn flowpic
    python benchmarks/sensor_rate.py --overload --seconds 300
    python benchmarks/sensor_rate.py --soak --seconds 3600

Samples of a capture are replayed by another process (exporter.py), which does what Zeek's scripts
do live: it publishes what it is granted, queues 2,000 samples, sheds the rest. Printed are

- the highest rate without loss: the sensor is first given as much as it takes, then less and less
  until nothing is shed or lost and the exporter's queue keeps running empty;
- the latency at that rate and at half of it, from a sample's publication to each of its verdicts
  back at the exporter, and from the moment that it was due; CPU, and the time of the stages;
- the rates of the stages alone, each in a loop, and the end-to-end rate over the slowest.

With ``--overload`` it runs at half that rate, at twice, and at half again; with ``--soak`` at half,
for long. The exporter takes its part of the machine: its CPU is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from beside import Run, Usage, running
from recorded import Payloads, add_data_option, describe, machine, record

from mtc_sensor.inference import load_models
from mtc_sensor.judging import SampleJudge
from mtc_sensor.outputs.zeek_event import verdict_events
from mtc_sensor.wire import binary_events
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.sample import Sample

FRACTIONS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
CHUNK_S = 10.0
MEGABYTE = 1e6


def highest_rate(run: Run, seconds: float) -> float:
    """Find the highest rate at which nothing is lost."""
    run.replay(0.0, seconds)  # warms up
    most: float = run.replay(0.0, seconds)["rate"]
    print(f"as much as it takes: {most:,.0f} samples/s")
    for fraction in FRACTIONS:
        before = run.usage().cpu_s
        result = run.replay(fraction * most, seconds)
        cpu = (run.usage().cpu_s - before) / seconds
        free = not result["shed_now"] and result["seconds"][-1]["queue"] == 0
        print(
            f"{fraction * most:8,.0f} samples/s: {result['shed_now']:,} shed, "
            f"{'queue ran empty' if free else 'queue did not run empty'}; cores used: sensor "
            f"{cpu:.2f}, exporter and bus {result['cpu']:.2f}",
            flush=True,
        )
        if free:
            return fraction * most
    sys.exit("no rate without loss was found")


def latencies(result: dict[str, Any], skip: int = 1) -> dict[str, float]:
    """Return medians over the seconds of each second's percentiles, in ms."""
    seconds = result["seconds"][skip:] or result["seconds"]
    return {
        name: statistics.median(second[name] for second in seconds)
        for name in ("p50", "p99", "due_p50", "due_p99")
    }


def at_rate(run: Run, name: str, rate: float, seconds: float) -> None:
    """Print latencies, CPU, and what the stages took, at a rate without loss."""
    before, spent = run.usage().cpu_s, run.stages()
    result = run.replay(rate, seconds)
    count = max(result["made_now"], 1)
    each = (run.usage().cpu_s - before) / count
    parts = {
        stage: 1e6 * (after - spent.get(stage, 0.0)) / count
        for stage, after in run.stages().items()
    }
    print(f"{name}: {shown(latencies(result))}")
    print(
        f"    {1e6 * each:.0f} us of CPU per sample; its stages, waiting included: "
        f"{', '.join(f'{stage} {part:.0f}' for stage, part in parts.items())}",
        flush=True,
    )


def shown(found: dict[str, float]) -> str:
    """Write latencies."""
    return (
        f"added latency p50 {found['p50']:.1f} ms, p99 {found['p99']:.1f} ms "
        f"(since it was due: {found['due_p50']:.1f}, {found['due_p99']:.1f})"
    )


def overload(run: Run, rate: float, seconds: float) -> None:
    """Run at half of `rate`, twice of it, and half again."""
    calm_s = min(30.0, seconds)
    run.order(rate / 2, calm_s, settle=False)
    run.order(rate * 2, seconds, settle=False)
    run.order(rate / 2, calm_s)
    before = latencies(run.result())
    memory = [run.usage().resident]
    begin = time.monotonic()
    while time.monotonic() < begin + seconds - 1.0:
        time.sleep(min(CHUNK_S, seconds / 10))
        memory.append(run.usage().resident)
    during, after = run.result(), run.result()
    worse = latencies(during)
    print(f"at half:        {shown(before)}")
    print(f"at twice:       {shown(worse)}, p99 {worse['p99'] / before['p99']:.2f} times that")
    print(f"at half again:  {shown(latencies(after, skip=5))}")
    print(f"shed by the exporter {during['shed_now']:,}; judged {during['rate']:,.0f} samples/s")
    print(f"memory, MB: {', '.join(f'{m / MEGABYTE:.0f}' for m in memory)}")
    recovery = recovery_s(after["seconds"], before["due_p99"])
    late = f"not normal again in {seconds:.0f} s"
    print(late if math.isnan(recovery) else f"normal again after {recovery:.0f} s")


def recovery_s(seconds: Sequence[dict[str, float]], normal: float) -> float:
    """Return when latencies were back to one and a half of the normal ones for three seconds."""
    for index in range(len(seconds) - 2):
        if all(0 < second["due_p99"] <= 1.5 * normal for second in seconds[index : index + 3]):
            return seconds[index]["at"] - 1.0
    return float("nan")


def soak(run: Run, rate: float, seconds: float) -> None:
    """Run at half of `rate` for long."""
    run.replay(0.0, CHUNK_S)  # the largest batches have taken their memory
    begin = time.monotonic()
    table: list[tuple[float, Usage]] = []
    print("   s   MB  threads  files  p99 ms")
    while (at := time.monotonic() - begin) < seconds:
        result = run.replay(rate / 2, min(CHUNK_S, seconds))
        usage = run.usage()
        table.append((at, usage))
        print(
            f"{at:5.0f} {usage.resident / MEGABYTE:5.0f} {usage.threads:7d} {usage.files:6d} "
            f"{latencies(result)['p99']:8.1f}",
            flush=True,
        )
    first = next((usage for at, usage in table if at >= 120), table[0][1])
    last = table[-1][1]
    print(
        f"memory at the end over minute two: {last.resident / first.resident - 1:+.1%}; threads "
        f"{last.threads - first.threads:+d}, files {last.files - first.files:+d}"
    )


def stages(samples: Sequence[Sample], options: argparse.Namespace) -> dict[str, float]:
    """Return samples per second of each stage alone, one after the other in this process."""
    payloads = Payloads(samples)
    data = [payloads.of(0, first, 32) for first in range(1, 2049, 32)]
    decoded = [event for event in map(binary_events.decode, data) if isinstance(event, Records)]
    threads = json.loads(options.config).get("threads", 1)
    judge = SampleJudge("sensor", load_models(options.models, options.device, threads))
    batches = [[Records.concat(decoded[at : at + 8])] for at in range(0, len(decoded), 8)]
    verdicts = [its for batch in batches for said in judge(batch) for its in said]
    sides: dict[str, Callable[[], object]] = {
        "decode": lambda: [binary_events.decode(payload) for payload in data],
        "judge": lambda: [list(judge(batch)) for batch in batches],
        "encode verdicts": lambda: [
            binary_events.encode(event) for said in verdicts for _, event in verdict_events(said)
        ],
    }
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(3):
        for name, side in sides.items():
            begin = time.perf_counter()
            side()
            best[name] = min(best[name], time.perf_counter() - begin)
    return {name: 2048 / seconds for name, seconds in best.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--models", nargs="+", default=["byte-cnn", "flowpic"])
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda")
    parser.add_argument("--workers", type=int, default=1, help="processes, each with a shard")
    parser.add_argument("--config", default="{}", help="more of sensor.yaml, as JSON")
    parser.add_argument("--rate", type=float, help="take this for the highest rate without loss")
    parser.add_argument("--seconds", type=float, help="of each step, of --overload or of --soak")
    parser.add_argument("--overload", action="store_true")
    parser.add_argument("--soak", action="store_true")
    options = parser.parse_args()
    samples = record(options.data)
    print(f"{machine()}; {options.device}")
    print(describe(samples))
    print(f"models: {', '.join(options.models)}", flush=True)
    long_s = options.seconds or (300.0 if options.overload else 3600.0)
    step_s = 8.0 if options.overload or options.soak else options.seconds or 10.0
    with running(options) as run:
        rate = options.rate or highest_rate(run, step_s)
        print(f"highest rate without loss: {rate:,.0f} samples/s", flush=True)
        if options.overload:
            overload(run, rate, long_s)
        elif options.soak:
            soak(run, rate, long_s)
        else:
            at_rate(run, "at that rate", rate, step_s)
            at_rate(run, "at half of it", rate / 2, step_s)
    if not options.overload and not options.soak:
        alone = stages(samples, options)
        print(", ".join(f"{name} alone: {r:,.0f}/s" for name, r in alone.items()))
        print(f"end to end over the slowest stage alone: {rate / min(alone.values()):.2f}")


if __name__ == "__main__":
    main()
