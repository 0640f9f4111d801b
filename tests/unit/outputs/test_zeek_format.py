"""Zeek's formats: literal lines by its rules, and strings that survive any content."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.outputs.zeek_format import Column, json_lines, tsv_lines


def tsv(kind: str, value: object) -> str:
    return tsv_lines([("x", kind)], {"x": [value]})[0]


def js(kind: str, value: object) -> str:
    line = json_lines([("x", kind)], {"x": [value]})[0]
    assert line.startswith('{"x":')
    return line[5:-1]


@pytest.mark.parametrize(
    ("value", "in_tsv", "in_json"),
    [
        ("plain text", "plain text", '"plain text"'),
        ("", "(empty)", '""'),
        ("-", r"\x2d", '"-"'),
        ("--", "--", '"--"'),
        ("(empty)", r"\x28empty)", '"(empty)"'),
        ("#comment", r"\x23comment", '"#comment"'),
        ("a\tb\nc\rd", r"a\x09b\x0ac\x0dd", r'"a\tb\nc\rd"'),
        ("back\\slash", r"back\\slash", r'"back\\slash"'),
        (r"\x41", r"\\x41", r'"\\x41"'),
        ('a"b/c', 'a"b/c', r'"a\"b/c"'),
        ("a,b", "a,b", '"a,b"'),
        ("ñ₡𐌼", "ñ₡𐌼", '"ñ₡𐌼"'),
        (b"\xc3\x28", r"\xc3(", r'"\\xc3("'),
        ("\x07", r"\x07", r'"\\x07"'),
        ("\x7f", r"\x7f", r'"\\x7f"'),
        ("\x00\x0b\x1f", r"\x00\x0b\x1f", r'"\\x00\\x0b\\x1f"'),
        # One bad character, and the whole string is written byte by byte ...
        (b"\xc3\xb1\xc0\x81", r"\xc3\xb1\xc0\x81", r'"\\xc3\\xb1\\xc0\\x81"'),
        ("ñ\x07", r"\xc3\xb1\x07", r'"\\xc3\\xb1\\x07"'),
        # ... but in a TSV log only up to the next backslash or separator.
        ("ñ\\\x07ñ\tñ", r"ñ\\\x07\xc3\xb1\x09ñ", r'"\\xc3\\xb1\\\\x07\\xc3\\xb1\t\\xc3\\xb1"'),
        ("\ue000", r"\xee\x80\x80", r'"\\xee\\x80\\x80"'),
        ("\ufffd", r"\xef\xbf\xbd", r'"\\xef\\xbf\\xbd"'),
        ("\u0080", r"\xc2\x80", r'"\\xc2\\x80"'),
        ("\ud800", r"\xed\xa0\x80", r'"\\xed\\xa0\\x80"'),
    ],
)
def test_strings(value: str | bytes, in_tsv: str, in_json: str) -> None:
    assert tsv("string", value) == in_tsv
    assert js("string", value) == in_json


@pytest.mark.parametrize(
    ("value", "in_tsv", "in_json"),
    [
        (0.0, "0.0", "0.0"),
        (1.0, "1.0", "1.0"),
        (10.0, "10.0", "10.0"),
        (0.9375, "0.9375", "0.9375"),
        (-1.5, "-1.5", "-1.5"),
        (1 / 3, "0.333333", "0.3333333333333333"),
        (1e-7, "0", "1e-7"),
        (1.5e-5, "0.000015", "0.000015"),
        (0.9999999, "1", "0.9999999"),
        (1e15, "1000000000000000.0", "1000000000000000.0"),
        (1e20, "100000000000000000000.0", "100000000000000000000.0"),
        (1e22, "10000000000000000000000.0", "1e22"),
        (math.inf, "inf", "null"),
        (-math.inf, "-inf", "null"),
        (-math.nan, "nan", "null"),
    ],
)
def test_doubles(value: float, in_tsv: str, in_json: str) -> None:
    assert tsv("double", value) == in_tsv
    assert js("double", value) == in_json


@pytest.mark.parametrize(
    ("kind", "value", "in_tsv", "in_json"),
    [
        ("time", 1_700_000_000_123_450, "1700000000.123450", "1700000000.12345"),
        ("time", 1_700_000_000_000_001, "1700000000.000001", "1700000000.000001"),
        ("interval", 3_600_000_000, "3600.000000", "3600.0"),
        ("interval", -1, "-0.000001", "-0.000001"),
        ("bool", True, "T", "true"),
        ("bool", False, "F", "false"),
        ("count", 2**64 - 1, "18446744073709551615", "18446744073709551615"),
        ("int", -(2**63), "-9223372036854775808", "-9223372036854775808"),
        ("port", 443, "443", "443"),
        ("addr", "192.0.2.80", "192.0.2.80", '"192.0.2.80"'),
        ("addr", "2001:db8::1", "2001:db8::1", '"2001:db8::1"'),
        ("subnet", "192.0.2.0/24", "192.0.2.0/24", '"192.0.2.0/24"'),
        ("enum", "Notice::ACTION_LOG", "Notice::ACTION_LOG", '"Notice::ACTION_LOG"'),
        ("set[count]", (1, 2), "1,2", "[1,2]"),
        ("set[enum]", (), "(empty)", "[]"),
        ("set[string]", ("a,b", "c\\d"), r"a\x2cb,c\\d", r'["a,b","c\\d"]'),
        ("vector[string]", ("", "-", None), r"(empty),\x2d,-", '["","-",null]'),
        ("vector[interval]", (1_500_000,), "1.500000", "[1.5]"),
        ("vector[addr]", ("::1", "10.0.0.1"), "::1,10.0.0.1", '["::1","10.0.0.1"]'),
        ("vector[bool]", (True, False), "T,F", "[true,false]"),
    ],
)
def test_other_types(kind: str, value: object, in_tsv: str, in_json: str) -> None:
    assert tsv(kind, value) == in_tsv
    assert js(kind, value) == in_json


def test_unset_is_a_dash_in_tsv_and_left_out_in_json() -> None:
    fields = [("a", "count"), ("b", "string"), ("c", "count")]
    columns: dict[str, Column] = {"a": [1, 2, None], "c": np.array([3, 4, 5])}
    assert tsv_lines(fields, columns) == ["1\t-\t3", "2\t-\t4", "-\t-\t5"]
    assert json_lines(fields, columns) == ['{"a":1,"c":3}', '{"a":2,"c":4}', '{"c":5}']


def test_arrays_of_bytes_text_and_addresses() -> None:
    fields = [("u", "string"), ("l", "string"), ("h", "addr")]
    address = np.zeros((2, 16), np.uint8)
    address[0, 10:12], address[0, 12:] = 255, (10, 0, 0, 1)
    columns: dict[str, Column] = {
        "u": np.array([b"C1", b"\xff"], "S24"),
        "l": np.array(["web", ""]),
        "h": address,
    }
    assert tsv_lines(fields, columns) == ["C1\tweb\t10.0.0.1", "\\xff\t(empty)\t::"]


def test_no_rows_and_columns_of_unequal_length() -> None:
    fields = [("a", "count"), ("b", "count")]
    assert tsv_lines(fields, {"a": [], "b": []}) == []
    for lines in (tsv_lines, json_lines):
        with pytest.raises(ValueError, match=r"columns of \[1, 2\] rows"):
            lines(fields, {"a": [1], "b": [1, 2]})


def unescape(text: str) -> bytes:
    """Read a string of a TSV log back."""
    return re.sub(
        rb"\\(?:\\|x([0-9a-f]{2}))",
        lambda match: bytes.fromhex(match[1].decode()) if match[1] else b"\\",
        text.encode(),
    )


ANY = st.binary() | st.text().map(str.encode) | st.text(alphabet="\\x09\t,-ñ\x07(empty)")


@given(st.lists(ANY.map(lambda v: v.encode() if isinstance(v, str) else v), min_size=1))
def test_any_strings_come_back_from_a_line_and_from_a_vector(values: list[bytes]) -> None:
    fields = [(f"f{i}", "string") for i in range(len(values))]
    line = tsv_lines(fields, {f"f{i}": [value] for i, value in enumerate(values)})[0]
    assert not set(line) & set(map(chr, [*range(9), *range(10, 32), *range(127, 160)]))
    assert [b"" if t == "(empty)" else unescape(t) for t in line.split("\t")] == values
    together = tsv("vector[string]", tuple(values))
    assert [b"" if t == "(empty)" else unescape(t) for t in together.split(",")] == values


@given(ANY)
def test_json_strings_are_json_and_legal_text_comes_back(value: bytes | str) -> None:
    read = json.loads(js("string", value))
    raw = value.encode() if isinstance(value, str) else value
    if re.fullmatch(rb"[\t\n\r -~]*", raw):
        assert read.encode() == raw


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_json_doubles_are_exact(value: float) -> None:
    assert float(js("double", value)) == value
