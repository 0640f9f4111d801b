"""Checksums of many ranges against one at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.capture.checksums import ones_complement_sum
from tests.unit.capture.frames import checksum

RANGES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)).map(sorted), max_size=5)


@given(st.binary(min_size=300, max_size=300), RANGES)
def test_sums_are_those_of_each_range(data: bytes, ranges: list[list[int]]) -> None:
    start, stop = np.array(ranges, np.int64).reshape(-1, 2).T.copy()

    sums = ones_complement_sum(np.frombuffer(data, np.uint8), start, stop)

    assert sums.tolist() == [0xFFFF - checksum(data[i:j]) for i, j in ranges]


def test_the_longest_range_does_not_overflow() -> None:
    data = np.full(1 << 17, 0xFF, np.uint8)
    ends = np.array([0, 65535, 1 << 17])

    assert ones_complement_sum(data, np.zeros(3, np.int64), ends).tolist() == [0, 65280, 0xFFFF]
