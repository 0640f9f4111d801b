"""TLS 1.3 as far as an onlooker sees it; what would be encrypted is pseudo-random."""

from __future__ import annotations

import random
import struct

from .emulate import Capture, Host, Tcp


def extension(kind: int, body: bytes) -> bytes:
    """Return a TLS extension."""
    return struct.pack("!HH", kind, len(body)) + body


def record(kind: int, body: bytes, version: int = 0x0303) -> bytes:
    """Return a TLS record."""
    return struct.pack("!BHH", kind, version, len(body)) + body


def handshake(kind: int, body: bytes) -> bytes:
    """Return a TLS handshake message."""
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def client_hello(rng: random.Random, name: str) -> bytes:
    """Return a browser-like client hello."""
    host = name.encode()
    groups = struct.pack("!HHHH", 6, 0x001D, 0x0017, 0x0018)
    key = struct.pack("!HHH", 36, 0x001D, 32) + rng.randbytes(32)
    extensions = b"".join(
        [
            extension(0, struct.pack("!HBH", len(host) + 3, 0, len(host)) + host),
            extension(23, b""),
            extension(0xFF01, b"\0"),
            extension(10, groups),
            extension(11, b"\x01\0"),
            extension(35, b""),
            extension(16, b"\0\x0c\x02h2\x08http/1.1"),
            extension(51, key),
            extension(43, b"\x04\x03\x04\x03\x03"),
            extension(13, struct.pack("!HHHHHHH", 12, 0x403, 0x503, 0x603, 0x804, 0x805, 0x806)),
        ]
    )
    ciphers = bytes.fromhex("130113031302c02bc02fcca9cca8c02cc030c00ac009c013c014009c009d002f0035")
    body = b"\x03\x03" + rng.randbytes(32) + b"\x20" + rng.randbytes(32)
    body += struct.pack("!H", len(ciphers)) + ciphers + b"\x01\0"
    body += struct.pack("!H", len(extensions)) + extensions
    return record(22, handshake(1, body), 0x0301)


def server_flight(rng: random.Random) -> bytes:
    """Return a TLS 1.3 server hello and the encrypted rest of its flight."""
    key = extension(51, struct.pack("!HH", 0x001D, 32) + rng.randbytes(32))
    extensions = key + extension(43, b"\x03\x04")
    body = b"\x03\x03" + rng.randbytes(32) + b"\x20" + rng.randbytes(32) + b"\x13\x01\0"
    body += struct.pack("!H", len(extensions)) + extensions
    sealed = record(23, rng.randbytes(rng.randrange(2400, 4200)))
    return record(22, handshake(2, body)) + record(20, b"\x01") + sealed


def open_tls(
    capture: Capture, now: float, client: Host, server: Host, name: str, port: int = 443
) -> Tcp:
    """Open a TLS 1.3 connection; the caller sends application data and closes."""
    rng = capture.rng
    connection = Tcp(capture, now, client, server, port, 0.01 + rng.random() * 0.06)
    connection.send(0, client_hello(rng, name))
    connection.send(1, server_flight(rng), wait=0.002)
    connection.send(0, record(20, b"\x01") + record(23, rng.randbytes(53)))
    return connection
