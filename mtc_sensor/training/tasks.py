"""What is to be told apart: tasks give the records of a manifest's files their labels.

`TASKS` are those of the data that we train on; `task_of_column` makes one for any manifest. Which
records are malicious is what the manifest's ``label`` column says (`MALICIOUS_WORDS`); everything
else is benign. Names of families and sets matter only where a task knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import DataError
from mtc_sensor.flow import FlowBatch
from mtc_sensor.training import names
from mtc_sensor.training.manifest import Manifest, Source
from mtc_sensor.training.store import Progress, Store

Label: TypeAlias = Callable[[Source, FlowBatch], NDArray[np.int64]]
Column: TypeAlias = Literal["label", "family"]

BACKGROUND_PORTS = (53, 67, 68, 88, 123, 135, 137, 138, 139, 389, 445, 546, 547, 1900, 5353, 5355)
"""Name, time, directory and discovery services: what every host of a malware capture does."""
MIN_CATEGORY_PACKETS = 10
"""Fewest packets of a record that says anything about its category."""


@dataclass(frozen=True)
class Task:
    """What is to be told apart."""

    name: str
    labels: tuple[str, ...]
    malicious: tuple[str, ...]
    """Those of the labels."""
    sets: tuple[str, ...]
    """Of the manifest, what is used."""
    label: Label
    """Gives (n,) int64 for the records of one file: index into `labels`, -1 leaves a record out."""
    anywhere: bool = False
    """Whether manifests without these sets are used whole."""

    def sources(self, manifest: Manifest) -> tuple[Source, ...]:
        """Return the files of a manifest that the task is about. Raises DataError for none."""
        known = tuple(source for source in manifest.sources if source.set in self.sets)
        if known or self.anywhere:
            return known or manifest.sources
        raise DataError(
            f"{manifest.root}: task {self.name} is about the sets {', '.join(self.sets)}, which "
            "the manifest has not: choose the task label or family"
        )

    def is_malicious(self, label: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) which of these labels are malicious ones."""
        return np.isin(self.labels, self.malicious)[label]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Flow records with a label each; ``n`` rows."""

    flows: FlowBatch
    label: NDArray[np.int64]
    """(n,) index into the labels of the task."""
    source: NDArray[np.int64]
    """(n,) index into `sources`."""
    sources: tuple[Source, ...]

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Labelled:
        """Return the rows that `rows` (indices or a boolean mask) names."""
        return Labelled(self.flows.take(rows), self.label[rows], self.source[rows], self.sources)

    def of(self, key: Callable[[Source], str]) -> NDArray[np.str_]:
        """(n,) what `key` says of each row's source."""
        return np.array([key(source) for source in self.sources], np.str_)[self.source]


def load(
    task: Task,
    manifest: Manifest,
    store: Store,
    workers: int = 1,
    progress: Progress | None = None,
) -> Labelled:
    """Return the task's records of a manifest. Raises DataError if there are none."""
    records = store.records(manifest, task.sources(manifest), workers, progress)
    label = np.full(len(records.flows), -1, np.int64)
    for index, source in enumerate(records.sources):
        begin, end = np.searchsorted(records.source, (index, index + 1))
        if begin < end:
            label[begin:end] = task.label(source, records.flows.take(np.arange(begin, end)))
    kept = np.flatnonzero(label >= 0)
    if not len(kept):
        raise DataError(
            f"{manifest.root}: task {task.name}: none of {len(label)} records has one of the "
            f"labels {', '.join(task.labels)!r:.200}: choose another task, or one of a column"
        )
    return Labelled(records.flows.take(kept), label[kept], records.source[kept], records.sources)


