"""The records of a real Zeek with our scripts against those of `mtc_sensor.capture`.

Zeek's records are taken where they are published, and go through the decoder that the sensor puts
them through (`mtc_sensor.wire.assemble`). What is compared, and what may differ, is in
docs/parity.md.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.flows import FlowSettings, FlowTable
from mtc_sensor.capture.pcap import read_packets
from mtc_sensor.errors import CaptureError
from mtc_sensor.flow import FlowBatch, Kind, Samples, unpack_samples
from mtc_sensor.wire import lines
from mtc_sensor.wire.assemble import to_flow_batch
from mtc_sensor.wire.records import StreamId
from mtc_sensor.zeek import program, scripts

_PRINT = Path(__file__).with_name("records.zeek")
_TIMEOUT_S = 120
_RAW = {12: 101, 14: 101}
"""libpcap's numbers of raw IP, which differ by platform, and the one in files."""

Ends = tuple[int, bytes, int, bytes, int]
"""Protocol, originator and its port, responder and its port."""


@dataclass(frozen=True, eq=False)
class Record:
    """One row of a `FlowBatch`."""

    kind: Kind
    ends: Ends
    start_us: int
    samples: NDArray[np.uint64]
    heads: tuple[bytes, ...]
    l4: tuple[int, ...]


class Flow(NamedTuple):
    """What a connection has reported: its records in their order."""

    ends: Ends
    start_us: int
    records: list[Record]


class Source(NamedTuple):
    """All that one side says of a capture."""

    records: FlowBatch
    links: frozenset[int]


@dataclass(frozen=True)
class Difference:
    """A connection that is not the same on both sides."""

    capture: Path
    causes: tuple[str, ...]
    zeek: Flow | None
    ours: Flow | None


@dataclass(frozen=True)
class Comparison:
    """What came of one capture."""

    capture: Path
    flows: int
    records: Mapping[Kind, int]
    packets: int
    differences: list[Difference]
    fault: str = ""
    """Why there is nothing to compare."""


def compare(
    capture: Path, settings: FlowSettings | None = None, *, verify_checksums: bool = False
) -> Comparison:
    """Run a capture through both sides and compare all of its connections."""
    settings = settings or FlowSettings()
    try:
        ours = of_capture(capture, settings, verify_checksums)
        zeek = of_zeek(capture, settings, verify_checksums)
    except (CaptureError, subprocess.SubprocessError) as fault:
        return Comparison(capture, 0, {}, 0, [], f"{fault}")
    pairs = list(matched(flows(zeek.records), flows(ours.records)))
    link = ("link",) if not zeek.links <= ours.links else ()
    differences = [
        Difference(capture, causes, one, other)
        for one, other in pairs
        if (causes := link + differing(one, other))
    ]
    kinds, counts = np.unique(ours.records.kind, return_counts=True)
    records = dict(zip(map(Kind, kinds.tolist()), counts.tolist(), strict=True))
    packets = len(ours.records.samples)
    return Comparison(capture, len(pairs), records, packets, differences)


def compare_all(captures: Iterable[Path], settings: FlowSettings) -> Iterator[Comparison]:
    """Compare captures, two at a time, in their order."""
    pool = ThreadPoolExecutor(2)
    try:
        yield from pool.map(lambda capture: compare(capture, settings), captures)
    finally:
        pool.shutdown(cancel_futures=True)


def of_capture(capture: Path, settings: FlowSettings, verify_checksums: bool) -> Source:
    """Return the records of our own reader, decoder and flow table."""
    table, decoder = FlowTable(settings), Decoder(verify_checksums=verify_checksums)
    parts, links = [], set[int]()
    for packets in read_packets(capture):
        links.update(_RAW.get(link, link) for link in np.unique(packets.link).tolist())
        parts.append(table.add(packets, decoder.decode(packets)))
    return Source(FlowBatch.concat([*parts, table.finish()]), frozenset(links))


