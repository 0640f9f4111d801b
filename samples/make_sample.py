"""Make `demo.pcap`: ten minutes of an emulated office network, the same bytes at every run.

Nothing in it was recorded: hosts, names and contents are invented (documentation addresses, RFC
5737 and RFC 3849; encrypted contents are pseudo-random bytes). One workstation, 10.20.0.66, holds
an emulated command-and-control exchange: small HTTP POSTs to one server in regular steps.

    python -m samples.make_sample [OUT.pcap]
"""

from __future__ import annotations

import base64
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from .emulate import Capture, Host, Tcp
from .tls import open_tls, record

START = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
LENGTH = 600.0
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

CLIENTS = [
    Host(f"10.20.0.{n}", windows=10 * (n % 3 == 0), ttl=128 if n % 3 == 0 else 64)
    for n in range(11, 31)
]
CLIENTS6 = [Host(f"2001:db8:20::{n:x}") for n in range(0x11, 0x19)]
OFFICE = [Host(f"10.30.0.{n}", vlan=30) for n in range(11, 19)]
RESOLVER, CLOCK = Host("10.20.0.2"), Host("192.0.2.123")
MAIL, SHELL, PHONE = (Host(f"10.30.0.{n}", vlan=30) for n in (2, 3, 4))
SITES = [(Host(f"198.51.100.{n}"), f"www{n}.example.com") for n in range(10, 30)]
SITES6 = [(Host(f"2001:db8:80::{n:x}"), f"v6-{n}.example.net") for n in range(1, 9)]
INFECTED, CONTROLLER = Host("10.20.0.66", windows=7, ttl=128), Host("203.0.113.77")


def name_of(text: str) -> bytes:
    """Return a DNS name on the wire."""
    return b"".join(bytes([len(p)]) + p.encode() for p in text.split(".")) + b"\0"


def dns(capture: Capture, now: float, client: Host, name: str, address: Host) -> None:
    """Ask for an address and get it."""
    rng = capture.rng
    ident, port = rng.randrange(65536), rng.randrange(49152, 65535)
    kind = 28 if len(address.raw) == 16 else 1
    question = name_of(name) + struct.pack("!HH", kind, 1)
    answer = struct.pack("!HHHIH", 0xC00C, kind, 1, 300, len(address.raw)) + address.raw
    query = struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0) + question
    reply = struct.pack("!HHHHHH", ident, 0x8180, 1, 1, 0, 0) + question + answer
    capture.udp(now, client, port, RESOLVER, 53, query)
    capture.udp(now + 0.002 + rng.random() * 0.02, RESOLVER, 53, client, port, reply)


def ntp(capture: Capture, now: float, client: Host) -> None:
    """Ask for the time, twice."""
    port = capture.rng.randrange(49152, 65535)
    for step in (0.0, 2.0):
        capture.udp(now + step, client, port, CLOCK, 123, b"\x23" + bytes(47))
        reply = b"\x24\x02\x06\xe9" + capture.rng.randbytes(44)
        capture.udp(now + step + 0.02, CLOCK, 123, client, port, reply)


def web_page(rng: random.Random, title: str) -> bytes:
    """Return some HTML of 1 to 12 kB."""
    words = ("network", "report", "team", "minutes", "garden", "weather", "invoice", "travel")
    body = " ".join(rng.choice(words) for _ in range(rng.randrange(120, 900)))
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><p>{body}".encode()


def http(capture: Capture, now: float, client: Host, server: Host, name: str) -> None:
    """Fetch a few pages over one connection."""
    rng = capture.rng
    connection = Tcp(capture, now, client, server, 80, 0.01 + rng.random() * 0.05)
    for path in ["/", "/style.css", "/news/index.html"][: rng.randrange(1, 4)]:
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: {BROWSER}\r\n"
            "Accept: text/html,application/xhtml+xml\r\nAccept-Language: en-GB,en;q=0.5\r\n"
            "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\r\n"
        )
        page = web_page(rng, name)
        head = (
            "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html; charset=utf-8\r\n"
            f"Content-Length: {len(page)}\r\nConnection: keep-alive\r\n\r\n"
        )
        connection.send(0, request.encode(), wait=rng.random())
        connection.send(1, head.encode() + page, wait=0.01)
    connection.close(wait=1.0)


