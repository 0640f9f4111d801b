import re

import numpy as np

from mtc_sensor.capture.uid import uids


def _uids(count: int, swap: bool = False) -> list[bytes]:
    ends = (
        np.full((count, 3), (1, 2, 40000), np.uint64),
        np.full((count, 3), (1, 3, 443), np.uint64),
    )
    made: list[bytes] = uids(
        (ends[1], ends[0]) if swap else ends,
        np.full(count, 6, np.uint8),
        np.full(count, 1_700_000_000_000_000, np.uint64),
        np.arange(count, dtype=np.uint64),
    ).tolist()
    return made


def test_form_and_difference() -> None:
    made = _uids(20_000)
    assert len(set(made)) == 20_000
    assert all(re.fullmatch(rb"C[0-9A-Za-z]{17}", uid) for uid in made)
    assert len({uid[:9] for uid in made}) == 20_000


def test_fixed_value() -> None:
    assert _uids(1) == [b"C3RvbcA1n6eO18JFI9"]


def test_roles_do_not_matter() -> None:
    assert _uids(100) == _uids(100, swap=True)


def test_none() -> None:
    assert _uids(0) == []
