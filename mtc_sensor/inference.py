"""Flow records through models in batches: which records a model judges, and its probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.errors import BundleError
from mtc_sensor.evidence import told
from mtc_sensor.features.spec import FusionSpec
from mtc_sensor.flow import FlowBatch, Kind
from mtc_sensor.fusion import Members
from mtc_sensor.models.bundle import Bundle, bundle_path, check_reference, load_bundle
from mtc_sensor.models.device import device_of, moved, one_ahead
from mtc_sensor.models.inputs import Pictures, chunks, inputs_of
from mtc_sensor.models.novelty import calibrated, feature_width
from mtc_sensor.models.serving import prepared
from mtc_sensor.verdict import Verdicts, judge

BATCH_VALUES = {"cpu": 1 << 18, "cuda": 1 << 22}
"""Input values in one forward pass, at most (but one input), by the kind of device.

Activations take a hundred times the room of the input: on a CPU those of 256 byte matrices, or 128
small FlowPics, stay in its cache.
"""

_SPARSE = 100
"""A picture's cells for each value that a network keeps of it where it is sparse."""


class Outputs(NamedTuple):
    """What a model computes of ``n`` records; NaN in a row that gives no input."""

    probabilities: NDArray[np.float32]
    """(n, labels) calibrated."""
    novelty: NDArray[np.float32] | None
    """(n,) distance in [0, 2] from what the model was trained on; None if it cannot say."""


class Model:
    """A bundle on a device, ready to judge records.

    Parameters
    ----------
    bundle
        A loaded bundle; its network is moved to the device.
    device
        ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, or ``cuda:N``.

    Raises
    ------
    BundleError
        If the device cannot be had.
    """

    def __init__(self, bundle: Bundle, device: str = "auto") -> None:
        self.bundle = bundle
        self.device = device_of(device)
        bundle.to(self.device)
        members = [Model(member, device) for member in bundle.members]
        self.members = Members(members) if members else None

        self.name = bundle.config.name
        self.policy = bundle.config.verdict_policy()
        kinds = [Kind[name.upper()] for name in bundle.config.judges.kinds]
        self._kinds = np.isin(np.arange(256), kinds)

    def rows(self, batch: FlowBatch) -> NDArray[np.int64]:
        """Return the indices of the records that the model judges, in order."""
        judged = self._kinds[batch.kind]
        judged &= batch.packets >= self.bundle.config.judges.min_packets
        spec = self.bundle.spec
        if spec.head_bytes:
            judged &= batch.heads > 0
        if spec.reads_tokens:
            judged &= np.diff(batch.token_offsets) > 0
        if self.members is not None:
            judged &= self.members.rows(batch)
        return np.flatnonzero(judged)

    def predict(self, batch: FlowBatch) -> NDArray[np.float32]:
        """Return (n, labels) calibrated probabilities of every record of `batch`."""
        return self.outputs(batch).probabilities

    def outputs(self, batch: FlowBatch) -> Outputs:
        """Return probabilities and novelty of every record of `batch`.

        Memory is bounded whatever the batch: `BATCH_VALUES` input values at a time. The inputs of
        one record weigh the same.
        """
        return self._outputs(*self.inputs(batch), len(batch))

    def judge(
        self, batch: FlowBatch, now_us: int | None = None, most_explained: int | None = None
    ) -> Verdicts:
        """Return a verdict on every record of `batch`; `now_us` is `verdict.judge`'s.

        Of the malicious ones the first `most_explained` say what decided them; None for all.
        """
        if self.members is None:
            outputs = self.outputs(batch)
            verdicts = judge(
                batch, self.name, self.policy, outputs.probabilities, now_us, outputs.novelty
            )
            return told(self, batch, verdicts, most_explained)
        evidence = self.members.evidence(batch)
        outputs = self._outputs(self._sliced(evidence), None, len(batch))
        verdicts = judge(
            batch, self.name, self.policy, outputs.probabilities, now_us, outputs.novelty
        )
        return self.members.told(verdicts, evidence)

    def _outputs(
        self, inputs: Iterator[Tensor], rows: NDArray[np.int64] | None, count: int
    ) -> Outputs:
        given = count if rows is None else len(rows)
        found = map(self._forward, inputs)
        parts = one_ahead(found) if self.device.type == "cuda" else found
        values = _stacked(parts, (given, len(self.policy.labels) + 1))
        if rows is not None:
            values = mean_by_row(values, rows, count)
        return self._calibrated(values[:, :-1], values[:, -1])

    def features(self, batch: FlowBatch) -> NDArray[np.float32]:
        """Return (inputs, d) what novelty is measured by: a row for every input of the records."""
        inputs, rows = self.inputs(batch)
        given = len(batch) if rows is None else len(rows)
        width = feature_width(self.bundle.network, self.bundle.spec.shape)
        with torch.inference_mode():
            parts = (self.bundle.outputs(part)[1] for part in inputs)
            return _stacked(parts, (given, width))

    def inputs(self, batch: FlowBatch) -> tuple[Iterator[Tensor], NDArray[np.int64] | None]:
        """Return the inputs in batches on the device, and the record of each (None: in order)."""
        spec = self.bundle.spec
        if isinstance(spec, FusionSpec):
            assert self.members is not None
            return self._sliced(self.members.evidence(batch)), None
        built, shape = inputs_of(batch, spec), spec.shape
        take = built.take
        if isinstance(built, Pictures) and getattr(self.bundle.network, "takes_sparse", False):
            take, shape = built.sparse, (math.ceil(math.prod(shape) / _SPARSE),)
        parts = (
            take(np.arange(part.start, part.stop), self.device)
            for part in chunks(len(built.rows), shape, BATCH_VALUES[self.device.type])
        )
        return parts, None if built.one_each else built.rows

    def ask(self, parts: Iterable[Tensor]) -> NDArray[np.float64]:
        """Return (B, labels) probabilities of inputs in batches on the device; not calibrated."""
        found = [np.empty((0, len(self.policy.labels)))]
        with torch.inference_mode():
            for inputs in parts:
                probabilities = self.bundle.probabilities(_padded(inputs))[: len(inputs)]
                found.append(probabilities.double().cpu().numpy())
        return np.concatenate(found)

    def _sliced(self, evidence: NDArray[np.float32]) -> Iterator[Tensor]:
        for part in chunks(len(evidence), evidence.shape[1:], BATCH_VALUES[self.device.type]):
            yield moved(evidence[part], self.device)

    def _calibrated(
        self, probabilities: NDArray[np.float32], novelty: NDArray[np.float32]
    ) -> Outputs:
        how = self.bundle.config.calibration
        if how is not None:
            probabilities = calibrated(probabilities, novelty, how)
        return Outputs(probabilities, None if self.bundle.neighbours is None else novelty)

    def _forward(self, inputs: Tensor) -> Tensor:
        """Return (B, labels + 1): probabilities, then novelty, 0 where it cannot be told."""
        with torch.inference_mode():
            probabilities, features = self.bundle.outputs(_padded(inputs))
            known, count = self.bundle.neighbours, inputs.shape[0]
            found = probabilities.new_zeros(count, probabilities.shape[1] + 1)
            found[:, :-1] = probabilities[:count]
            if known is not None:
                found[:, -1] = known.novelty(features[:count])
            return found


