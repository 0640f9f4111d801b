"""Verdicts to write."""

import ipaddress
from collections.abc import Callable

import numpy as np
import pytest

from mtc_sensor.flow import Kind
from mtc_sensor.verdict import Verdicts

START_US = 1_700_000_000_000_000

Make = Callable[..., Verdicts]


def packed(address: str) -> bytes:
    """Return an address as 16 bytes, IPv4 as ::ffff:a.b.c.d."""
    ip = ipaddress.ip_address(address)
    return ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed


def make_verdict(
    *,
    uid: bytes = b"CHhAvVGS1DHFjwGM9",
    orig: str = "10.0.0.5",
    resp: str = "192.0.2.80",
    orig_p: int = 49152,
    resp_p: int = 443,
    proto: int = 6,
    ts_us: int = START_US + 1_250_000,
    label: str = "trickbot",
    score: float = 0.9375,
    malicious: bool = True,
    unknown: bool = False,
    latency_us: int = -1,
) -> Verdicts:
    """Make one verdict: an early record of 8 packets that lasted 1.25 s."""
    return Verdicts(
        uid=np.array([uid], "S24"),
        kind=np.array([Kind.EARLY], np.uint8),
        proto=np.array([proto], np.uint8),
        orig_h=np.frombuffer(packed(orig), np.uint8).reshape(1, 16),
        resp_h=np.frombuffer(packed(resp), np.uint8).reshape(1, 16),
        orig_p=np.array([orig_p], np.uint16),
        resp_p=np.array([resp_p], np.uint16),
        start_us=np.array([ts_us - 1_250_000]),
        ts_us=np.array([ts_us]),
        packets=np.array([8]),
        model=np.array(["byte-cnn"]),
        label=np.array([label]),
        score=np.array([score]),
        malicious=np.array([malicious]),
        unknown=np.array([unknown]),
        detail=np.array([f"{label}={score:.3f}"]),
        latency_us=np.array([latency_us]),
    )


@pytest.fixture
def make() -> Make:
    """Return the function that makes one verdict."""
    return make_verdict
