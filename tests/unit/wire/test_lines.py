"""Lines of records: what Zeek writes is read, and what is wrong with others is named."""

from __future__ import annotations

import random
import re
from base64 import b64encode
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.errors import WireError
from mtc_sensor.flow import Kind
from mtc_sensor.wire import lines
from mtc_sensor.wire.records import Records, StreamId
from mtc_sensor.wire.sample import Sample, write
from mtc_sensor.wire.values import MAX_COUNT, Port, Proto, map_address
from tests.unit.wire.build import (
    addresses,
    assert_equal_records,
    line,
    read_lines,
    records_of,
    sample,
    samples,
)
from tests.unit.wire.test_fuzz import mutate


def test_a_line_of_zeeks() -> None:
    records = read_lines(
        b"2|C1|10.0.0.1|8/icmp|10.255.0.2|0/icmp|AP9+,,QQ==,QUI=|"
        b'{"times":[1700000000.123456,1700000000.125],"counters":[7,47,196608047]}|a|b '
    )
    assert (records.kind[0], records.uid[0], records.proto[0]) == (2, b"C1", 1)
    assert records.orig_h[0].tobytes() == map_address(IPv4Address("10.0.0.1"))
    assert records.resp_h[0].tobytes() == map_address(IPv4Address("10.255.0.2"))
    assert (records.orig_p[0], records.resp_p[0]) == (8, 0)
    assert records.start_us[0] == 1_700_000_000_123_456
    assert records.samples.tolist() == [40 << 16, 1544 << 33 | 1 << 32 | 1500 << 16]
    assert records.head.tobytes() == b"\x00\xff~AAB"
    assert records.head_ends.tolist() == [0, 3, 3, 4, 6]
    assert records.head_offsets.tolist() == [0, 4]
    assert records.tokens.tobytes() == b"a|b "


@pytest.mark.parametrize(
    ("heads", "sizes"),
    [
        (b"", []),  # also what a single head would be that is empty
        (b",", [0, 0]),
        (b",,,,,,,", [0] * 8),
        (b"QQ==", [1]),
        (b"QUI=,", [2, 0]),
        (b",,AP9+", [0, 0, 3]),
        (b"QQ==,QQ==,QQ==,QQ==,QQ==,QQ==,QQ==,QQ==", [1] * 8),
        (b64encode(bytes(65_535)), [65_535]),
    ],
)
def test_heads_are_told_apart(heads: bytes, sizes: list[int]) -> None:
    records = read_lines(line(heads=heads), line(heads=b"AP9+"))
    ends = records.head_ends.tolist()
    assert [end - begin for begin, end in pairwise(ends)] == [*sizes, 3]
    assert records.head_offsets.tolist() == [0, len(sizes), len(sizes) + 1]


@pytest.mark.parametrize(
    ("seconds", "microseconds"),
    [
        (b"0", 0), (b"0.0", 0), (b"1.0000014", 1_000_001), (b"1.0000015", 1_000_002),
        (b"999999999999.9999999", 10**18),
    ],
)  # fmt: skip
def test_a_record_starts_with_its_first_packet(seconds: bytes, microseconds: int) -> None:
    packets = b'{"times":[%b,2000000000.0],"counters":[0,1,2]}' % seconds
    assert read_lines(line(packets=packets)).start_us.tolist() == [microseconds]


def test_a_record_without_packets_starts_nowhere() -> None:
    records = read_lines(line(), line(packets=b'{"times":[],"counters":[7]}'))
    assert records.start_us.tolist() == [1_500_000, 0]
    assert records.sample_offsets.tolist() == [0, 1, 1]


