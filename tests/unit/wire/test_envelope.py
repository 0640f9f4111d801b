from __future__ import annotations

import re

import numpy as np
import pytest

from mtc_sensor.errors import WireError
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.values import Timestamp, Value


def test_arguments_that_are_all_counts() -> None:
    # As a vector of counts they arrive as an array; as arguments they are single values.
    value: Value = (1, 1, (b"add", np.array([1, 2], np.uint64)))
    assert ZeekEvent.from_value(value) == ZeekEvent("add", (1, 2))


def test_network_time_among_other_metadata() -> None:
    own = np.array([200, 7], np.uint64)
    value: Value = (1, 1, (b"e", (), (own, (1, Timestamp(5)))))
    assert ZeekEvent.from_value(value) == ZeekEvent("e", (), Timestamp(5))
    assert ZeekEvent.from_value((1, 1, (b"e", (), (own,)))) == ZeekEvent("e", ())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "no vector of three"),
        ((1, 1), "no vector of three"),
        ((2, 1, ()), "version 2 and type 1 is no event"),
        ((1, 5, ()), "version 1 and type 5 is no event"),
        ((True, 1, ()), "version True"),
        ((np.array([1, 1], np.uint64), 1, ()), "is no event"),
        ((1, 1, b""), "no name and arguments"),
        ((1, 1, (b"e",)), "no name and arguments"),
        ((1, 1, (7, ())), "no name and arguments"),
        ((1, 1, (b"\xff", ())), "not ASCII"),
        ((1, 1, (b"e", 7)), "e: arguments are no vector"),
        ((1, 1, (b"e", (), 7)), "metadata is no vector"),
        ((1, 1, (b"e", (), (7,))), "vector of pairs"),
        ((1, 1, (b"e", (), ((1, 7.0),))), "network time is no timestamp"),
    ],
)
def test_what_is_no_event_is_refused(value: Value, message: str) -> None:
    with pytest.raises(WireError, match=re.escape(message)):
        ZeekEvent.from_value(value)