def of_zeek(capture: Path, settings: FlowSettings, verify_checksums: bool) -> Source:
    """Return the records of a real Zeek with our scripts."""
    options = [
        f"MTC::min_packets={settings.min_packets}",
        f"MTC::max_samples={settings.max_samples}",
        f"MTC::block_interval={settings.block_s}sec",
    ]
    ignore = [] if verify_checksums else ["-C"]
    command = [program(), *ignore, "-r", str(capture.resolve()), str(scripts()), str(_PRINT)]
    with TemporaryDirectory(prefix="mtc-") as folder:
        done = subprocess.run(
            [*command, *options],
            cwd=folder, check=True, capture_output=True, timeout=_TIMEOUT_S,
        )  # fmt: skip
    printed = [line.partition(b" ") for line in done.stdout.splitlines()]
    if not printed:
        return Source(to_flow_batch([]), frozenset())
    links = {int(link) for link, *_ in printed}
    records = lines.read([line for *_, line in printed], StreamId("", "", 0), 1, min(links))
    return Source(to_flow_batch([records]), frozenset(_RAW.get(link, link) for link in links))


def flows(batch: FlowBatch) -> list[Flow]:
    """Return a batch's connections."""
    by_uid: dict[bytes, list[Record]] = defaultdict(list)
    for row, uid in enumerate(batch.uid.tolist()):
        by_uid[uid].append(_record(batch, row))
    return [
        Flow(records[-1].ends, min(record.start_us for record in records), records)
        for records in by_uid.values()
    ]


def _record(batch: FlowBatch, row: int) -> Record:
    heads = range(batch.head_offsets[row], batch.head_offsets[row + 1])
    return Record(
        kind=Kind(batch.kind[row]),
        ends=(
            int(batch.proto[row]),
            batch.orig_h[row].tobytes(),
            int(batch.orig_p[row]),
            batch.resp_h[row].tobytes(),
            int(batch.resp_p[row]),
        ),
        start_us=int(batch.start_us[row]),
        samples=batch.samples[batch.sample_offsets[row] : batch.sample_offsets[row + 1]],
        heads=tuple(batch.head[k, : batch.head_len[k]].tobytes() for k in heads),
        l4=tuple(int(batch.head_l4[k]) for k in heads),
    )


def matched(zeek: list[Flow], ours: list[Flow]) -> Iterator[tuple[Flow | None, Flow | None]]:
    """Pair the connections of both sides: by ends and start, then without roles, then by ends."""
    for key in (_exact, _either_way, _same_ends):
        pairs, zeek, ours = _paired(zeek, ours, key)
        yield from pairs
    yield from ((flow, None) for flow in zeek)
    yield from ((None, flow) for flow in ours)


def _exact(flow: Flow) -> object:
    return flow.ends, flow.start_us


def _either_way(flow: Flow) -> object:
    return _same_ends(flow), flow.start_us


def _same_ends(flow: Flow) -> object:
    proto, *ends = flow.ends
    return proto, frozenset([(ends[0], ends[1]), (ends[2], ends[3])])


def _paired(
    zeek: list[Flow], ours: list[Flow], key: Callable[[Flow], object]
) -> tuple[list[tuple[Flow, Flow]], list[Flow], list[Flow]]:
    """Return pairs of equal keys, earlier ones first, and what is left of either side."""
    waiting: dict[object, list[Flow]] = defaultdict(list)
    for flow in sorted(ours, key=_order, reverse=True):
        waiting[key(flow)].append(flow)
    pairs, alone = [], []
    for flow in sorted(zeek, key=_order):
        if others := waiting[key(flow)]:
            pairs.append((flow, others.pop()))
        else:
            alone.append(flow)
    return pairs, alone, [flow for others in waiting.values() for flow in others]


def _order(flow: Flow) -> Any:
    return flow.start_us, [record.samples.tobytes() for record in flow.records]


def differing(zeek: Flow | None, ours: Flow | None) -> tuple[str, ...]:
    """Name what is not the same; nothing for identical connections."""
    if zeek is None or ours is None:
        return ("only in capture",) if zeek is None else ("only in Zeek",)
    if [record.kind for record in zeek.records] != [record.kind for record in ours.records]:
        return ("kinds",)
    causes = {
        cause
        for one, other in zip(zeek.records, ours.records, strict=True)
        for cause in _differing(one, other)
    }
    return tuple(sorted(causes))


def _differing(zeek: Record, ours: Record) -> Iterator[str]:
    for name in ("ends", "start_us", "heads", "l4"):
        if getattr(zeek, name) != getattr(ours, name):
            yield name
    if len(zeek.samples) != len(ours.samples):
        yield "packets"
    elif not np.array_equal(zeek.samples, ours.samples):
        one, other = unpack_samples(zeek.samples), unpack_samples(ours.samples)
        for name in Samples._fields:
            if not np.array_equal(getattr(one, name), getattr(other, name)):
                yield name
