"""What to train on and what to validate on.

`honest` keeps whole groups apart (captures, days, hosts, families, publishers), `paper` draws at
random, as published figures do. Either way all records of one connection are on one side, no input
of the validation rows is among those trained on, and each input counts once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import DataError
from mtc_sensor.features.byte_matrix import byte_matrix
from mtc_sensor.features.spec import ByteMatrixSpec
from mtc_sensor.flow import FlowBatch, unpack_samples
from mtc_sensor.training.manifest import TRAIN, VAL
from mtc_sensor.training.tasks import Labelled

By: TypeAlias = Literal["manifest", "capture", "time", "host", "family", "source"]
"""What is kept apart; ``manifest`` takes its column ``split``."""
Same: TypeAlias = Literal["sizes", "bytes"]
"""What makes two records one: sizes and directions of the first packets, or their masked bytes."""
Unseen: TypeAlias = Literal["family", "source"]
"""What malicious rows `leave_out` leaves out together."""
Rows: TypeAlias = NDArray[np.int64]

SIGNATURE_PACKETS = 10
VAL_SHARE = 0.2
FOLDS = 5
"""Of `leave_out`."""


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a `Labelled`, rising and apart."""

    train: Rows
    val: Rows


def honest(
    labelled: Labelled,
    by: By = "manifest",
    same: Sequence[Same] = ("bytes",),
    *,
    share: float = VAL_SHARE,
    seed: int = 1,
) -> Split:
    """Split by whole groups.

    Parameters
    ----------
    labelled
        What to split.
    by
        ``manifest``: its rows ``train`` and ``val``; one that calls nothing ``val`` is split by
        capture. ``time``: of every class the latest rows, by capture date and then by their start.
        The others: groups drawn at random, of every class about `share` of the rows; a class
        that is in one group alone is trained on.
    same
        What makes two records duplicates; with several, either is enough.
    share
        Of every class, how much is for validation.
    seed
        Of the draw.

    Raises
    ------
    DataError
        A side would be empty.
    """
    if by == "manifest":
        named = labelled.of(lambda source: source.split)
        if (named == VAL).any():
            return _apart(labelled, named == TRAIN, named == VAL, same)
        by = "capture"
    val = _latest(labelled, share) if by == "time" else _drawn(labelled, by, share, seed)
    return _apart(labelled, ~val, val, same)


def paper(
    labelled: Labelled, seed: int = 1, *, share: float = VAL_SHARE, same: Sequence[Same] = ()
) -> Split:
    """Split connections at random, of every class the same share: only to compare with papers.

    Duplicates stay, as in published splits, unless `same` says what they are.
    """
    rng = np.random.default_rng(seed)
    val = _draw_groups(labelled.label, _connections(labelled), share, rng)
    return _apart(labelled, ~val, val, same)


def leave_out(
    labelled: Labelled,
    malicious: NDArray[np.bool_],
    by: Unseen,
    same: Sequence[Same] = ("bytes",),
) -> Iterator[tuple[list[str], Split]]:
    """Yield `FOLDS` splits, each validated on families and publishers that it does not train on.

    Every row is validated on once: publishers of benign rows, and families (or publishers) of
    malicious ones, are dealt out so that folds have about as many rows of either kind.

    Parameters
    ----------
    labelled
        What to split.
    malicious
        (n,) which rows are.
    by
        ``family`` or ``source``: what of the malicious rows is left out.
    same
        What makes two records duplicates.

    Yields
    ------
    tuple[list[str], Split]
        What is left out, by name, and the rows.

    Raises
    ------
    DataError
        A side would be empty: there are too few publishers or families.
    """
    keys = np.where(malicious, group_keys(labelled, by), group_keys(labelled, "source"))
    keys = np.where(keys == "", labelled.of(lambda source: source.path), keys)
    names, key = np.unique(keys, return_inverse=True)
    fold = _dealt(
        np.stack([np.bincount(key[m], minlength=len(names)) for m in (malicious, ~malicious)])
    )
    for number in range(FOLDS):
        left = fold[key] == number
        yield names[fold == number].tolist(), _apart(labelled, ~left, left, same)


