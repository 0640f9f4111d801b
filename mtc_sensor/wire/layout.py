"""Dataclasses whose fields are annotated with codecs, from and to Broker values.

A single event is its fields in their order. A batch is what its elements share, then a vector with
a vector of the rest of each: a record to Zeek.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, get_type_hints

from mtc_sensor.errors import WireError
from mtc_sensor.wire.fields import Codec
from mtc_sensor.wire.values import Value, vector_items

Codecs: TypeAlias = tuple[tuple[str, Codec], ...]
"""Of each field its name and how it is written."""


def codecs_of(cls: type[Any]) -> Codecs:
    """Return what the annotations of a dataclass say."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple((item.name, hints[item.name].__metadata__[0]) for item in fields(cls))


def encode(where: str, codecs: Codecs, item: object) -> tuple[Value, ...]:
    """Convert the fields of `item`. Raises WireError, which begins with `where`."""
    return tuple([_convert(where, key, codec.encode, getattr(item, key)) for key, codec in codecs])


def decode(
    where: str, codecs: Codecs, values: Sequence[Value], what: str = "arguments", before: int = 1
) -> list[Any]:
    """Convert the fields' values. Raises WireError; `before` others are counted with them."""
    if len(values) != len(codecs):
        raise WireError(f"{where}: {len(values) + before} {what}, not {len(codecs) + before}")
    return [
        _convert(where, key, codec.decode, value)
        for (key, codec), value in zip(codecs, values, strict=True)
    ]


@dataclass(frozen=True)
class Batch:
    """How elements of one dataclass travel together."""

    element: type[Any]
    key: str
    """The batch's field, a plural."""
    shared: Codecs
    rest: Codecs

    @classmethod
    def of(cls, element: type[Any], key: str, shared: int) -> Batch:
        """Describe a batch whose elements share their first `shared` fields."""
        codecs = codecs_of(element)
        return cls(element, key, codecs[:shared], codecs[shared:])

    def encode(self, event: str, elements: Sequence[object]) -> tuple[Value, ...]:
        """Convert elements. Raises WireError for a field and for elements that share less."""
        header = encode(event, self.shared, elements[0])
        first = self._shared_by(elements[0])
        rest: list[Value] = []
        for number, element in enumerate(elements):
            if self._shared_by(element) != first:
                raise WireError(f"{self._place(event, number)} does not go with the first")
            rest.append(encode(self._place(event, number), self.rest, element))
        return (*header, tuple(rest))

    def decode(self, event: str, values: Sequence[Value]) -> tuple[Any, ...]:
        """Convert an event's arguments to elements. Raises WireError."""
        *shared, elements = values or [()]
        header = decode(event, self.shared, shared, before=2)
        items = vector_items(elements)
        if items is None:
            raise WireError(f"{event}: {type(elements).__name__} is no vector of {self.key}")
        return tuple([self._element(event, header, *item) for item in enumerate(items)])

    def _shared_by(self, element: object) -> list[Any]:
        return [getattr(element, key) for key, _ in self.shared]

    def _element(self, event: str, header: Sequence[Any], number: int, item: Value) -> Any:
        where, values = self._place(event, number), vector_items(item)
        if values is None:
            raise WireError(f"{where}: {type(item).__name__} is no record")
        return self.element(*header, *decode(where, self.rest, values, "fields", 0))

    def _place(self, event: str, number: int) -> str:
        return f"{event}: {self.key[:-1]} {number}"


def _convert(where: str, key: str, function: Callable[[Any], Any], value: Any) -> Any:
    try:
        return function(value)
    except WireError as error:
        raise WireError(f"{where}: {key}: {error}") from None