NOT_KINDS = (b"", *b"3 9 -1 00 01 a MTC::EARLY".split(), b"1 ")
NOT_UIDS = (b"", b"C" * 25, b"C 1", *b"C-1 C\xe9 C@ C[ C` C{ C/ C:".split())
NOT_ADDRESSES = (
    *(b"", b" 1.2.3.4", b"1.2.3.4 ", b"::1.2.3.4 ", b"::1\0"),
    *b". 1 1.2 1.2.3 1.2.3. .1.2.3 1..2.3 1.2.3.4.5 1.2.3.4. 256.0.0.1 1.2.3.256".split(),
    *b"1.2.3.1000 01.2.3.4 1.2.3.04 00.0.0.0 1.2.3.x 1.2.3.4/32 -1.2.3.4 1,2,3,4".split(),
    *b"localhost 1.2.3.0x4 : ::: 1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 1:2:3:4:5:6:7::8".split(),
    *b"::1::2 1:::2 :1:2:3:4:5:6:7 1:2:3:4:5:6:7: :1:: 1::2: 12345:: ::12345 ::g G::".split(),
    *b"::@ ::` ::/ fe80::1%eth0 [::1] ::1/128 ::1.2.3 ::1.2.3.4.5 ::1.2.3.256".split(),
    *b"::1.2.3.4:5 1.2.3.4:: ::01.2.3.4 1:2:3:4:5:6:7:1.2.3.4 1:2:3:4:5:1.2.3.4".split(),
    *b"1:2:3:4:5:6::1.2.3.4 ::ffff:1.2.3. ::\xff ::1.2.3.4:: ::1.2.3.4%1".split(),
    b"1111:2222:3333:4444:5555:6666:123.123.123.1234",
    b"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
)
NOT_PORTS = (
    *(b"", b" 80/tcp", b"80 /tcp", b"80/ tcp", b"80/tcp ", b"9" * 30 + b"/tcp"),
    *b"/ /tcp 80 80/ 80/t 80/tc 80/tcpx 80/TCP 80/sctp 80/unknown 80/? 65536/tcp".split(),
    *b"99999/tcp 18446744073709551616/tcp -1/tcp 080/tcp 00/tcp 80:tcp 0x50/tcp 8.0/tcp".split(),
)
NOT_HEADS = (
    *(b" ", b"AP9+ ", b"AP\n9+", b"\0", b"AP9\0"),
    *b"A AA AAA AAAAA = == ==== A=== AA= AAA== AAAA= AAAA==== =AAA AA=A AAAA=AAA".split(),
    *b"QQ==QQ== AP-+ AP_+ AP9\xff AP9+;AP9+ QQ==,Q Q,QQ== ,A AP9+,,,,,,,, ,,,,,,,,".split(),
    *(b",".join([b"AP9+"] * 9), b64encode(bytes(65_536))),
)
NOT_TEXTS = (b"a\n", b"\t", b"\x7f", b"\xff", b"\0", b"\x1f ", "ü".encode(), b"a" * 65_536)
NO_SECONDS = ("-1", "1.", ".5", "01.5", "1e5", "1.5e1", " 1", "1000000000000", "1,", "x", "1;")
NO_COUNTS = (
    *("", "0", "0,", "0,1,", "0,1,2", ",1", "0,01", "0,-1", "0,1.0", "0, 1", "0;1", "[0,1]"),
    *("0,18446744073709551616", "0,20000000000000000000", "0," + "9" * 23),
)
DAMAGED = (
    *(b"", b"{", b'{"times":[', b'{"times":[1', b'{"times":[1.', b'{"times":[1.5', b'{"times":[1]'),
    *(b'{"times":[1],"counters":[', b'{"times":[1],"counters":[0', b'{"times":[1],"counters":[0,1'),
    *(b'{"times":[1],"counters":[0,1]', b'{"times":[1],"counters":[0,1]} ', b"[1]"),
    b'{"counters":[0,1],"times":[1]}',
)


def packets(times: str, counters: str) -> bytes:
    return f'{{"times":[{times}],"counters":[{counters}]}}'.encode()


NOT_PACKETS = (
    *(packets(times, "0,1") for times in NO_SECONDS),
    *(packets("1.5", counters) for counters in NO_COUNTS),
    *DAMAGED,
)
NOTHING_ELSE = "no port of TCP, UDP or ICMP"
WRONG = [
    *(("kind", part, "no kind of record") for part in NOT_KINDS),
    *(("uid", part, "no uid") for part in NOT_UIDS),
    *(("orig_h", part, "no address") for part in NOT_ADDRESSES),
    *(("resp_h", part, "no address") for part in NOT_ADDRESSES),
    *(("orig_p", part, NOTHING_ELSE) for part in NOT_PORTS),
    *(("resp_p", part, NOTHING_ELSE) for part in NOT_PORTS),
    *(("heads", part, "no base64 of at most 8 packet heads, each of at") for part in NOT_HEADS),
    *(("packets", part, "no JSON of a record's packets") for part in NOT_PACKETS),
    *(("tokens", part, "no printable ASCII of at most 65535 characters") for part in NOT_TEXTS),
]


@pytest.mark.parametrize(("name", "part", "what"), WRONG)
def test_what_is_wrong_is_named(name: str, part: bytes, what: str) -> None:
    refused(f"record 2: {name}: {part[:64]!r} is {what}", line(), line(), line(**{name: part}))


def refused(complaint: str, *some: bytes) -> None:
    with pytest.raises(WireError, match=re.escape(complaint)):
        read_lines(*some)