def load_models(names: Sequence[str], device: str = "auto", threads: int = 1) -> list[Model]:
    """Load bundles by shipped name or folder, in their order, ready to serve.

    On a CPU torch then has `threads` in this process. Several that wait for each other on cores
    with other work took four times as long as one; cores are used by processes.

    Raises BundleError for one that is refused, for none, for two of one name, and for one whose
    reference is not what the device computes.
    """
    torch.set_num_threads(threads)
    models = [_serving(load_bundle(bundle_path(name)), device) for name in names]
    if not models or len({model.name for model in models}) < len(models):
        raise BundleError(f"models: {', '.join(names) or 'none'}: give at least one, and each once")
    return models


def _serving(bundle: Bundle, device: str) -> Model:
    """Return a model with networks made faster, or as they are if that changes what they compute.

    Computing the reference also warms up what compiles or allocates at first use.
    """
    members = tuple(replace(one, network=prepared(one.network)) for one in bundle.members)
    fast = replace(bundle, network=prepared(bundle.network), members=members)
    try:
        return _checked(Model(fast, device))
    except BundleError:
        return _checked(Model(bundle, device))


def _checked(model: Model) -> Model:
    for bundle in (*model.bundle.members, model.bundle):
        check_reference(bundle, model.device)
    return model


def settings_for(models: Sequence[Model], settings: FlowSettings | None = None) -> FlowSettings:
    """Return settings of flow assembly with all that the models look at in records."""
    asked = [*models, *(one for model in models if model.members for one in model.members.models)]
    settings = settings or FlowSettings()
    return replace(
        settings,
        min_packets=min(
            [settings.min_packets, *(model.bundle.config.judges.min_packets for model in asked)]
        ),
        head_bytes=max([settings.head_bytes, *(model.bundle.spec.head_bytes for model in asked)]),
        tokens=settings.tokens or any(model.bundle.spec.reads_tokens for model in asked),
    )


def judge_records(
    models: Sequence[Model],
    records: FlowBatch,
    now_us: int | None = None,
    most_explained: int | None = None,
) -> Verdicts:
    """Ask every model about the records it judges; the rest is `Model.judge`'s."""
    answers = judge_rows(models, records, now_us, most_explained)
    return Verdicts.concat([verdicts for _, verdicts in answers])


def judge_rows(
    models: Sequence[Model],
    records: FlowBatch,
    now_us: int | None = None,
    most_explained: int | None = None,
) -> Iterator[tuple[NDArray[np.int64], Verdicts]]:
    """Yield for every model the (m,) rows of the records it judges, and its verdicts on them."""
    for model in models:
        rows = model.rows(records)
        batch = records.take(rows)
        yield rows, model.judge(batch, now_us, most_explained)


def _padded(inputs: Tensor) -> Tensor:
    """Fill a batch up with zeros to one of four sizes between a power of two and the next.

    torch keeps memory for every size of batch that it has met; over a long run that is a gigabyte
    and more, with few sizes it is bounded.
    """
    if inputs.is_sparse:
        return inputs
    count, *shape = inputs.shape
    step = 1 << max(0, (count - 1).bit_length() - 3)
    room = -count % step
    return torch.cat([inputs, inputs.new_zeros(room, *shape)]) if room else inputs


def _stacked(parts: Iterable[Tensor], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the rows of all parts in one array of `shape`, which is there before they are.

    Kept one by one, each would hold the heap above the large inputs that it was computed of: 1500 x
    1500 pictures took 9 MB each that way until the last was done.
    """
    rows, end = np.empty(shape, np.float32), 0
    for part in parts:
        begin, end = end, end + len(part)
        rows[begin:end] = part.cpu().numpy()
    return rows


def mean_by_row(
    values: NDArray[np.floating], rows: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """Return (count, labels): the mean of the pictures' values per record, NaN without any."""
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, rows, values)
    with np.errstate(invalid="ignore"):
        mean = total / np.bincount(rows, minlength=count)[:, None]
    return mean.astype(np.float32)
