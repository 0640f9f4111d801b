"""What of a record decided its verdict: parts of the input taken away in turn.

A part that is set to 0 is not there: no byte, no packet, no word. How far the log odds of what was
said fall without it is what it counts for. This asks the model only, so that it holds for networks
and forests alike. Occlusion: Zeiler, Fergus: "Visualizing and Understanding Convolutional
Networks", ECCV 2014.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtc_sensor.features.flowpic import flowpic_indices
from mtc_sensor.features.payload import PARTS
from mtc_sensor.features.spec import (
    ByteMatrixSpec,
    FlowPicSpec,
    FusionSpec,
    InputSpec,
    PacketBytesSpec,
    PayloadSpec,
    SizesSpec,
    TokensSpec,
)
from mtc_sensor.flow import FlowBatch
from mtc_sensor.models.inputs import inputs_of

if TYPE_CHECKING:
    from mtc_sensor.inference import Model
    from mtc_sensor.verdict import Verdicts

MAX_INPUTS = 8
"""Inputs of one record that are looked into: the fullest."""
MOST_LIVE = 16
"""Malicious verdicts of a batch that are explained where others wait."""
_VALUES = 1 << 22
_TOLD = 2
_LEAST = 1e-12
_NOTHING = 0.05
"""Log odds below which a part decided nothing."""
_CELLS = 4
"""A picture is cut into so many parts of sizes and of times."""


class Part(NamedTuple):
    """A part of an input."""

    input: int
    """Which of the record's inputs."""
    where: tuple[slice | int, ...]
    """Which of its values."""
    name: str
    """In words, printable ASCII."""


class Evidence(NamedTuple):
    """What each part of a record's inputs counts for."""

    inputs: NDArray[np.generic]
    """(w, ...) the inputs that were looked into, at most `MAX_INPUTS`."""
    numbers: NDArray[np.int64]
    """(w,) which of the record's inputs these are."""
    parts: list[Part]
    effect: NDArray[np.float64]
    """(parts,) log odds of what was said that are lost without the part."""


def told(
    model: Model, batch: FlowBatch, verdicts: Verdicts, most_explained: int | None = None
) -> Verdicts:
    """Return verdicts on a batch whose malicious ones say what decided them.

    The first `most_explained` do; None for all. A fusion shows its members instead.
    """
    rows = _explained(model, verdicts)[:most_explained]
    if not len(rows):
        return verdicts
    details = verdicts.detail.tolist()
    for row in rows.tolist():
        line = in_words(explain(model, batch.take([row]), str(verdicts.label[row])))
        details[row] = f"{details[row]} {line}".strip()
    return replace(verdicts, detail=np.array(details, np.str_))


def untold(model: Model, verdicts: Verdicts, most_explained: int | None) -> int:
    """Return how many verdicts `told` passes over because of `most_explained`."""
    count = len(_explained(model, verdicts))
    return 0 if most_explained is None else max(count - most_explained, 0)


def _explained(model: Model, verdicts: Verdicts) -> NDArray[np.int64]:
    fusion = isinstance(model.bundle.spec, FusionSpec)
    return np.flatnonzero(verdicts.malicious & (not fusion))


def explain(model: Model, record: FlowBatch, label: str, fine: int = 0) -> Evidence:
    """Take parts of a record's inputs away in turn.

    Parameters
    ----------
    model
        Not a fusion.
    record
        One record that the model judges.
    label
        What was said of it. For a malicious one all malicious labels count.
    fine
        Size of a part: bytes of a packet, or cells of a picture either way; 0 for headers and
        payloads, and sixteenths of pictures.

    Raises
    ------
    ValueError
        For an unknown label.
    """
    spec = model.bundle.spec
    assert not isinstance(spec, FusionSpec)
    columns = _columns(model, label)
    built = inputs_of(record, spec)
    whole = built.take(np.arange(len(built.rows)), model.device)
    fullest = np.argsort(-(whole != 0).flatten(1).sum(1).cpu().numpy(), kind="stable")
    chosen = np.sort(fullest[:MAX_INPUTS])
    inputs = whole[torch.from_numpy(chosen).to(model.device)]
    there = [
        part
        for part in _parts(spec, record, chosen, inputs, fine)
        if bool(inputs[(part.input, *part.where)].any())
    ]
    effect = _effects(model, inputs, there, columns)
    return Evidence(inputs.cpu().numpy(), chosen, there, effect)


def in_words(evidence: Evidence) -> str:
    """Name the two parts that count most, and what share of all that counts; empty for none."""
    lost = np.maximum(evidence.effect, 0)
    order = np.argsort(-lost, kind="stable")[:_TOLD]
    said = [
        f"{evidence.parts[i].name} ({lost[i] / lost.sum():.0%})"
        for i in order.tolist()
        if lost[i] > _NOTHING
    ]
    return f"decided by {', '.join(said)}" if said else ""


def _columns(model: Model, label: str) -> NDArray[np.bool_]:
    policy = model.policy
    if label in policy.malicious:
        return policy.is_malicious
    named: NDArray[np.bool_] = np.arange(len(policy.labels)) == policy.labels.index(label)
    return named


