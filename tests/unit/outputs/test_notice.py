"""Which notices pass, and what they say."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.outputs.notice import NoticeSuppressor, identifiers, notice_columns
from mtc_sensor.verdict import Verdicts
from tests.unit.outputs.conftest import START_US, Make, make_verdict

SECOND = 1_000_000
HOUR = 3600 * SECOND


def passing(suppressor: NoticeSuppressor, offsets_us: Sequence[int]) -> list[bool]:
    """Offer one notice again and again; which of them pass."""
    return [
        len(suppressor.due(make_verdict(ts_us=START_US + offset))) == 1 for offset in offsets_us
    ]


def test_the_first_passes_and_repeats_within_the_interval_are_counted() -> None:
    suppressor = NoticeSuppressor()
    assert passing(suppressor, [0, 1, HOUR - 1, HOUR, HOUR + 1]) == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert suppressor.suppressed == 3


def test_repeats_do_not_prolong_the_suppression() -> None:
    offsets = [i * HOUR // 2 for i in range(5)]
    assert passing(NoticeSuppressor(), offsets) == [True, False, True, False, True]


def test_an_earlier_capture_is_not_suppressed_by_a_later_one() -> None:
    assert passing(NoticeSuppressor(), [0, -HOUR + 1, -HOUR]) == [True, False, True]


def test_an_interval_of_zero_suppresses_nothing_and_remembers_nothing() -> None:
    suppressor = NoticeSuppressor(0)
    assert passing(suppressor, [0, 0, 0]) == [True, True, True]
    assert len(suppressor) == 0


def test_within_one_batch_too() -> None:
    suppressor = NoticeSuppressor()
    batch = Verdicts.concat([make_verdict(), make_verdict(), make_verdict(resp_p=80)])
    assert suppressor.due(batch).resp_p.tolist() == [443, 80]


@pytest.mark.parametrize(
    "other",
    [
        {"orig": "10.0.0.6"},
        {"resp": "192.0.2.81"},
        {"resp_p": 80},
        {"proto": 17},
        {"label": "zeus"},
    ],
)
def test_who_with_whom_where_and_what_tell_matters_apart(make: Make, other: dict[str, str]) -> None:
    assert identifiers(make()) == ["10.0.0.5-192.0.2.80-443/tcp-trickbot"]
    assert identifiers(make(**other)) != identifiers(make())
    assert identifiers(make(orig_p=1, uid=b"C2", score=0.99)) == identifiers(make())


def test_only_malicious_verdicts_make_notices(make: Make) -> None:
    suppressor = NoticeSuppressor()
    assert len(suppressor.due(make(malicious=False, label="web"))) == 0
    assert suppressor.suppressed == 0


def test_memory_is_bounded_and_what_is_forgotten_early_is_counted(make: Make) -> None:
    suppressor = NoticeSuppressor(capacity=2)
    for port in (1, 2, 3):
        assert len(suppressor.due(make(resp_p=port))) == 1
    assert (len(suppressor), suppressor.forgotten) == (2, 1)
    assert len(suppressor.due(make(resp_p=1))) == 1  # forgotten, so it passes again
    assert len(suppressor.due(make(resp_p=3))) == 0


def test_what_has_expired_is_dropped_without_being_counted(make: Make) -> None:
    suppressor = NoticeSuppressor()
    for i in range(100):
        suppressor.due(make(resp_p=i, ts_us=START_US + i))
    suppressor.due(make(resp_p=443, ts_us=START_US + 2 * HOUR))
    assert (len(suppressor), suppressor.forgotten) == (1, 0)


@given(st.lists(st.integers(0, 5 * HOUR), max_size=30).map(sorted))
def test_passing_notices_are_an_interval_apart_and_all_are_accounted_for(times: list[int]) -> None:
    suppressor = NoticeSuppressor()
    passed = [t for t, ok in zip(times, passing(suppressor, times), strict=True) if ok]
    assert all(b - a >= HOUR for a, b in pairwise(passed))
    assert len(passed) + suppressor.suppressed == len(times)
    assert passed[:1] == times[:1]


def test_a_notice_says_its_interval(make: Make) -> None:
    columns = notice_columns(make(), suppress_for_s=0.5)
    assert columns["suppress_for"] == [500_000]
    assert columns["actions"] == [("Notice::ACTION_LOG",)]