def _dealt(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (groups,) folds for (kinds, groups) counts of rows, large groups first."""
    fold = np.full(rows.shape[1], -1)
    for counts in rows:
        filled = np.bincount(fold[fold >= 0], counts[fold >= 0], minlength=FOLDS)
        for group in np.argsort(-counts, kind="stable"):
            if counts[group] and fold[group] < 0:
                fold[group] = filled.argmin()
                filled[fold[group]] += counts[group]
    return fold


def group_keys(labelled: Labelled, by: By) -> NDArray[np.str_]:
    """(n,) the group of each row; empty where it is not known."""
    if by == "host":
        hosts = labelled.flows.orig_h
        known = hosts.any(axis=1)
        names = np.array([row.tobytes().hex() for row in hosts], np.str_)
        return np.where(known, names, labelled.of(lambda source: source.path))
    keys: dict[str, Callable[[Any], str]] = {
        "manifest": lambda source: source.split,
        "capture": lambda source: source.path,
        "time": lambda source: source.capture_date,
        "family": lambda source: source.family,
        "source": lambda source: source.source,
    }
    return labelled.of(keys[by])


def signatures(flows: FlowBatch, same: Same) -> list[bytes]:
    """Return n digests, equal where two records are the same input; b"" where there is none."""
    inputs = size_sequences(flows) if same == "sizes" else byte_matrix(flows, ByteMatrixSpec())
    there = (flows.packets if same == "sizes" else flows.heads) > 0
    return [
        hashlib.blake2b(row.tobytes(), digest_size=16).digest() if known else b""
        for row, known in zip(inputs, there.tolist(), strict=True)
    ]


def size_sequences(flows: FlowBatch, packets: int = SIGNATURE_PACKETS) -> NDArray[np.int32]:
    """(n, packets) IP lengths of the first packets, negative from the responder; 0 past the end."""
    row = flows.sample_rows()
    index = np.arange(len(row)) - flows.sample_offsets[row]
    early = index < packets
    taken = unpack_samples(flows.samples[early])
    sizes = np.zeros((len(flows), packets), np.int32)
    length = taken.ip_len.astype(np.int32)
    sizes[row[early], index[early]] = np.where(taken.responder, -length, length)
    return sizes


def first_of_each(digests: Sequence[bytes], seen: Sequence[bytes] = ()) -> Rows:
    """Return the rows that are neither in `seen` nor repeat an earlier row; b"" never does."""
    known, fresh = set(seen) - {b""}, []
    for row, digest in enumerate(digests):
        if digest not in known:
            fresh.append(row)
            if digest:
                known.add(digest)
    return np.array(fresh, np.int64)


def _apart(
    labelled: Labelled, train: NDArray[np.bool_], val: NDArray[np.bool_], same: Sequence[Same]
) -> Split:
    """Return rows of two sides that share no connection and no input; each input once."""
    connection = _connections(labelled)
    val = val & ~np.isin(connection, connection[train])
    rows = [np.flatnonzero(train), np.flatnonzero(val)]
    seen = rows[0]
    for which in same:
        digests = signatures(labelled.flows, which)
        known = [digests[row] for row in seen]
        rows[0] = rows[0][first_of_each([digests[row] for row in rows[0]])]
        rows[1] = rows[1][first_of_each([digests[row] for row in rows[1]], known)]
    for side, left in zip(("training", "validation"), rows, strict=True):
        if not len(left):
            raise DataError(
                f"no records are left for {side}: name other rows train and val in the manifest, "
                "or split by something else"
            )
    return Split(rows[0], rows[1])


def _connections(labelled: Labelled) -> NDArray[np.int64]:
    """(n,) a number for each connection; a row without a uid is one of its own."""
    path = labelled.of(lambda source: source.path)
    keys = np.empty(len(labelled), [("path", path.dtype), ("uid", labelled.flows.uid.dtype)])
    keys["path"], keys["uid"] = path, labelled.flows.uid
    _, number = np.unique(keys, return_inverse=True)
    alone = labelled.flows.uid == b""
    return np.where(alone, len(number) + np.arange(len(number)), number)


def _drawn(labelled: Labelled, by: By, share: float, seed: int) -> NDArray[np.bool_]:
    groups = group_keys(labelled, by)
    groups = np.where(groups == "", labelled.of(lambda source: source.path), groups)
    return _draw_groups(labelled.label, groups, share, np.random.default_rng(seed))


def _draw_groups(
    label: NDArray[np.int64],
    groups: NDArray[Any],
    share: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """(n,) rows of groups that together are about `share` of each class's rows.

    A group counts to its commonest class. Of a class with several groups at least one is drawn and
    one is not.
    """
    _, group = np.unique(groups, return_inverse=True)
    table = np.zeros((group.max(initial=-1) + 1, label.max(initial=0) + 1), np.int64)
    np.add.at(table, (group, label), 1)
    drawn = np.zeros(len(table), np.bool_)
    commonest, sizes = table.argmax(1), table.sum(1)
    for one in np.unique(commonest):
        members = rng.permutation(np.flatnonzero(commonest == one))
        if len(members) > 1:
            middle = np.cumsum(sizes[members]) - sizes[members] / 2
            taken = members[middle <= share * sizes[members].sum()][: len(members) - 1]
            smallest = members[[np.argmin(sizes[members])]]
            drawn[taken if len(taken) else smallest] = True
    return drawn[group]


def _latest(labelled: Labelled, share: float) -> NDArray[np.bool_]:
    """(n,) of every class the latest rows."""
    date = labelled.of(lambda source: source.capture_date)
    order = np.lexsort((labelled.flows.start_us, date))
    latest = np.zeros(len(order), np.bool_)
    for one in np.unique(labelled.label):
        rows = order[labelled.label[order] == one]
        latest[rows[len(rows) - int(share * len(rows)) :]] = True
    return latest
