"""Conversations of every kind that a capture can hold, to be written into one.

Each is a list of times in seconds and Ethernet frames. They do not share ports, or addresses where
there are no ports, so that all of them can go into one capture.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import TypeAlias

from tests.unit.capture.frames import (
    A4,
    A6,
    B4,
    B6,
    GRE,
    ICMP,
    ICMPV6,
    IP4,
    IP6,
    IPIP,
    IPV6,
    MPLS,
    PPPOE,
    UDP,
    VLAN,
    ethernet,
    extension,
    fragments4,
    fragments6,
    geneve,
    gre,
    gtp,
    icmp,
    ipv4,
    ipv6,
    mpls,
    pppoe,
    tcp,
    teredo,
    udp,
    vlan,
    vxlan,
)

Timed: TypeAlias = list[tuple[float, bytes]]
Packet: TypeAlias = Callable[[int], bytes]

START_S = 1_700_000_000
SYN, ACK, PSH, FIN, RST = 2, 16, 8, 1, 4

_ports = count(40000)


def write_pcap(
    path: Path, timed: Iterable[tuple[float, bytes]], link: int = 1, snaplen: int = 65535
) -> Path:
    """Write frames in the order given, of each no more than `snaplen` bytes."""
    with path.open("wb") as pcap:
        pcap.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link))
        for seconds, frame in timed:
            at = divmod(round((START_S + seconds) * 1e6), 10**6)
            pcap.write(struct.pack("<IIII", *at, min(len(frame), snaplen), len(frame)))
            pcap.write(frame[:snaplen])
    return path


def steps(packets: Iterable[bytes], begin: float = 0.0, every: float = 0.01) -> Timed:
    """Return packets at equal distances."""
    return [(begin + n * every, packet) for n, packet in enumerate(packets)]


def udp_talk(dport: int = 9000, count: int = 10) -> list[bytes]:
    """Return IPv4 datagrams, a question and two answers in turn."""
    sport = next(_ports)
    there = [udp(bytes(10 * n + 1), sport, dport) for n in range(count)]
    back = [udp(bytes(10 * n + 1), dport, sport) for n in range(count)]
    return [ipv4(back[n], UDP, B4, A4) if n % 3 else ipv4(there[n], UDP) for n in range(count)]


def udp_talk6(dport: int = 9000, count: int = 10, least: int = 1) -> list[bytes]:
    """Return IPv6 datagrams of `least` bytes and more."""
    sport = next(_ports)
    there = [udp(bytes(n + least), sport, dport) for n in range(count)]
    back = [udp(bytes(n + least), dport, sport) for n in range(count)]
    return [ipv6(back[n], UDP, B6, A6) if n % 2 else ipv6(there[n], UDP) for n in range(count)]


class TcpTalk:
    """Packets of one TCP connection, the sequence numbers right unless told."""

    def __init__(self, dport: int = 9443, sport: int | None = None, options: bytes = b"") -> None:
        self.ports = (next(_ports) if sport is None else sport, dport)
        self.options = options
        self.seq = [1000, 5000]
        self.packets: list[bytes] = []

    def send(
        self, side: int, flags: int = ACK, size: int = 0, *, back: int = 0, options: bytes = b""
    ) -> TcpTalk:
        """Add a packet; `back` is how many bytes of it have been sent before."""
        ports = self.ports if side == 0 else self.ports[::-1]
        seq = self.seq[side] - back
        segment = tcp(
            bytes(size), *ports, seq=seq, ack=self.seq[1 - side] if flags & ACK else 0,
            flags=flags, options=self.options + options,
        )  # fmt: skip
        ends = (A4, B4) if side == 0 else (B4, A4)
        self.packets.append(ipv4(segment, 6, *ends))
        self.seq[side] = max(self.seq[side], seq + size + bool(flags & (SYN | FIN)))
        return self

    def shake_hands(self) -> TcpTalk:
        mss = bytes.fromhex("020405b4")
        return self.send(0, SYN, options=mss).send(1, SYN | ACK, options=mss).send(0)

    def exchange(self, rounds: int = 4, size: int = 900) -> TcpTalk:
        for n in range(rounds):
            self.send(0, PSH | ACK, 10 + n).send(1, ACK, size).send(0)
        return self

    def close(self) -> TcpTalk:
        return self.send(0, FIN | ACK).send(1, FIN | ACK).send(0)


def in_ethernet(packets: Iterable[bytes]) -> list[bytes]:
    """Return IP packets in frames."""
    return [ethernet(packet, IP6 if packet[0] >> 4 == 6 else IP4) for packet in packets]


def tcp_talks() -> list[Timed]:
    """Return TCP as it should be, flipped, sent again, with gaps, and with ports used again."""
    stamps, sack = bytes.fromhex("0101080a") + bytes(8), bytes.fromhex("0101050a") + bytes(8)
    usual = TcpTalk().shake_hands().exchange().close()
    stamped = TcpTalk(options=stamps).shake_hands().exchange().close()
    flipped = TcpTalk().send(1, SYN | ACK).send(0).send(0, PSH | ACK, 40).exchange().close()
    unbegun = TcpTalk(dport=80).send(1, PSH | ACK, 500).send(0).exchange()
    again = TcpTalk().shake_hands().exchange()
    again.send(1, ACK, 900, back=900).send(0, options=sack).send(0, ACK, 77, options=sack)
    again.send(0, ACK, 1, back=1).send(1, ACK, 60).send(1, ACK, 60, back=60)
    gap = TcpTalk().shake_hands().exchange()
    gap.seq[1] += 4000
    gap.send(1, ACK, 900).send(0).exchange()
    reset = TcpTalk().shake_hands().exchange().send(1, RST)
    unanswered = [TcpTalk(sport=next(_ports)).send(0, SYN).packets * 5]
    reused = TcpTalk().shake_hands().exchange().close()
    reused.seq = [900_000, 800_000]
    reused.shake_hands().exchange().close()
    talks = [usual, stamped, flipped, unbegun, again, gap, reset, reused]
    return [steps(in_ethernet(packets)) for packets in [*(t.packets for t in talks), *unanswered]]


def long_talks() -> list[Timed]:
    """Return connections of several blocks, with more packets than are sampled, and too slow."""
    many = TcpTalk().shake_hands().exchange(800, 1400).close()
    some = TcpTalk().shake_hands().exchange(40)
    sparse = TcpTalk().shake_hands().exchange(3)
    return [
        steps(in_ethernet(many.packets), 1.0, 0.08),
        steps(in_ethernet(some.packets), 2.0, 2.9),
        steps(in_ethernet(sparse.packets), 3.0, 45.0),
        steps(in_ethernet(udp_talk(count=9)), 0.0, 50.0),
        # After a minute of silence it is another connection.
        steps(in_ethernet(udp_talk(count=12)), 0.0, 61.0)[:1],
        [(61.5 * (n // 6) + n, frame) for n, frame in enumerate(in_ethernet(udp_talk(count=18)))],
    ]


def links() -> list[Timed]:
    """Return what may lie between Ethernet and IP."""
    return [
        steps([ethernet(vlan(packet), VLAN) for packet in udp_talk()]),
        steps([ethernet(vlan(vlan(packet, vid=6), VLAN), 0x88A8) for packet in udp_talk()]),
        steps([ethernet(mpls(packet, 2), MPLS) for packet in udp_talk()]),
        steps([ethernet(vlan(pppoe(packet), PPPOE), VLAN) for packet in udp_talk()]),
        steps(in_ethernet(udp_talk6())),
        steps([ethernet(ipv4(p[20:], UDP, options=b"\1" * 8)) for p in udp_talk()[::3]]),
        steps([ethernet(_extended(packet), IP6) for packet in udp_talk6()[::2]]),
    ]


def _extended(packet: bytes) -> bytes:
    return ipv6(packet[40:], UDP, extensions=[(60, extension())])


def tunnels() -> list[Timed]:
    """Return connections in tunnels, some in two; tunnels in UDP are connections themselves."""
    ends = ("198.51.100.1", "198.51.100.2")

    def around(payload: bytes, port: int) -> bytes:
        return ipv4(udp(payload, 39000, port), UDP, *ends)

    ways: list[Callable[[bytes], bytes]] = [
        lambda packet: ipv4(gre(packet), GRE, *ends),
        lambda packet: ipv4(packet, IPIP, *ends),
        lambda packet: around(vxlan(ethernet(packet)), 4789),
        lambda packet: around(geneve(ethernet(packet), options=bytes(60)), 6081),
        lambda packet: around(gtp(packet), 2152),
        lambda packet: ipv4(gre(around(vxlan(ethernet(packet)), 4789)), GRE, *ends),
        lambda packet: around(vxlan(ethernet(ipv4(packet, IPIP, "10.9.9.1", "10.9.9.2"))), 4789),
    ]
    of_udp = [steps(in_ethernet(way(packet) for packet in udp_talk())) for way in ways]
    of_tcp = [
        steps(in_ethernet(way(p) for p in TcpTalk().shake_hands().exchange().close().packets))
        for way in ways
    ]
    six = [
        lambda packet: ipv4(packet, IPV6, *ends),
        lambda packet: around(teredo(packet), 3544),
    ]
    return of_udp + of_tcp + [steps(in_ethernet(map(way, udp_talk6()))) for way in six]


def others() -> list[Timed]:
    """Return ICMP, DNS that begins with the answer, time that goes back, and what is too long."""
    ping = [icmp(8 - 8 * (n % 2), payload=bytes(n)) for n in range(12)]
    ping6 = [icmp(128 + n % 2, payload=bytes(n)) for n in range(12)]
    dns = bytes.fromhex("0007 8180 0001 0000 0000 0000") + b"\1a\0\0\1\0\1"
    backwards = udp_talk()
    return [
        steps(in_ethernet(ipv4(p, ICMP, *_turns(n)) for n, p in enumerate(ping))),
        steps(in_ethernet(ipv6(p, ICMPV6, *_turns6(n)) for n, p in enumerate(ping6))),
        steps(in_ethernet(ipv4(icmp(3, 1, bytes(40)), ICMP, "10.0.0.7", B4) for _ in range(5))),
        steps(in_ethernet(ipv4(udp(dns, 53, 39001), UDP, B4, A4) for _ in range(5))),
        [(1.0 - n * 0.001, frame) for n, frame in enumerate(in_ethernet(backwards))],
        steps(in_ethernet(udp_talk6(least=65_518))),  # an IP length has 16 bits in a sample
    ]


def _turns(n: int) -> tuple[str, str]:
    return (B4, A4) if n % 2 else (A4, B4)


def _turns6(n: int) -> tuple[str, str]:
    return (B6, A6) if n % 2 else (A6, B6)


def fragmented() -> list[Timed]:
    """Return datagrams in fragments: in order, in disorder, and where only the first has come."""
    whole = [udp(bytes(1000 + n), next(_ports), 9000) for n in range(3)]
    times = range(5)
    four = [part for n in times for part in fragments4(whole[0], 400, ident=n)]
    disorder = [part for n in times for part in fragments4(whole[1], 400, ident=100 + n)[::-1]]
    six = [part for n in times for part in fragments6(whole[2], 400, ident=n)]
    alone = [fragments4(udp(bytes(900), 39002, 9000), 400, ident=200 + n)[0] for n in times]
    return [steps(in_ethernet(group)) for group in (four, disorder, six, alone)]


def bad_checksums() -> list[Timed]:
    """Return conversations of which every third packet has a wrong checksum."""
    talk = TcpTalk().shake_hands().exchange().close().packets
    ping = [ipv4(icmp(8, payload=bytes(n)), ICMP, "10.0.0.8", B4) for n in range(9)]
    spoiled = [(udp_talk(), -1), (talk, 36), (ping, 22), (udp_talk(), 10), (udp_talk6(), -1)]
    return [
        steps(in_ethernet(_spoil(p, at) if n % 3 == 1 else p for n, p in enumerate(packets)))
        for packets, at in spoiled
    ]


def _spoil(packet: bytes, at: int) -> bytes:
    changed = bytearray(packet)
    changed[at] ^= 0x55
    return bytes(changed)


def in_order(talks: Iterable[Timed]) -> Timed:
    """Return all packets in the order of their times, those of a connection in its own."""
    return sorted((timed for talk in talks for timed in talk), key=lambda timed: timed[0])
