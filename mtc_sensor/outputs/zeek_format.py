"""Zeek's two text formats, column by column: tab-separated values, and JSON.

Rules as in Zeek 8.2 (src/threading/formatters/{Ascii,JSON}.cc, src/Desc.cc, util::escape_utf8) with
its default settings. The lines are Zeek's to the byte, but for one JSON number in about 700, which
Zeek's JSON library (Grisu2) writes with more digits than it takes to read the same number back.

Values of a column by type; None is unset:

===================  ====================================================================
``time interval``    int: microseconds
``double``           float
``bool``             bool
``int count port``   int
``string enum``      str, or bytes (of any content)
``addr subnet``      str, as Zeek writes it; a column of addr: or one (n, 16) uint8 array
``set[T] vector[T]`` tuple of T
===================  ====================================================================
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import repeat
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.flow import address_texts

Fields: TypeAlias = Sequence[tuple[str, str]]
"""A log's columns in order: name and Zeek type, as in ``#fields`` and ``#types``."""
Column: TypeAlias = Sequence[object] | NDArray[np.generic]
Render: TypeAlias = Callable[[Any], str]

SEPARATOR = "\t"
SET_SEPARATOR = ","
EMPTY = "(empty)"
UNSET = "-"

# Written as it is in both formats, in a set or not: printable ASCII without backslash, quote and
# comma that is neither `EMPTY` nor `UNSET`.
_PLAIN = re.compile(r"(?![-(])[ !#-+\--\[\]-~]+")
_RESERVED = (b"", EMPTY.encode(), UNSET.encode())
_ESCAPED = {b"\\": "\\\\", b"\t": "\\x09", b",": "\\x2c"}
# What Zeek does not let through as UTF-8: control characters (JSON has an escape of its own for
# some), the private use area, specials. One of them, or one illegal byte, and every byte of the
# string that is not printable ASCII is written as \xNN.
_BAD = re.compile("[\x00-\x1f\x7f-\x9f\ue000-\uf8ff\ufff0-\uffff]")
_BAD_JSON = re.compile("[\x00-\x07\x0b\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ufff0-\uffff]")
_PRINTABLE = frozenset(range(32, 127))
_PRINTABLE_JSON = _PRINTABLE | frozenset(b"\b\t\n\f\r")


def tsv_lines(fields: Fields, columns: Mapping[str, Column]) -> list[str]:
    """Format rows as tab-separated values, without newlines.

    A field that `columns` lacks is unset in every row. Raises ValueError for columns of unequal
    length.
    """
    texts = [
        _texts(columns[name], _TSV.render(kind), UNSET) if name in columns else None
        for name, kind in fields
    ]
    lines = [SEPARATOR.join(row) for row in _rows(texts, UNSET)]
    # So that no row passes for a header line.
    return [f"\\x23{line[1:]}" if line.startswith("#") else line for line in lines]


def json_lines(fields: Fields, columns: Mapping[str, Column]) -> list[str]:
    """Format rows as JSON objects, without newlines; unset fields are left out.

    Raises ValueError for columns of unequal length.
    """
    texts = [
        _texts(columns[name], _member(name, _JSON.render(kind)), "") if name in columns else None
        for name, kind in fields
    ]
    return ["{" + ",".join(filter(None, row)) + "}" for row in _rows(texts, "")]


def _rows(texts: list[list[str] | None], unset: str) -> Iterable[tuple[str, ...]]:
    lengths = {len(column) for column in texts if column is not None}
    if len(lengths) != 1:
        raise ValueError(f"columns of {sorted(lengths)} rows")
    count = lengths.pop()
    return zip(*[repeat(unset, count) if c is None else c for c in texts], strict=True)


def _texts(column: Column, render: Render, unset: str) -> list[str]:
    """Render each distinct value once: logs repeat themselves."""
    values = _values(column)
    memo = {value: unset if value is None else render(value) for value in set(values)}
    return [memo[value] for value in values]


def _values(column: Column) -> Sequence[object]:
    if not isinstance(column, np.ndarray):
        return column
    if column.ndim == 1:
        return cast(list[object], column.tolist())
    return address_texts(cast(NDArray[np.uint8], column))


