"""What a labelled data set holds: counts, duplicates, and what leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import DataError
from mtc_sensor.training.leaks import Leak, leaks
from mtc_sensor.training.manifest import TRAIN
from mtc_sensor.training.splits import Same, Split, honest, paper, signatures
from mtc_sensor.training.tasks import Labelled, Task


@dataclass(frozen=True)
class ClassCount:
    """One class."""

    label: str
    malicious: bool
    captures: int
    records: Mapping[str, int]
    """By the manifest's split."""
    unique: int
    """Records with sizes and directions that no other record of the data set before it has."""
    largest: float
    """Share of its records that are of one capture."""


class Duplicates(NamedTuple):
    """Records that are the same input."""

    repeats: int
    """Records that repeat an earlier one."""
    across: int
    """Records outside of ``train`` that are in ``train`` too."""
    contradicting: int
    """Records that are the same as one of another class."""


@dataclass(frozen=True)
class Survey:
    """What a labelled data set holds."""

    task: str
    records: int
    captures: Mapping[str, int]
    """Records by capture, the largest first."""
    classes: Sequence[ClassCount]
    duplicates: Mapping[str, Duplicates]
    """By what makes records the same: ``sizes`` or ``bytes``."""
    protocol: str
    """How the rows that `leaks` are measured on were chosen."""
    leaks: Sequence[Leak]

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        return asdict(self) | {
            "duplicates": {same: found._asdict() for same, found in self.duplicates.items()},
            "leaks": [leak._asdict() for leak in self.leaks],
        }


def survey(task: Task, labelled: Labelled) -> Survey:
    """Look at a task's records."""
    split, protocol = _split(labelled)
    digests: dict[Same, list[bytes]] = {
        "sizes": signatures(labelled.flows, "sizes"),
        "bytes": signatures(labelled.flows, "bytes"),
    }
    return Survey(
        task=task.name,
        records=len(labelled),
        captures=dict(Counter(labelled.of(lambda source: source.path).tolist()).most_common()),
        classes=_classes(task, labelled, digests["sizes"]),
        duplicates={same: _duplicates(labelled, digests[same]) for same in digests},
        protocol=protocol,
        leaks=leaks(labelled, split) if split else [],
    )


def _split(labelled: Labelled) -> tuple[Split | None, str]:
    try:
        return honest(labelled, same=()), "rows that the manifest calls val, or other captures"
    except DataError:
        try:
            return paper(labelled), "rows drawn at random: each class has one capture"
        except DataError:
            return None, "none: there are too few records"


def _classes(task: Task, labelled: Labelled, digests: Sequence[bytes]) -> list[ClassCount]:
    split = labelled.of(lambda source: source.split)
    path = labelled.of(lambda source: source.path)
    first = np.zeros(len(labelled), np.bool_)
    first[list({digest: row for row, digest in reversed(list(enumerate(digests)))}.values())] = True
    counts = []
    for number in np.unique(labelled.label).tolist():
        rows = labelled.label == number
        _, sizes = np.unique(path[rows], return_counts=True)
        counts.append(
            ClassCount(
                label=task.labels[number],
                malicious=task.labels[number] in task.malicious,
                captures=len(sizes),
                records=dict(Counter(split[rows].tolist())),
                unique=int((rows & first).sum()),
                largest=round(float(sizes.max() / sizes.sum()), 4),
            )
        )
    return counts


def _duplicates(labelled: Labelled, digests: Sequence[bytes]) -> Duplicates:
    there = np.flatnonzero([bool(digest) for digest in digests])
    if not len(there):
        return Duplicates(0, 0, 0)
    raw = np.array([digests[row] for row in there.tolist()], "V16")
    _, same = np.unique(raw, return_inverse=True)
    train = labelled.of(lambda source: source.split)[there] == TRAIN
    return Duplicates(
        repeats=len(there) - int(same.max()) - 1,
        across=int((~train & np.isin(same, same[train])).sum()),
        contradicting=int(_contradicting(same, labelled.label[there]).sum()),
    )


def _contradicting(same: NDArray[np.int64], label: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) which inputs have more than one label."""
    lowest = np.full(same.max() + 1, np.iinfo(np.int64).max)
    highest = np.full(same.max() + 1, -1)
    np.minimum.at(lowest, same, label)
    np.maximum.at(highest, same, label)
    contradicting: NDArray[np.bool_] = (lowest != highest)[same]
    return contradicting
