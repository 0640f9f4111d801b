"""Flow records through models in batches: which records a model judges, and its probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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
from mtc_sensor.models.bundle import Bundle, bundle_path, load_bundle
from mtc_sensor.models.inputs import inputs_of
from mtc_sensor.models.novelty import calibrated
from mtc_sensor.verdict import Verdicts, judge

BATCH_VALUES = 1 << 19
"""Input values in one forward pass, at most (but one input): 512 byte matrices, 256 small FlowPics.

Activations need a hundred times as much; larger batches were not faster on a CPU.
"""


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
        ``auto`` (CUDA where there is one), ``cpu``, or ``cuda``.

    Raises
    ------
    BundleError
        If the device cannot be had.
    """

    def __init__(self, bundle: Bundle, device: str = "auto") -> None:
        self.bundle = bundle
        self.device = _device(device)
        bundle.to(self.device)
        members = [Model(member, device) for member in bundle.members]
        self.members = Members(members) if members else None

        self.name = bundle.config.name
        self.policy = bundle.config.verdict_policy()

    def rows(self, batch: FlowBatch) -> NDArray[np.int64]:
        """Return the indices of the records that the model judges, in order."""
        judges = self.bundle.config.judges
        kinds = [Kind[name.upper()] for name in judges.kinds]
        judged = np.isin(batch.kind, kinds) & (batch.packets >= judges.min_packets)
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

    def judge(self, batch: FlowBatch, now_us: int | None = None) -> Verdicts:
        """Return a verdict on every record of `batch`; `now_us` is `verdict.judge`'s."""
        if self.members is None:
            outputs = self.outputs(batch)
            verdicts = judge(
                batch, self.name, self.policy, outputs.probabilities, now_us, outputs.novelty
            )
            return told(self, batch, verdicts)
        evidence = self.members.evidence(batch)
        outputs = self._outputs(self._sliced(evidence), None, len(batch))
        verdicts = judge(
            batch, self.name, self.policy, outputs.probabilities, now_us, outputs.novelty
        )
        return self.members.told(verdicts, evidence)

    def _outputs(
        self, inputs: Iterator[Tensor], rows: NDArray[np.int64] | None, count: int
    ) -> Outputs:
        columns = [np.empty((0, len(self.policy.labels) + 1), np.float32)]
        columns += [self._forward(part) for part in inputs]
        values = np.concatenate(columns)
        if rows is not None:
            values = mean_by_row(values, rows, count)
        return self._calibrated(values[:, :-1], values[:, -1])

    def features(self, batch: FlowBatch) -> NDArray[np.float32]:
        """Return (inputs, d) what novelty is measured by: a row for every input of the records."""
        with torch.inference_mode():
            parts = [self.bundle.outputs(part)[1].cpu() for part in self.inputs(batch)[0]]
        return torch.cat(parts).numpy() if parts else np.empty((0, 1), np.float32)

    def inputs(self, batch: FlowBatch) -> tuple[Iterator[Tensor], NDArray[np.int64] | None]:
        """Return the inputs in batches on the device, and the record of each (None: in order)."""
        spec = self.bundle.spec
        if isinstance(spec, FusionSpec):
            assert self.members is not None
            return self._sliced(self.members.evidence(batch)), None
        built = inputs_of(batch, spec)
        parts = (
            built.take(np.arange(part.start, part.stop), self.device)
            for part in _chunks(len(built.rows), spec.shape)
        )
        return parts, None if built.one_each else built.rows

    def _sliced(self, evidence: NDArray[np.float32]) -> Iterator[Tensor]:
        for part in _chunks(len(evidence), evidence.shape[1:]):
            yield torch.from_numpy(evidence[part]).to(self.device)

    def _calibrated(
        self, probabilities: NDArray[np.float32], novelty: NDArray[np.float32]
    ) -> Outputs:
        how = self.bundle.config.calibration
        if how is not None:
            probabilities = calibrated(probabilities, novelty, how)
        return Outputs(probabilities, None if self.bundle.neighbours is None else novelty)

    def _forward(self, inputs: Tensor) -> NDArray[np.float32]:
        """Return (B, labels + 1): probabilities, then novelty, 0 where it cannot be told."""
        with torch.inference_mode():
            probabilities, features = self.bundle.outputs(_padded(inputs))
            known = self.bundle.neighbours
            novelty = probabilities.new_zeros(len(features))
            novelty = novelty if known is None else known.novelty(features)
            return torch.column_stack([probabilities, novelty])[: len(inputs)].cpu().numpy()


def load_models(names: Sequence[str], device: str = "auto") -> list[Model]:
    """Load bundles by shipped name or folder, in their order.

    Raises BundleError for one that is refused, for none, and for two of one name.
    """
    models = [Model(load_bundle(bundle_path(name)), device) for name in names]
    if not models or len({model.name for model in models}) < len(models):
        raise BundleError(f"models: {', '.join(names) or 'none'}: give at least one, and each once")
    return models


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
    models: Sequence[Model], records: FlowBatch, now_us: int | None = None
) -> Verdicts:
    """Ask every model about the records it judges; `now_us` is `verdict.judge`'s."""
    return Verdicts.concat([verdicts for _, verdicts in judge_rows(models, records, now_us)])


def judge_rows(
    models: Sequence[Model], records: FlowBatch, now_us: int | None = None
) -> Iterator[tuple[NDArray[np.int64], Verdicts]]:
    """Yield for every model the (m,) rows of the records it judges, and its verdicts on them."""
    for model in models:
        rows = model.rows(records)
        batch = records.take(rows)
        yield rows, model.judge(batch, now_us)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise BundleError(f"device: {name!r} is not one of auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise BundleError("device: torch sees no CUDA device here: use cpu or auto")
    return torch.device(name)


def _padded(inputs: Tensor) -> Tensor:
    """Fill a batch up to a power of two with zeros.

    torch keeps memory for every size of batch that it has met; over a long run that is a gigabyte
    and more, with few sizes it is bounded.
    """
    room = (1 << (len(inputs) - 1).bit_length()) - len(inputs)
    return torch.cat([inputs, inputs.new_zeros(room, *inputs.shape[1:])]) if room else inputs


def _chunks(count: int, shape: tuple[int, ...]) -> Iterator[slice]:
    """Cut `count` inputs into slices of a power of two, of at most `BATCH_VALUES` values."""
    size = 1 << max(0, (BATCH_VALUES // math.prod(shape)).bit_length() - 1)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def mean_by_row(
    values: NDArray[np.floating], rows: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """Return (count, labels): the mean of the pictures' values per record, NaN without any."""
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, rows, values)
    with np.errstate(invalid="ignore"):
        mean = total / np.bincount(rows, minlength=count)[:, None]
    return mean.astype(np.float32)
