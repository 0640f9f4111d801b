"""Addresses as Zeek writes them."""

import ipaddress

import numpy as np
import pytest

from mtc_sensor.flow import address_text, address_texts

# From zeek_inet_ntop.c: which IPv6 addresses end in a dotted quad, and which only look as if.
TEXTS = [
    "0.0.0.0",
    "192.0.2.80",
    "::",
    "::1",
    "::2",
    "::0.1.0.2",
    "::192.0.2.80",
    "::ffff:0:192.0.2.80",
    "64:ff9b::c000:250",
    "2001:db8::5",
    "1:0:0:2::3",
    "2001:db8:0:1:1:1:1:1",
]


def packed(text: str) -> bytes:
    ip = ipaddress.ip_address(text)
    return ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed


@pytest.mark.parametrize("text", TEXTS)
def test_one_address(text: str) -> None:
    assert address_text(np.frombuffer(packed(text), np.uint8)) == text


def test_many_addresses_keep_their_order() -> None:
    texts = [*TEXTS, *reversed(TEXTS)]
    addresses = np.frombuffer(b"".join(map(packed, texts)), np.uint8).reshape(-1, 16)
    assert address_texts(addresses) == texts
    assert address_texts(addresses[:0]) == []
