"""Verdicts on samples of one stream as columns: what the sensor has between models and the wire.

`events.Verdict` says what is valid. Zeek's binary messages are written from the columns, without an
object for each verdict; for all else, `Answers` is a sequence of such.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, overload

from mtc_sensor.wire.events import Verdict
from mtc_sensor.wire.records import Records


@dataclass(frozen=True, eq=False)
class Answers(Sequence[Verdict]):
    """``m`` verdicts; `records` is what they are on, the other fields are those of `Verdict`."""

    sensor: str
    records: Records
    rows: list[int]
    """(m,) of the records."""
    model: list[str]
    label: list[str]
    score: list[float]
    flags: list[int]
    detail: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, which: int) -> Verdict: ...

    @overload
    def __getitem__(self, which: slice) -> Answers: ...

    def __getitem__(self, which: int | slice) -> Verdict | Answers:
        if isinstance(which, slice):
            some: dict[str, Any] = {name: getattr(self, name)[which] for name in _COLUMNS}
            return replace(self, **some)
        one: dict[str, Any] = {name: [getattr(self, name)[which]] for name in _COLUMNS}
        return next(iter(replace(self, **one)))

    def __iter__(self) -> Iterator[Verdict]:
        columns = (getattr(self, name) for name in _COLUMNS[1:])
        for known, *said in zip(self.records.identities(self.rows), *columns, strict=True):
            yield Verdict(self.sensor, *known, *said)


_COLUMNS = tuple(field.name for field in fields(Answers)[2:])