def task_named(
    name: str,
    manifest: Manifest,
    store: Store | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Task:
    """Return one of `TASKS`, or for ``label`` and ``family`` the task of that column.

    With a store, whose files are read for it, the labels that files themselves have are known, too.
    Raises DataError for another name.
    """
    if name in TASKS:
        return TASKS[name]
    if name in get_args(Column):
        sources = store.sources(manifest, workers, progress) if store else manifest.sources
        return task_of_column(cast(Column, name), sources)
    raise DataError(f"task {name!r} is unknown: it is label, family, or one of {', '.join(TASKS)}")


def task_of_column(column: Column, sources: Sequence[Source]) -> Task:
    """Make a task of what a column says, for anybody's manifest."""
    labels = tuple(sorted({getattr(source, column) for source in sources} - {""}))
    malicious = {getattr(source, column) for source in sources if is_malicious(source)}
    return Task(
        column, labels, tuple(label for label in labels if label in malicious), (),
        _by_name(labels, lambda source: getattr(source, column)), anywhere=True,
    )  # fmt: skip


def is_malicious(source: Source) -> bool:
    """Tell whether the manifest's label says malware or attack."""
    words = source.label.lower().replace("-", " ").replace("_", " ").split()
    return not names.MALICIOUS_WORDS.isdisjoint(words)


def is_attack(source: Source) -> bool:
    """Whether a file of our malware set is malicious but not malware."""
    return source.set == "malware" and source.family in names.ATTACKS


def malware_label(source: Source) -> str | None:
    """Return what the task ``malware`` calls a file's records; None for attacks."""
    if not is_malicious(source):
        return "benign"
    if is_attack(source):
        return None
    if source.family in names.EXPLOIT_KITS:
        return "exploit-kit"
    return source.family if source.family in names.FAMILIES else "other-malware"


def category(source: Source) -> str | None:
    """Return the category of a file's traffic, or None where its name does not say one."""
    if source.set == "ucdavis-quic":
        return names.UCDAVIS_CATEGORIES.get(source.label)
    if source.set == "benign":
        return names.PROTOCOL_CATEGORIES.get(source.family)
    if source.set == "iscx-joy":
        return names.JOY_CATEGORIES.get(_joy_application(source) or "")
    return None


def _joy_application(source: Source) -> str | None:
    name = source.label.partition("_")[2]
    return next((known for known in names.JOY_CATEGORIES if name.startswith(known)), None)


def _by_name(labels: tuple[str, ...], name: Callable[[Source], str | None]) -> Label:
    """Label all records of a file alike; those of a file without a known name are left out."""

    def label(source: Source, flows: FlowBatch) -> NDArray[np.int64]:
        found = name(source)
        return np.full(len(flows), labels.index(found) if found in labels else -1, np.int64)

    return label


def _without_background(whole: Label) -> Label:
    """Leave out what a host of our malware captures does by itself."""

    def label(source: Source, flows: FlowBatch) -> NDArray[np.int64]:
        ports = np.isin(flows.resp_p, BACKGROUND_PORTS) | np.isin(flows.orig_p, BACKGROUND_PORTS)
        return np.where(ports & (source.set == "malware"), -1, whole(source, flows))

    return label


def _with_packets(whole: Label, least: int) -> Label:
    def label(source: Source, flows: FlowBatch) -> NDArray[np.int64]:
        return np.where(flows.packets >= least, whole(source, flows), -1)

    return label


def _malice(source: Source) -> str | None:
    if is_attack(source):
        return None
    return "malicious" if is_malicious(source) else "benign"


def _task(
    name: str,
    labels: tuple[str, ...],
    sets: tuple[str, ...],
    key: Callable[[Source], str | None],
    malicious: tuple[str, ...] = (),
) -> Task:
    return Task(name, labels, malicious, sets, _by_name(labels, key))


def _detection(name: str, labels: tuple[str, ...], key: Callable[[Source], str | None]) -> Task:
    """Make a task whose first label is benign and whose others are malicious."""
    return Task(
        name,
        labels,
        labels[1:],
        names.DETECTION_SETS,
        _without_background(_by_name(labels, key)),
        anywhere=True,
    )


_ALL = (
    _detection("malware", names.MALWARE_LABELS, malware_label),
    _detection("malicious", ("benign", "malicious"), _malice),
    Task(
        "categories", names.CATEGORIES, (), ("iscx-joy", "ucdavis-quic", "benign"),
        _with_packets(_by_name(names.CATEGORIES, category), MIN_CATEGORY_PACKETS),
    ),
    _task("ustc-20", names.USTC, ("ustc-tfc2016",), lambda s: s.family, names.USTC_MALWARE),
    _task(
        "ustc-malware", ("benign", *names.USTC_MALWARE), ("ustc-tfc2016",),
        lambda s: s.family if is_malicious(s) else "benign", names.USTC_MALWARE,
    ),
    _task("iscx-vpn", names.ISCX_VPN, ("iscx-vpn",), lambda s: s.label),
    _task("iscx-joy-applications", names.JOY_APPLICATIONS, ("iscx-joy",), _joy_application),
    _task("iscx-joy-categories", names.JOY_LABELS, ("iscx-joy",), category),
    _task("ucdavis", tuple(names.UCDAVIS_CATEGORIES), ("ucdavis-quic",), lambda s: s.label),
    _task("cnapp", names.CNAPP, ("cnapp",), lambda s: s.label),
    _task("ode", names.ODE, ("ode-flow",), lambda s: s.label),
    _task("xidian", ("benign", "malicious"), ("xidian-tf",), _malice, ("malicious",)),
    _task("zeek-logs", ("benign", "malicious"), ("strato-zeek",), _malice, ("malicious",)),
    _task("certificates", ("0", "1"), ("frenky-tls",), lambda s: s.label),
)  # fmt: skip
TASKS = {task.name: task for task in _ALL}
"""By name; `malware` and `malicious` take any manifest."""