@pytest.mark.parametrize("count", range(1, 9))
def test_a_line_of_less_than_nine_parts_is_refused(count: int) -> None:
    short = b"|".join(line().split(b"|")[:count])
    refused(f"record 0: {count} parts, not 9", short, line())


def test_ends_that_do_not_go_together_are_refused() -> None:
    complaint = "record 0: addresses are of different families: b'10.0.0.1' and b'::1'"
    refused(complaint, line(resp_h=b"::1"))
    refused("addresses are of different families: b'::1'", line(orig_h=b"::1"))
    complaint = "record 1: ports are of different protocols: b'49152/tcp' and b'53/udp'"
    refused(complaint, line(), line(resp_p=b"53/udp"))
    refused("ports are of different protocols", line(orig_p=b"8/icmp"))


def test_numbers_end_somewhere() -> None:
    stream = StreamId("r", "n", 0)
    assert lines.read([line()], stream, MAX_COUNT, 1).seq.tolist() == [MAX_COUNT]
    with pytest.raises(WireError, match=f"record 2: its number is more than {MAX_COUNT}"):
        lines.read([line()] * 3, stream, MAX_COUNT - 1, 1)


def test_every_beginning_of_a_line_is_refused() -> None:
    whole = line(orig_h=b"2001:db8::1", resp_h=b"::ffff:0:1.2.3.4")
    end = whole.rindex(b"|") + 1
    for size in range(end):
        refused("record 0: ", whole[:size])
    for size in range(end, len(whole) + 1):
        assert read_lines(whole[:size]).tokens.tobytes() == whole[end:size]


@st.composite
def ends(draw: st.DrawFn) -> dict[str, object]:
    orig_h = draw(addresses)
    proto = draw(st.sampled_from([Proto.TCP, Proto.UDP, Proto.ICMP]))
    ports = st.builds(Port, st.integers(0, 65535), st.just(proto))
    same_family = addresses.filter(lambda other: other.version == orig_h.version)
    return {
        "orig_h": orig_h, "resp_h": draw(same_family), "orig_p": draw(ports), "resp_p": draw(ports),
    }  # fmt: skip


def made(seq: int, numbers: int, heads: list[bytes], some: dict[str, object]) -> Sample:
    head = () if heads == [b""] else tuple(heads)
    return replace(sample(packets=numbers, heads=0, seq=seq), head=head, **some)  # type: ignore[arg-type]


some_samples = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.lists(st.binary(max_size=300), max_size=8),
        st.builds(
            dict.__or__,
            ends(),
            st.fixed_dictionaries(
                {
                    "kind": st.integers(min(Kind), max(Kind)),
                    "uid": st.from_regex(r"[0-9A-Za-z]{1,24}", fullmatch=True),
                    "tokens": st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)),
                }
            ),
        ),
    ),
    min_size=1,
    max_size=5,
)


@given(some_samples)
def test_what_is_written_is_read(
    drawn: list[tuple[int, list[bytes], dict[str, object]]],
) -> None:
    some = [made(seq, *one) for seq, one in enumerate(drawn, 1)]
    assert_equal_records(read_lines(*map(write, some)), records_of(some))


def test_every_byte_of_a_head_comes_through() -> None:
    heads = (bytes(range(256)), bytes(reversed(range(255))), b"", b"\xff" * 254)
    one = replace(sample(), head=heads)
    assert_equal_records(read_lines(write(one)), records_of([one]))


def test_lines_do_not_depend_on_each_other() -> None:
    some = [*samples(3), *(sample(packets=0, heads=0, seq=seq) for seq in (4, 5))]
    together = read_lines(*map(write, some))
    alone = [lines.read([write(one)], StreamId("6f1c", "worker-1", 0), one.seq, 1) for one in some]
    assert_equal_records(together, Records.concat(alone))


def test_mutated_lines_are_read_or_refused() -> None:
    rng = random.Random(3)
    v6 = {"orig_h": b"2001:db8::1", "resp_h": b"::ffff:0:1.2.3.4"}
    originals = [write(sample(packets=3, heads=2)), line(), line(**v6)]
    refusals = 0
    for number in range(20_000):
        changed = mutate(originals[number % len(originals)], rng)
        first, second = outcome(changed, line()), outcome(line(), changed)
        if isinstance(first, str) or isinstance(second, str):
            assert re.match(r"record 0: (\d parts|[a-z_ ]+: )", str(first))
            assert second == str(first).replace("0", "1", 1)
            refusals += 1
            continue
        assert_equal_records(replace(first.take([0]), seq=second.seq[1:]), second.take([1]))
    assert 10_000 < refusals < 19_900


def outcome(*some: bytes) -> Records | str:
    try:
        return read_lines(*some)
    except WireError as error:
        return str(error)