def https(capture: Capture, now: float, client: Host, server: Host, name: str) -> None:
    """Browse: requests of some hundred bytes, answers of some kilobytes."""
    rng = capture.rng
    connection = open_tls(capture, now, client, server, name)
    for _ in range(rng.randrange(1, 6)):
        connection.send(0, record(23, rng.randbytes(rng.randrange(80, 600))), wait=rng.random() * 3)
        connection.send(1, record(23, rng.randbytes(rng.randrange(300, 5000))), wait=0.02)
    connection.close(wait=rng.random() * 5)


def chat(capture: Capture, now: float, client: Host, server: Host, name: str) -> None:
    """Exchange short messages over a long TLS connection."""
    rng = capture.rng
    connection = open_tls(capture, now, client, server, name)
    while connection.now < now + 260:
        connection.send(
            rng.randrange(2),
            record(23, rng.randbytes(rng.randrange(40, 220))),
            rng.expovariate(0.25),
        )
    connection.close()


def video(capture: Capture, now: float, client: Host, server: Host, name: str) -> None:
    """Fetch a segment of a film every four seconds for a little more than a minute."""
    rng = capture.rng
    connection = open_tls(capture, now, client, server, name)
    for _ in range(16):
        connection.send(0, record(23, rng.randbytes(rng.randrange(300, 420))), wait=4.2)
        connection.send(1, record(23, rng.randbytes(rng.randrange(6000, 11000))), wait=0.03)
    connection.close()


def lines(connection: Tcp, dialogue: str) -> None:
    """Send the lines of a text protocol: `S:` from the server, `C:` from the client."""
    for line in dialogue.strip().splitlines():
        sender, text = line.strip().split(":", 1)
        connection.send(int(sender == "S"), text.strip().encode() + b"\r\n", wait=0.02)


def smtp(capture: Capture, now: float, client: Host) -> None:
    """Hand in a message."""
    connection = Tcp(capture, now, client, MAIL, 25, 0.004)
    lines(
        connection,
        """S: 220 mail.example.org ESMTP
        C: EHLO desk.example.org
        S: 250-mail.example.org
        C: MAIL FROM:<alice@example.org>
        S: 250 2.1.0 Ok
        C: RCPT TO:<bob@example.org>
        S: 250 2.1.5 Ok
        C: DATA
        S: 354 End data with <CR><LF>.<CR><LF>""",
    )
    text = web_page(capture.rng, "Minutes").decode()[:1800]
    connection.send(0, f"Subject: Minutes\r\n\r\n{text}\r\n.\r\n".encode(), wait=0.05)
    lines(connection, "S: 250 2.0.0 Ok: queued\nC: QUIT\nS: 221 2.0.0 Bye")
    connection.close()


def imap(capture: Capture, now: float, client: Host) -> None:
    """Look for new mail."""
    connection = Tcp(capture, now, client, MAIL, 143, 0.004)
    lines(
        connection,
        """S: * OK [CAPABILITY IMAP4rev1 IDLE] ready.
        C: a1 LOGIN alice secret
        S: a1 OK Logged in
        C: a2 SELECT INBOX
        S: * 17 EXISTS
        S: a2 OK [READ-WRITE] Select completed.
        C: a3 LOGOUT
        S: * BYE Logging out""",
    )
    connection.close()