@dataclass(frozen=True)
class _Format:
    scalars: Mapping[str, Render]
    elements: Mapping[str, Render]
    """The same inside a set or vector."""
    unset: str
    join: Callable[[list[str]], str]

    def render(self, kind: str) -> Render:
        """Return the function that writes one value, not None, of a Zeek type."""
        container, _, element = kind.partition("[")
        if not element:
            return self.scalars[container]
        render = self.elements[element.removesuffix("]")]
        return lambda values: self.join([self.unset if v is None else render(v) for v in values])


def _member(name: str, render: Render) -> Render:
    return lambda value: f'"{name}":{render(value)}'


def _seconds(us: int) -> str:
    return f"{us / 1e6:.6f}"


def _double(value: float) -> str:
    """At most six decimals, no exponent, and ``.0`` where it would look like an integer."""
    if not math.isfinite(value):
        return str(abs(value) if math.isnan(value) else value)
    text = f"{value:.6f}".rstrip("0").removesuffix(".")
    return text + ".0" if abs(value - round(value)) < 1e-9 else text


def _json_double(value: float) -> str:
    """Shortest digits that read back the same; an exponent outside 1e-6..1e21, as rapidjson."""
    if not math.isfinite(value):
        return "null"
    text = repr(value)
    if "e" not in text:
        return text
    digits, exponent = text.split("e")
    if -6 <= int(exponent) < 21:
        plain = format(Decimal(text), "f")
        return plain if "." in plain else plain + ".0"
    return f"{digits}e{int(exponent)}"


def _string(quote: str, escape: Callable[[bytes], str]) -> Render:
    def render(value: str | bytes) -> str:
        text = value if isinstance(value, str) else value.decode("latin-1")
        if _PLAIN.fullmatch(text):
            return f"{quote}{text}{quote}"
        return escape(value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass"))

    return render


def _json_escape(raw: bytes) -> str:
    return json.dumps(_utf8(raw, _BAD_JSON, _PRINTABLE_JSON), ensure_ascii=False)


def _tsv_escape(raw: bytes, special: re.Pattern[bytes]) -> str:
    if raw in _RESERVED:
        return f"\\x{raw[0]:02x}{raw[1:].decode()}" if raw else EMPTY
    # Odd parts are the special characters. Each of the others is escaped or not on its own.
    return "".join(
        _ESCAPED[part] if odd % 2 else _utf8(part, _BAD, _PRINTABLE)
        for odd, part in enumerate(special.split(raw))
    )


def _utf8(raw: bytes, bad: re.Pattern[str], printable: frozenset[int]) -> str:
    """Return legal, harmless UTF-8 as it is, anything else escaped byte by byte."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = "\x00"
    if not bad.search(text):
        return text
    return "".join(chr(byte) if byte in printable else f"\\x{byte:02x}" for byte in raw)


def _scalars(
    string: Render, double: Render, seconds: Render, true_false: tuple[str, str], quote: str
) -> dict[str, Render]:
    return {
        **dict.fromkeys(("int", "count", "port"), str),
        **dict.fromkeys(("addr", "subnet"), lambda value: f"{quote}{value}{quote}"),
        "string": string,
        "enum": string,
        "double": double,
        "time": seconds,
        "interval": seconds,
        "bool": lambda value: true_false[not value],
    }


def _tsv_scalars(special: bytes) -> dict[str, Render]:
    split_at = re.compile(b"([%s])" % re.escape(special))
    string = _string("", lambda raw: _tsv_escape(raw, split_at))
    return _scalars(string, _double, _seconds, ("T", "F"), "")


_TSV = _Format(
    scalars=_tsv_scalars(b"\\\t"),
    elements=_tsv_scalars(b"\\\t,"),
    unset=UNSET,
    join=lambda texts: SET_SEPARATOR.join(texts) or EMPTY,
)
_JSON_SCALARS = _scalars(
    _string('"', _json_escape),
    _json_double,
    lambda us: _json_double(us / 1e6),
    ("true", "false"),
    '"',
)
_JSON = _Format(
    scalars=_JSON_SCALARS,
    elements=_JSON_SCALARS,
    unset="null",
    join=lambda texts: f"[{','.join(texts)}]",
)