def _effects(
    model: Model, inputs: Tensor, parts: list[Part], columns: NDArray[np.bool_]
) -> NDArray[np.float64]:
    if not parts:
        return np.empty(0)
    with torch.inference_mode():
        single = model.bundle.probabilities(inputs).double()
        step = max(1, _VALUES // inputs[0].numel())
        changed = torch.cat(
            [
                model.bundle.probabilities(_without(inputs, parts[at : at + step])).double()
                for at in range(0, len(parts), step)
            ]
        )
    which = torch.tensor([part.input for part in parts], device=inputs.device)
    mean = (single.sum(0) - single[which] + changed) / len(inputs)
    before = _log_odds(single.mean(0, keepdim=True).cpu().numpy(), columns)
    return before - _log_odds(mean.cpu().numpy(), columns)


def _without(inputs: Tensor, parts: list[Part]) -> Tensor:
    changed = inputs[[part.input for part in parts]].clone()
    for row, part in enumerate(parts):
        changed[(row, *part.where)] = 0
    return changed


def _log_odds(p: NDArray[np.float64], columns: NDArray[np.bool_]) -> NDArray[np.float64]:
    said, else_ = p[:, columns].sum(axis=1), p[:, ~columns].sum(axis=1)
    odds: NDArray[np.float64] = np.log(said + _LEAST) - np.log(else_ + _LEAST)
    return odds


def _parts(
    spec: InputSpec, record: FlowBatch, chosen: NDArray[np.int64], inputs: Tensor, fine: int
) -> Iterator[Part]:
    if isinstance(spec, ByteMatrixSpec | PacketBytesSpec):
        return _pieces(spec, record, chosen, fine)
    if isinstance(spec, FlowPicSpec):
        return _cells(spec, flowpic_indices(record, spec).window[chosen].tolist(), fine)
    if isinstance(spec, SizesSpec):
        return (Part(0, (packet,), f"packet {packet + 1}") for packet in range(spec.packets))
    if isinstance(spec, PayloadSpec):
        ends = [*PARTS.values(), spec.shape[0]]
        pairs = zip([*PARTS, "4-grams"], [0, *ends], ends, strict=False)
        return (Part(0, (slice(begin, end),), name) for name, begin, end in pairs if begin < end)
    return _words(spec, inputs[0].nonzero().flatten().tolist())


def _words(spec: TokensSpec, columns: list[int]) -> Iterator[Part]:
    words = spec.vocabulary
    for column in columns:
        statistic = f"statistic {column - len(words) + 1}"
        yield Part(0, (column,), words[column] if column < len(words) else statistic)


def _pieces(
    spec: ByteMatrixSpec | PacketBytesSpec, record: FlowBatch, chosen: NDArray[np.int64], fine: int
) -> Iterator[Part]:
    """Cut packets, which are rows of one input or an input each."""
    rows = isinstance(spec, ByteMatrixSpec)
    packets = list(range(min(len(record.head), spec.shape[0]))) if rows else chosen.tolist()
    for at, packet in enumerate(packets):
        for begin, end, name in _cut(record, packet, spec.bytes, fine):
            where = (packet, slice(begin, end)) if rows else (slice(begin, end),)
            yield Part(0 if rows else at, where, f"packet {packet + 1} {name}")


def _cut(record: FlowBatch, packet: int, width: int, fine: int) -> Iterator[tuple[int, int, str]]:
    """Cut a packet into headers and payload, or evenly; yield begin, end, and name."""
    length = min(int(record.head_len[packet]), width)
    if fine:
        for begin in range(0, length, fine):
            end = min(begin + fine, length)
            yield begin, end, f"bytes {begin}-{end - 1}"
        return
    transport = int(record.head_l4[packet]) or length
    payload = transport + _transport_header(record, packet, transport)
    edges = (
        (0, transport, "IP header"),
        (transport, payload, "transport header"),
        (payload, payload + 16, "payload bytes 0-15"),
        (payload + 16, length, "payload from byte 16"),
    )
    for begin, end, name in edges:
        if begin < min(end, length):
            yield begin, min(end, length), name


def _transport_header(record: FlowBatch, packet: int, transport: int) -> int:
    head = record.head[packet]
    if record.proto[0] == 6 and transport + 12 < len(head):
        return int(head[transport + 12] >> 4) * 4
    return 8


def _cells(spec: FlowPicSpec, windows: list[int], fine: int) -> Iterator[Part]:
    side = fine or -(-spec.resolution // _CELLS)
    starts = range(0, spec.resolution, side)
    size, time = spec.max_size / spec.resolution, spec.window_s / spec.resolution
    for at, channel, y, x in product(range(len(windows)), range(spec.channels), starts, starts):
        who = ("originator ", "responder ")[channel] if spec.direction else ""
        begin = windows[at] * spec.window_s
        name = (
            f"{who}packets of {y * size:.0f}-{min(y + side, spec.resolution) * size:.0f} bytes at "
            f"{begin + x * time:.3g}-{begin + min(x + side, spec.resolution) * time:.3g} s"
        )
        yield Part(at, (channel, slice(y, y + side), slice(x, x + side)), name)
