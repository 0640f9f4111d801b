from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.errors import DataError
from mtc_sensor.flow import FlowBatch
from mtc_sensor.training.manifest import Source
from mtc_sensor.training.splits import (
    By,
    Split,
    first_of_each,
    honest,
    leave_out,
    paper,
    signatures,
    size_sequences,
)
from tests.unit.training.labelled import flows, labelled


def source(path: str, split: str = "train", family: str = "", date: str = "") -> Source:
    return Source(path, "", family=family, capture_date=date, split=split, source=path[:1])


def rows(split: Split) -> tuple[list[int], list[int]]:
    return split.train.tolist(), split.val.tolist()


def test_sizes_have_the_sign_of_their_direction() -> None:
    batch = flows([[40, 1500], [52]])
    batch = replace(batch, samples=batch.samples ^ np.uint64(1 << 32))
    assert size_sequences(batch, 3).tolist() == [[-40, -1500, 0], [-52, 0, 0]]
    assert size_sequences(flows([list(range(41, 53))])).tolist() == [list(range(41, 51))]


def with_heads(batch: FlowBatch, heads: list[bytes]) -> FlowBatch:
    """One head for each record; none for b""."""
    there = [head for head in heads if head]
    data = np.zeros((len(there), 80), np.uint8)
    for row, head in enumerate(there):
        data[row, : len(head)] = np.frombuffer(head, np.uint8)
    return replace(
        batch,
        proto=np.full(len(batch), 17, np.uint8),
        head=data,
        head_len=np.array([len(head) for head in there], np.uint16),
        head_l4=np.full(len(there), 20, np.uint16),
        head_offsets=np.cumsum([0] + [bool(head) for head in heads]),
    )


def packet(ttl: int, payload: bytes) -> bytes:
    """Return a UDP datagram."""
    header = bytes([0x45, 0, 0, 28 + len(payload), 0, 0, 0, 0, ttl, 17, *range(10)])
    return header + bytes([0, 53, 0, 53, 0, 8 + len(payload), 0, 0]) + payload


def test_what_is_masked_makes_no_difference() -> None:
    heads = [packet(64, b"one"), packet(128, b"one"), packet(64, b"two"), b"", b""]
    digests = signatures(with_heads(flows([[60]] * 5), heads), "bytes")
    assert digests[0] == digests[1] != digests[2]
    assert digests[3:] == [b"", b""]
    assert first_of_each(digests).tolist() == [0, 2, 3, 4]


def test_the_manifests_own_split() -> None:
    sources = [source("a"), source("b", "val"), source("c", "test")]
    made = labelled([0, 1, 0, 1, 0], [0, 0, 1, 1, 2], sources)
    assert rows(honest(made)) == ([0, 1], [2, 3])


