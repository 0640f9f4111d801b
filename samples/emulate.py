"""Packets made by hand: hosts that exchange TCP, UDP and ICMP with believable headers and times.

Only what `make_sample.py` needs. Nothing here is recorded traffic, and nothing is ever sent.
"""

from __future__ import annotations

import ipaddress
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path

MSS = 1448
FIN, SYN, PSH, ACK = 1, 2, 8, 16


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of `data`."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True)
class Host:
    """One end of a conversation."""

    address: str
    vlan: int = 0
    ttl: int = 64
    windows: int = 0
    """TCP as this Windows speaks it (7, 10): without time stamps; 0 for Linux."""

    @property
    def raw(self) -> bytes:
        """The address in network order."""
        return ipaddress.ip_address(self.address).packed

    @property
    def mac(self) -> bytes:
        """A locally administered MAC address that follows from the address."""
        return b"\x02\x4d" + self.raw[-4:]


@dataclass
class Capture:
    """Packets in the making; written out in the order of their times."""

    rng: random.Random
    packets: list[tuple[float, bytes]] = field(default_factory=list)

    def ip(self, when: float, source: Host, target: Host, proto: int, transport: bytes) -> None:
        """Add one IP packet in its Ethernet frame, VLAN-tagged if the source is on a VLAN."""
        version6 = len(source.raw) == 16
        if version6:
            header = struct.pack("!IHBB", 0x60000000, len(transport), proto, source.ttl)
            packet = header + source.raw + target.raw + transport
        else:
            ident = self.rng.randrange(65536)
            header = struct.pack(
                "!BBHHHBBH4s4s", 0x45, 0, 20 + len(transport), ident, 0x4000, source.ttl, proto, 0,
                source.raw, target.raw,
            )  # fmt: skip
            header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
            packet = header + transport
        tag = struct.pack("!HH", 0x8100, source.vlan) if source.vlan else b""
        ethertype = b"\x86\xdd" if version6 else b"\x08\x00"
        frame = target.mac + source.mac + tag + ethertype + packet
        self.packets.append((when, frame.ljust(60, b"\0")))

    def transport(
        self, when: float, source: Host, target: Host, proto: int, segment: bytes, at: int
    ) -> None:
        """Fill in the checksum at offset `at` of a TCP or UDP segment and add the packet."""
        pseudo = source.raw + target.raw + struct.pack("!II", len(segment), proto)
        value = struct.pack("!H", checksum(pseudo + segment) or 0xFFFF)
        self.ip(when, source, target, proto, segment[:at] + value + segment[at + 2 :])

    def udp(
        self, when: float, source: Host, sport: int, target: Host, dport: int, payload: bytes
    ) -> None:
        """Add one UDP datagram."""
        header = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
        self.transport(when, source, target, 17, header + payload, 6)

    def ping(self, when: float, source: Host, target: Host, count: int, rtt: float) -> None:
        """Add `count` ICMP echo requests, a second apart, and their replies."""
        ident = self.rng.randrange(65536)
        for sequence in range(count):
            body = struct.pack("!HH", ident, sequence) + bytes(range(16, 64))
            for offset, ends, kind in ((0.0, (source, target), 8), (rtt, (target, source), 0)):
                header = struct.pack("!BBH", kind, 0, 0) + body
                message = header[:2] + struct.pack("!H", checksum(header)) + header[4:]
                self.ip(when + sequence + offset, *ends, 1, message)

    def write(self, path: Path) -> None:
        """Write a pcap file: little-endian, microseconds, Ethernet."""
        chunks = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)]
        for when, frame in sorted(self.packets, key=lambda packet: packet[0]):
            microseconds = round(when * 1e6)
            seconds, rest = divmod(microseconds, 1_000_000)
            chunks.append(struct.pack("<IIII", seconds, rest, len(frame), len(frame)) + frame)
        path.write_bytes(b"".join(chunks))


class Tcp:
    """A TCP connection between a client and a server; `now` moves on with every packet."""

    def __init__(
        self, capture: Capture, now: float, client: Host, server: Host, port: int, rtt: float = 0.03
    ) -> None:
        self.capture, self.now, self.rtt = capture, now, rtt
        rng = capture.rng
        self._ends = ((client, rng.randrange(49152, 65535)), (server, port))
        self._next = [rng.randrange(1 << 32), rng.randrange(1 << 32)]
        self._clock = rng.randrange(1 << 31)
        self._echo = not (client.windows or server.windows)
        self._segment(0, SYN, options=self._syn_options(scale=8, echoed=False))
        self.now += rtt
        self._segment(1, SYN | ACK, options=self._syn_options(scale=7, echoed=True))
        self.now += rtt * 0.02
        self._segment(0, ACK)

    def _syn_options(self, scale: int, echoed: bool) -> bytes:
        size, window = b"\x02\x04\x05\xb4", b"\x01\x03\x03" + bytes([scale])
        if not self._echo:
            return size + window + b"\x01\x01\x04\x02"
        return size + b"\x04\x02" + self._timestamp(echoed)[2:] + window

    def _timestamp(self, echoed: bool) -> bytes:
        ticks = (self._clock + int(self.now * 1000)) % (1 << 32)
        reply = (ticks - int(self.rtt * 1000)) % (1 << 32) if echoed else 0
        return b"\x01\x01\x08\x0a" + struct.pack("!II", ticks, reply)

    def _segment(self, sender: int, flags: int, payload: bytes = b"", options: bytes = b"") -> None:
        (source, sport), (target, dport) = self._ends[sender], self._ends[1 - sender]
        if not options and self._echo:
            options = self._timestamp(echoed=True)
        first, later = (8192, 256) if source.windows == 7 else (64240, 502)
        window = first if flags & SYN else later
        acknowledged = self._next[1 - sender] if flags & ACK else 0
        header = struct.pack(
            "!HHIIBBHHH", sport, dport, self._next[sender], acknowledged,
            (20 + len(options)) << 2, flags, window, 0, 0,
        )  # fmt: skip
        self.capture.transport(self.now, source, target, 6, header + options + payload, 16)
        length = len(payload) + (1 if flags & (SYN | FIN) else 0)
        self._next[sender] = (self._next[sender] + length) % (1 << 32)

    def send(self, sender: int, payload: bytes, wait: float = 0.0) -> None:
        """Send `payload` (sender 0: client, 1: server) after `wait` seconds, and acks."""
        self.now += wait + self.rtt * (0.45 + 0.1 * self.capture.rng.random())
        pieces = [payload[i : i + MSS] for i in range(0, len(payload), MSS)]
        for number, piece in enumerate(pieces, 1):
            last = number == len(pieces)
            self._segment(sender, ACK | (PSH if last else 0), piece)
            self.now += 0.0001 + len(piece) * 2e-7
            if number % 2 == 0 or last:
                self.now += self.rtt * 0.1
                self._segment(1 - sender, ACK)

    def close(self, wait: float = 0.0) -> None:
        """Close in both directions, the client first."""
        self.now += wait + self.rtt / 2
        self._segment(0, FIN | ACK)
        self.now += self.rtt
        self._segment(1, FIN | ACK)
        self.now += self.rtt / 2
        self._segment(0, ACK)
