"""Addresses and ports of lines: all that others take, and nothing else."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from socket import AF_INET6, inet_ntop

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.errors import WireError
from mtc_sensor.wire.values import map_address, unmap_address
from tests.unit.wire.build import assert_equal_records, line, read_lines


@pytest.mark.parametrize("text", [b"::ffff:10.0.0.1", b"::FFFF:a00:1", b"0:0:0:0:0:ffff:a00:1"])
def test_a_mapped_address_is_an_ipv4_address(text: bytes) -> None:
    mapped, plain = read_lines(line(orig_h=text)), read_lines(line())
    assert_equal_records(mapped, plain)
    icmp = line(orig_h=text, resp_h=text, orig_p=b"8/icmp", resp_p=b"0/icmp")
    assert read_lines(icmp).proto.tolist() == [1]


@pytest.mark.parametrize(
    ("proto", "v4", "v6"), [(b"tcp", 6, 6), (b"udp", 17, 17), (b"icmp", 1, 58)]
)
def test_protocols(proto: bytes, v4: int, v6: int) -> None:
    ports = {"orig_p": b"0/" + proto, "resp_p": b"65535/" + proto}
    records = read_lines(line(**ports), line(orig_h=b"::1", resp_h=b"::2", **ports))
    assert records.proto.tolist() == [v4, v6]
    assert records.orig_p.tolist() == [0, 0]
    assert records.resp_p.tolist() == [65535, 65535]


def read_address(text: str) -> bytes:
    return bytes(read_lines(line(orig_h=text.encode(), resp_h=text.encode())).resp_h[0])


groups = st.lists(
    st.sampled_from(["0", "00", "0000", "1", "ff", "FfFf", "0a0", "abcd"]), max_size=9
)


@given(groups, groups, st.sampled_from(["", ":", "::", ":::"]), st.sampled_from(["", ":1.2.3.4"]))
def test_ipv6_addresses_are_those_of_ipaddress(
    before: list[str], after: list[str], between: str, tail: str
) -> None:
    as_ipaddress_does(":".join(before) + between + (":".join(after) + tail).lstrip(":"))


@given(st.text("0123456789.:af", max_size=20))
def test_addresses_are_those_of_ipaddress(text: str) -> None:
    as_ipaddress_does(text)


def as_ipaddress_does(text: str) -> None:
    try:
        expected = map_address(unmap_address(ip_address(text)))
    except ValueError:
        with pytest.raises(WireError):
            read_address(text)
    else:
        assert read_address(text) == expected


few = st.sampled_from([0, 1, 0xFF, 0xFFFF, 0x102, 0xA00])
ipv6 = st.one_of(
    st.binary(min_size=16, max_size=16),
    st.lists(few, min_size=8, max_size=8).map(
        lambda words: b"".join(word.to_bytes(2, "big") for word in words)
    ),
)


@given(ipv6)
def test_ipv6_addresses_as_zeek_writes_them(packed: bytes) -> None:
    assert read_address(inet_ntop(AF_INET6, packed)) == packed
    assert read_address(IPv6Address(packed).exploded) == packed
