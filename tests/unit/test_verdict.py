"""Decisions on literal probabilities, and what holds for any."""

import ipaddress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from mtc_sensor.flow import FlowBatch, Kind, pack_samples
from mtc_sensor.verdict import UNKNOWN, Policy, Verdicts, judge

MALWARE = Policy(("benign", "trickbot", "zeus"), frozenset({"trickbot", "zeus"}), 0.9, 0.5)
TRAFFIC = Policy(("web", "video"), frozenset(), None, 0.6)


def records(n: int) -> FlowBatch:
    """Make `n` records of two packets, 0.25 s apart, from 10.0.0.1:40000 to 192.0.2.7:443/tcp."""
    address = [
        np.frombuffer(ipaddress.IPv6Address("::ffff:" + a).packed, np.uint8)
        for a in ("10.0.0.1", "192.0.2.7")
    ]
    return FlowBatch(
        uid=np.array([f"C{i}" for i in range(n)], "S24"),
        kind=np.full(n, Kind.FINAL, np.uint8),
        proto=np.full(n, 6, np.uint8),
        orig_h=np.tile(address[0], (n, 1)),
        resp_h=np.tile(address[1], (n, 1)),
        orig_p=np.full(n, 40000, np.uint16),
        resp_p=np.full(n, 443, np.uint16),
        start_us=np.full(n, 1_700_000_000_000_000),
        samples=np.tile(pack_samples([0, 250_000], [0, 1], [60, 52], [0, 0]), n),
        sample_offsets=np.arange(n + 1) * 2,
        head=np.empty((0, 80), np.uint8),
        head_len=np.empty(0, np.uint16),
        head_l4=np.empty(0, np.uint16),
        head_offsets=np.zeros(n + 1, np.int64),
        tokens=np.empty(0, np.uint8),
        token_offsets=np.zeros(n + 1, np.int64),
    )


def decide(policy: Policy, *rows: tuple[float, ...]) -> Verdicts:
    return judge(records(len(rows)), "m", policy, np.array(rows, np.float32))


def test_benign_verdict_asserts_the_likeliest_label() -> None:
    v = decide(MALWARE, (0.75, 0.125, 0.125))
    assert (v.label[0], v.score[0], v.malicious[0], v.unknown[0]) == ("benign", 0.75, False, False)
    assert v.detail[0] == "benign=0.750 trickbot=0.125 zeus=0.125 malice=0.250 threshold=0.900"


def test_families_sum_up_to_malice_even_where_none_of_them_is_sure() -> None:
    v = decide(MALWARE, (0.0625, 0.4375, 0.5))
    assert (v.label[0], v.score[0], v.malicious[0], v.unknown[0]) == ("zeus", 0.9375, True, False)


def test_a_threshold_below_one_half_flags_against_a_likelier_benign_label() -> None:
    v = decide(Policy(("benign", "zeus"), frozenset({"zeus"}), 0.25, 0.0), (0.75, 0.25))
    assert (v.label[0], v.score[0], v.malicious[0]) == ("zeus", 0.25, True)


def test_malice_below_the_threshold_is_not_asserted() -> None:
    v = decide(MALWARE, (0.25, 0.75, 0.0))
    assert (v.label[0], v.score[0], v.malicious[0], v.unknown[0]) == (UNKNOWN, 0.75, False, True)
    assert v.detail[0] == "trickbot=0.750 benign=0.250 malice=0.750 threshold=0.900"


def test_unknown_below_is_exclusive() -> None:
    v = decide(TRAFFIC, (0.5625, 0.4375), (0.625, 0.375))
    assert v.label.tolist() == [UNKNOWN, "web"]
    at = decide(Policy(("web", "video"), frozenset(), None, 0.5), (0.5, 0.5))
    assert at.label.tolist() == ["web"]
    assert at.detail[0] == "web=0.500 video=0.500"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_unknown_and_spoil_no_other_row(bad: float) -> None:
    v = decide(MALWARE, (0.0, bad, 0.0), (0.0, 1.0, 0.0))
    assert v.label.tolist() == [UNKNOWN, "trickbot"]
    assert v.score.tolist() == [0.0, 1.0]
    assert v.detail[0] == "no finite probabilities"


def test_columns_come_from_the_record() -> None:
    v = judge(records(1), "byte-cnn", TRAFFIC, np.array([[1, 0]], np.float32))
    assert v.uid[0] == b"C0"
    assert v.ts_us[0] - v.start_us[0] == 250_000
    assert (v.packets[0], v.model[0], v.latency_us[0]) == (2, "byte-cnn", -1)


def test_latency_runs_from_the_last_packet_and_is_never_negative() -> None:
    ts = 1_700_000_000_250_000
    one = np.array([[1, 0]], np.float32)
    assert judge(records(1), "m", TRAFFIC, one, now_us=ts + 7).latency_us[0] == 7
    assert judge(records(1), "m", TRAFFIC, one, now_us=ts - 7).latency_us[0] == 0


def test_concat_and_take_keep_models_and_long_labels_apart() -> None:
    a = decide(TRAFFIC, (1.0, 0.0))
    b = judge(records(2), "longer-name", MALWARE, np.eye(3, dtype=np.float32)[:2])
    joined = Verdicts.concat([a, b])
    assert joined.model.tolist() == ["m", "longer-name", "longer-name"]
    assert joined.label.tolist() == ["web", "benign", "trickbot"]
    assert joined.take(joined.malicious).label.tolist() == ["trickbot"]
    assert len(judge(records(0), "m", TRAFFIC, np.empty((0, 2), np.float32))) == 0


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 3\) for 1 records and 2 labels"):
        judge(records(1), "m", TRAFFIC, np.zeros((1, 3), np.float32))


@pytest.mark.parametrize(
    ("labels", "malicious", "threshold", "message"),
    [
        (("a", "a"), set(), None, "distinct"),
        (("a", UNKNOWN), set(), None, "distinct"),
        ((), set(), None, "distinct"),
        (("a",), {"b"}, 0.5, "'b' is not among the labels"),
        (("a",), set(), 0.5, "threshold"),
        (("a",), {"a"}, None, "threshold"),
    ],
)
def test_a_policy_that_does_not_fit_together_is_refused(
    labels: tuple[str, ...], malicious: set[str], threshold: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Policy(labels, frozenset(malicious), threshold, 0.5)


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(0, 9), st.just(3)),
        elements=st.floats(0, 1, width=32) | st.sampled_from([np.nan, np.inf, -np.inf]),
    ),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_flags_labels_and_scores_always_agree(
    p: NDArray[np.float32], threshold: float, below: float
) -> None:
    policy = Policy(MALWARE.labels, MALWARE.malicious, threshold, below)
    v = judge(records(len(p)), "m", policy, p)
    assert not (v.malicious & v.unknown).any()
    assert np.array_equal(v.label == UNKNOWN, v.unknown)
    assert np.array_equal(np.isin(v.label, sorted(policy.malicious)), v.malicious)
    assert ((v.score >= 0) & (v.score <= 1)).all()
    assert (v.score[v.malicious] >= threshold).all()
    assert (v.score[~v.malicious & ~v.unknown] >= below).all()