def ssh(capture: Capture, now: float, client: Host) -> None:
    """Work in a shell: banners, key exchange, then key strokes and their echoes."""
    rng = capture.rng
    connection = Tcp(capture, now, client, SHELL, 22, 0.004)
    connection.send(0, b"SSH-2.0-OpenSSH_9.7\r\n")
    connection.send(1, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    names = (
        b"curve25519-sha256,ecdh-sha2-nistp256", b"ssh-ed25519,rsa-sha2-512",
        *[b"aes128-ctr,aes256-ctr"] * 2, *[b"hmac-sha2-256"] * 2, *[b"none"] * 2, b"", b"",
    )  # fmt: skip
    lists = b"".join(struct.pack("!I", len(name)) + name for name in names)

    def string(length: int) -> bytes:
        return struct.pack("!I", length) + rng.randbytes(length)

    offer = [(sender, 20, rng.randbytes(16) + lists + bytes(5)) for sender in (0, 1)]
    agree = [
        (0, 30, string(32)),
        (1, 31, string(51) + string(32) + string(83)),
        (1, 21, b""),
        (0, 21, b""),
    ]
    for sender, message, body in offer + agree:
        padding = 16 - (len(body) + 6) % 8
        head = struct.pack("!IBB", len(body) + 2 + padding, padding, message)
        connection.send(sender, head + body + bytes(padding))
    for _ in range(rng.randrange(30, 60)):
        connection.send(0, rng.randbytes(36), wait=rng.expovariate(3))
        connection.send(1, rng.randbytes(rng.choice((36, 36, 44, 180))))
    connection.close()


def call(capture: Capture, now: float, client: Host) -> None:
    """Telephone for 75 s: RTP both ways, a packet every 20 ms from each side (G.711)."""
    rng = capture.rng
    port, peer = 16384 + 2 * rng.randrange(4000), 16384 + 2 * rng.randrange(4000)
    ssrc = rng.randbytes(4)
    for number in range(75 * 50):
        rtp = struct.pack("!BBHI", 0x80, 0, number, number * 160) + ssrc
        at = now + number * 0.02
        if number % 8 == 0:  # comfort noise most of the time: keeps the file small
            capture.udp(at + rng.random() * 0.002, client, port, PHONE, peer, rtp + b"\xd5" * 160)
            capture.udp(at + rng.random() * 0.004, PHONE, peer, client, port, rtp + b"\xd5" * 160)


def quic(capture: Capture, now: float, client: Host, server: Host) -> None:
    """Browse over QUIC: padded initial packets, then short-header packets."""
    rng = capture.rng
    port, ident = rng.randrange(49152, 65535), rng.randbytes(8)
    initial = b"\xc3\0\0\0\x01\x08" + ident + b"\0\0\x44\xd0"
    capture.udp(now, client, port, server, 443, initial + rng.randbytes(1252 - len(initial)))
    reply = b"\xc1\0\0\0\x01\0\x08" + ident + b"\0\x44\xd0"
    for step in (0.02, 0.0202):
        capture.udp(now + step, server, 443, client, port, reply + rng.randbytes(1230))
    at = now + 0.03
    for _ in range(rng.randrange(3, 12)):
        at += rng.expovariate(8)
        capture.udp(
            at, client, port, server, 443, b"\x4f" + ident + rng.randbytes(rng.randrange(24, 90))
        )
        for step in range(rng.randrange(1, 4)):
            capture.udp(
                at + 0.02 + step * 0.0003, server, 443, client, port, b"\x51" + rng.randbytes(1200)
            )


def beacon(capture: Capture, now: float) -> None:
    """Report to the controller and fetch the next order, as the Hancitor trojan is known to."""
    rng = capture.rng
    connection = Tcp(capture, now, INFECTED, CONTROLLER, 80, 0.08)
    body = base64.b64encode(rng.randbytes(rng.randrange(90, 150)))
    request = (
        "POST /ls5/forum.php HTTP/1.1\r\nAccept: */*\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        "Host: 203.0.113.77\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-cache\r\n\r\n"
    )
    connection.send(0, request.encode() + body)
    order = rng.randbytes(rng.randrange(16, 60))
    head = f"HTTP/1.1 200 OK\r\nServer: nginx/1.2.1\r\nContent-Length: {len(order)}\r\n\r\n"
    connection.send(1, head.encode() + order, wait=0.05)
    connection.close()


def ordinary(capture: Capture, now: Callable[[], float]) -> None:
    """Add what an office does."""
    rng = capture.rng
    for pool, sites, count in ((CLIENTS, SITES, 55), (CLIENTS6, SITES6, 20)):
        for _ in range(count):
            client, (server, name), at = rng.choice(pool), rng.choice(sites), now()
            dns(capture, at - 0.05, rng.choice(CLIENTS), name, server)
            rng.choice((http, https, https))(capture, at, client, server, name)
    for _ in range(14):
        quic(capture, now(), rng.choice(CLIENTS), rng.choice(SITES)[0])
        ntp(capture, now(), rng.choice(CLIENTS))
    for client in OFFICE:
        smtp(capture, now(), client)
        imap(capture, now(), client)
    for client in OFFICE[:4]:
        ssh(capture, now(), client)
        capture.ping(now(), client, SHELL, 5, 0.001)
    for number, (server, name) in enumerate(SITES[:3]):
        chat(capture, START + 20 + 9 * number, CLIENTS[number], server, name)
        video(capture, START + 30 + 11 * number, CLIENTS[-number - 1], server, name)
    call(capture, START + 40, OFFICE[0])


def main(path: Path) -> None:
    """Write the sample."""
    capture = Capture(random.Random(20260921))  # noqa: S311 - reproducible, not secret
    ordinary(capture, lambda: START + 5 + capture.rng.random() * (LENGTH - 60))
    for step in range(19):
        beacon(capture, START + 12 + step * 30 + capture.rng.random() * 0.4)
    capture.write(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("demo.pcap"))
