"""Write what the btests are made of. Needs nothing but Python."""

import struct
from pathlib import Path

A, B, C = "10.0.0.1", "10.0.0.2", "192.0.2.9"


def ip(src: str, dst: str, proto: int, body: bytes) -> bytes:
    ends = bytes(map(int, src.split("."))) + bytes(map(int, dst.split(".")))
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, proto, 0) + ends + body


def udp(src: str, sport: int, dst: str, dport: int, payload: bytes) -> bytes:
    return ip(src, dst, 17, struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload)


def tcp(
    src: str, sport: int, dst: str, dport: int, flags: int, seq: int, ack: int, n: int = 0,
    options: bytes = b"",
) -> bytes:  # fmt: skip
    words = 0x50 + len(options) // 4 * 16
    header = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, words, flags, 8192, 0, 0)
    return ip(src, dst, 6, header + options + bytes(n))


def ethernet(packet: bytes) -> bytes:
    return bytes.fromhex("020000000002020000000001") + b"\x08\x00" + packet


def vxlan(packet: bytes) -> bytes:
    return udp("198.51.100.1", 7000, "198.51.100.2", 4789, b"\x08" + bytes(7) + ethernet(packet))


def dialogue(sport: int, dport: int, packets: int) -> list[bytes]:
    ways = [(A, sport, B, dport), (B, dport, A, sport)]
    return [udp(*ways[n % 3 > 0], bytes(10 * n + 1)) for n in range(packets)]


def frames() -> list[tuple[float, bytes]]:
    out = []
    # Ten packets; three packets, too few; a long one of three blocks; one in a tunnel.
    out += [(0.0 + n * 0.010, p) for n, p in enumerate(dialogue(4000, 5000, 10))]
    out += [(0.1 + n * 0.010, p) for n, p in enumerate(dialogue(4001, 5000, 3))]
    out += [(0.2 + n * 7.0, p) for n, p in enumerate(dialogue(4002, 5000, 20))]
    out += [(0.3 + n * 0.010, vxlan(p)) for n, p in enumerate(dialogue(4003, 5001, 9))]
    # The SYN is missing and the SYN-ACK comes first: roles flip when data follows.
    handshake = [
        tcp(B, 9, C, 4004, 0x12, 100, 1),
        tcp(C, 4004, B, 9, 0x10, 1, 101),
        tcp(C, 4004, B, 9, 0x18, 1, 101, 30),
        tcp(B, 9, C, 4004, 0x18, 101, 31, 50),
        tcp(C, 4004, B, 9, 0x11, 31, 151),
        tcp(B, 9, C, 4004, 0x11, 151, 32),
        tcp(C, 4004, B, 9, 0x10, 32, 152),
    ]
    out += [(0.4 + n * 0.010, p) for n, p in enumerate(handshake)]
    return sorted(out)


def stream() -> list[tuple[float, bytes]]:
    """Return a TCP connection in which it is not plain what is payload."""
    there, back = (A, 4005, B, 80), (B, 80, A, 4005)
    sack = bytes.fromhex("0101050a") + bytes(8)
    packets = [
        tcp(*there, 0x02, 0, 0, options=bytes.fromhex("020405b401010402")),
        tcp(*back, 0x12, 0, 1, options=bytes.fromhex("020405b401010402")),
        tcp(*there, 0x18, 1, 1, 100),
        *(tcp(*back, 0x10, 1 + 1000 * n, 101, 1000) for n in range(5)),
        # One is missing: an ACK and data that say so, what was missing, what was not.
        tcp(*back, 0x10, 6001, 101, 1000),
        tcp(*there, 0x10, 101, 5001, options=sack),
        tcp(*there, 0x18, 101, 5001, 100, options=sack),
        tcp(*back, 0x10, 5001, 201, 1000),
        tcp(*back, 0x10, 5001, 201, 1000),
        tcp(*there, 0x10, 201, 7001),
        # A keep-alive, and a length that the network card was to fill in.
        tcp(*there, 0x10, 200, 7001, 1),
        tcp(*there, 0x18, 201, 7001, 3000),
    ]
    last = packets[-1]
    packets[-1] = last[:2] + bytes(2) + last[4:]
    return [(n * 0.010, packet) for n, packet in enumerate(packets)]


def every_byte() -> list[tuple[float, bytes]]:
    """Return a flow whose eight payloads together have each byte value once."""
    payloads = [bytes(range(32 * n, 32 * n + 32)) for n in range(8)]
    return [(n * 0.010, udp(A, 4007, B, 5000, payload)) for n, payload in enumerate(payloads)]


def write(name: str, timed: list[tuple[float, bytes]]) -> None:
    with Path(__file__).with_name(name).open("wb") as pcap:
        pcap.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for seconds, packet in timed:
            frame = ethernet(packet)
            micros = round(seconds * 1e6)
            time = (1_700_000_000 + micros // 10**6, micros % 10**6)
            pcap.write(struct.pack("<IIII", *time, len(frame), len(frame)) + frame)


if __name__ == "__main__":
    write("flows.pcap", frames())
    write("stream.pcap", stream())
    write("slow.pcap", [(n * 50.0, p) for n, p in enumerate(dialogue(4006, 5000, 5))])
    write("bytes.pcap", every_byte())
