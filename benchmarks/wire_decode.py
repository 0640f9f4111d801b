"""Samples decoded: JSON (WebSocket) against Broker's binary format (ZeroMQ), in one run.

    python benchmarks/wire_decode.py

First the samples that a real Zeek published in both formats (tests/data/wire), then samples of a
capture, written in both: 32 in a message, as Zeek does where there are many, and alone. Both sides
end with the same checked columns, which is asserted. Beside them stands `json.loads` alone, which
only makes a tree. The sides take turns; the best of ``--repeat`` rounds counts, in CPU time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np
from recorded import ROOT, add_data_option, describe, machine, record

from mtc_sensor.wire import binary_events, events, topics, websocket_api
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.sample import Sample, batch_of
from mtc_sensor.wire.websocket_api import DataMessage

TOGETHER = 32
WIRE = ROOT / "tests" / "data" / "wire"


def from_json(text: str) -> Records:
    """Decode a message of Zeek's WebSocket API, as the transport does."""
    message = websocket_api.decode(text)
    assert isinstance(message, DataMessage)
    records = events.decode(ZeekEvent.from_value(message.value))
    assert isinstance(records, Records)
    return records


def from_binary(payload: bytes) -> Records:
    """Decode a message of Zeek's ZeroMQ backend, as the transport does."""
    records = binary_events.decode(payload)
    assert isinstance(records, Records)
    return records


def written(samples: Sequence[Sample], together: int) -> tuple[list[str], list[bytes]]:
    """Write samples as Zeek's WebSocket API and as its ZeroMQ backend do, so many in a message."""
    texts, data = [], []
    for first in range(0, len(samples), together):
        some = enumerate(samples[first : first + together], first + 1)
        batch = batch_of([replace(sample, seq=seq) for seq, sample in some])
        value = events.encode(batch).to_value()
        texts.append(websocket_api.encode(DataMessage(topics.samples_of(0), value)))
        data.append(binary_events.encode(batch))
    return texts, data


def same(one: Records, other: Records) -> bool:
    """Whether all columns are equal."""
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        for field in fields(Records)
    )


def best_of(sides: Sequence[Callable[[], object]], repeat: int) -> list[float]:
    """Return CPU seconds of each, the best of `repeat` rounds in which they take turns."""
    best = [float("inf")] * len(sides)
    for _ in range(repeat):
        for side, run in enumerate(sides):
            begin = time.process_time()
            run()
            best[side] = min(best[side], time.process_time() - begin)
    return best


def compare(name: str, texts: Sequence[str], data: Sequence[bytes], repeat: int) -> None:
    """Print microseconds per sample."""
    pairs = list(zip(map(from_json, texts), map(from_binary, data), strict=True))
    assert all(same(left, right) for left, right in pairs)
    count = sum(len(records) for _, records in pairs)
    sides = (
        lambda: [from_json(text) for text in texts],
        lambda: [json.loads(text) for text in texts],
        lambda: [from_binary(payload) for payload in data],
    )
    text, tree, packed = (1e6 * s / count for s in best_of(sides, repeat))
    print(
        f"{name:>24s} {text:10.1f} {tree:11.1f} {packed:8.1f} {text / packed:13.1f}x "
        f"{tree / packed:13.1f}x",
        flush=True,
    )


def main() -> None:
    """Print one line for each kind of sample."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--repeat", type=int, default=5, help="rounds; the best counts")
    parser.add_argument("--samples", type=int, default=1000, help="of the captures")
    options = parser.parse_args()
    samples = record(options.data, options.samples)
    print(machine())
    print(describe(samples))
    print(f"{'microseconds of':>24s}       JSON  json.loads   binary   JSON/binary  loads/binary")
    text, data = (
        (WIRE / "MTC-sample_batch.json").read_text(),
        (WIRE / "MTC-sample_batch.bin").read_bytes(),
    )
    compare("one that Zeek published", [text] * 200, [data] * 200, options.repeat)
    for low, high in ((0, 8), (8, 9), (9, 100), (100, 10_000)):
        part = [sample for sample in samples if low <= len(sample.samples) < high]
        name = "8 packets" if low == 8 else f"{low or 4} to {high - 1} packets"
        if part:
            compare(name, *written(part, TOGETHER), options.repeat)
    compare("all", *written(samples, TOGETHER), options.repeat)
    compare("all, each alone", *written(samples, 1), options.repeat)


if __name__ == "__main__":
    main()