def test_without_val_rows_captures_are_drawn() -> None:
    made = labelled([0] * 10 + [1] * 10, [i // 2 for i in range(20)], [source("x")] * 10)
    made = replace(made, sources=tuple(source(str(i)) for i in range(10)))
    split = honest(made)
    assert rows(split) == rows(honest(made, "capture"))
    assert len(split.val) == 4
    assert np.bincount(made.label[split.val]).tolist() == [2, 2]


def test_duplicates_count_once_and_never_cross() -> None:
    batch = flows([[60], [70], [60], [60], [80], [80], [90]])
    made = labelled([0] * 7, [0, 0, 0, 1, 1, 1, 1], [source("a"), source("b", "val")], batch)
    assert rows(honest(made, same=("sizes",))) == ([0, 1], [4, 6])
    assert rows(honest(made, same=())) == ([0, 1, 2], [3, 4, 5, 6])


def test_a_duplicate_of_what_is_a_duplicate_does_not_cross() -> None:
    """Row 1 is left out as it has the sizes of row 0; row 2 has its bytes all the same."""
    heads = [packet(64, payload) for payload in (b"one", b"two", b"two", b"three")]
    batch = with_heads(flows([[60], [60], [70], [80]]), heads)
    made = labelled([0] * 4, [0, 0, 1, 1], [source("a"), source("b", "val")], batch)
    assert rows(honest(made, same=("sizes", "bytes"))) == ([0], [3])


def test_the_latest_of_every_class() -> None:
    dates = ["2020-01-02", "2020-01-01"]
    batch = flows([[60 + i] for i in range(20)], starts=[0, 9, 8, 7, 6, 5, 4, 3, 2, 1] * 2)
    made = labelled(
        [0] * 10 + [1] * 10, [0] * 5 + [1] * 10 + [0] * 5, [source(d, date=d) for d in dates], batch
    )
    assert rows(honest(made, "time"))[1] == [1, 2, 15, 16]


def test_hosts_stay_together() -> None:
    made = labelled([0, 0, 0, 1, 1, 1], [0] * 6, [source("a")])
    hosts = np.zeros((6, 16), np.uint8)
    hosts[:, 15] = [1, 1, 2, 3, 4, 4]
    made = replace(made, flows=replace(made.flows, orig_h=hosts))
    split = honest(made, "host", share=0.3)
    assert rows(split) == ([0, 1, 4, 5], [2, 3])


def test_nothing_to_validate_on() -> None:
    made = labelled([0, 1], [0, 0], [source("a")])
    with pytest.raises(DataError, match="no records are left for validation"):
        honest(made, "capture")


BYS: list[By] = ["manifest", "capture", "time", "host", "family", "source"]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 6)), min_size=12),
    st.sampled_from(BYS),
    st.integers(0, 3),
)
def test_nothing_crosses(made: list[tuple[int, int, int]], by: By, seed: int) -> None:
    """Whatever is drawn: sides are apart, no connection and no sequence of sizes is on both."""
    label, which, size = zip(*made, strict=True)
    batch = flows([[60 + value] for value in size])
    batch = replace(batch, uid=np.array([b"C%d" % (value % 4) for value in size]))
    sources = [source(f"{i}", family=f"f{i % 3}") for i in range(6)]
    task = labelled(label, which, sources, batch)
    try:
        split = honest(task, by, ("sizes",), share=0.4, seed=seed)
    except DataError:
        return
    sizes = np.array(size)
    paths = task.of(lambda s: s.path)
    connections = [set(zip(paths[r], batch.uid[r], strict=True)) for r in (split.train, split.val)]
    assert not set(sizes[split.train]) & set(sizes[split.val])
    assert len(set(sizes[split.train])) == len(split.train)
    assert not connections[0] & connections[1]
    if by in ("capture", "family", "source"):
        key = task.of(lambda s: s.family if by == "family" else s.path)
        assert not set(key[split.train]) & set(key[split.val])


def test_paper_draws_connections_of_every_class() -> None:
    batch = flows([[60 + i] for i in range(200)])
    batch = replace(batch, uid=np.array([b"C%d" % (i // 2) for i in range(200)]))
    made = labelled([0] * 150 + [1] * 50, [0] * 200, [source("a")], batch)
    split = paper(made)
    assert np.bincount(made.label[split.val]).tolist() == [30, 10]
    assert not set(batch.uid[split.train]) & set(batch.uid[split.val])
    assert rows(split) == rows(paper(made))
    assert rows(split) != rows(paper(made, seed=2))


def test_paper_keeps_duplicates_unless_told() -> None:
    made = labelled([0] * 20, [0] * 20, [source("a")], flows([[60]] * 10 + [[70]] * 10))
    split = paper(made)
    assert (len(split.train), len(split.val)) == (16, 4)
    with pytest.raises(DataError, match="validation"):
        paper(made, same=("sizes",))


def unseen_sources() -> list[Source]:
    """Two families of each of three publishers of malware, four benign publishers."""
    bad = [
        replace(source(f"{lab}{n}", family=f"{lab}-{n}"), source=lab) for lab in "abc" for n in "12"
    ]
    return bad + [replace(source(f"{lab}w", family="web"), source=lab) for lab in "cdefg"]


def test_each_family_and_publisher_is_left_out_once() -> None:
    sources = unseen_sources()
    made = labelled([1] * 6 + [0] * 5, list(range(11)), sources)
    malicious = made.label == 1
    asked = []
    for left, split in leave_out(made, malicious, "family"):
        train, val = rows(split)
        assert sorted(train + val) == list(range(11))
        kinds = {
            (s.family if malicious[i] else s.source) for i, s in enumerate(sources) if i in val
        }
        assert kinds == set(left)
        assert set(malicious[val]) == {False, True}
        asked += val
    assert sorted(asked) == list(range(11))


def test_a_publisher_of_both_kinds_is_left_out_as_a_whole() -> None:
    sources = unseen_sources()
    made = labelled([1] * 6 + [0] * 5, list(range(11)), sources)
    folds = leave_out(made, made.label == 1, "source")
    got = {tuple(left): rows(split)[1] for left, split in folds}
    assert sorted(val for rows in got.values() for val in rows) == list(range(11))
    assert next(val for left, val in got.items() if "c" in left) == [4, 5, 6]


def test_too_few_publishers_to_leave_one_out() -> None:
    made = labelled([1, 0], [0, 1], [source("a", family="zeus"), source("b")])
    with pytest.raises(DataError, match="training"):
        list(leave_out(made, made.label == 1, "family"))
