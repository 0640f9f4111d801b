"""Flow assembly once more, in plain Python and without any care for speed.

Written from the rules of `mtc_sensor.capture.flows` and Zeek's source, with Zeek's own structure
(endpoint objects that trade places in a flip): something to compare the kernel with.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mtc_sensor.capture._roles import TCP_SERVER_PORTS, UDP_SERVER_PORTS
from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.flow import MAX_LENGTH, MAX_OFFSET_US, Kind
from tests.unit.capture.flow_packets import ACK, FIN, RST, SYN, Packet, Record, S

End = tuple[str, int]
HANDSHAKE = ("inactive", "syn_sent", "syn_ack_sent")


@dataclass(eq=False)
class Endpoint:
    state: str = "inactive"
    previous: str = "inactive"
    start_seq: int = 0
    did_close: bool = False


@dataclass(eq=False)
class Connection:
    serial: int
    proto: int
    settings: FlowSettings
    orig: End
    resp: End
    start: int
    last: int
    timeout_s: float
    orig_endpoint: Endpoint = field(default_factory=Endpoint)
    resp_endpoint: Endpoint = field(default_factory=Endpoint)
    history: str = ""
    attempt_until: int | None = None
    close_at: int | None = None
    linger: bool = False
    dns_check_at: int | None = None
    dns_first: bool = False
    early: bool = False
    packets: list[tuple[Packet, End]] = field(default_factory=list)
    blocks: list[list[tuple[Packet, End]]] = field(default_factory=list)
    emitted_blocks: int = 0
    index: int = -1

    def flip(self) -> None:
        if self.orig == self.resp:
            return
        self.orig, self.resp = self.resp, self.orig
        self.orig_endpoint, self.resp_endpoint = self.resp_endpoint, self.orig_endpoint

    def end_due(self) -> int:
        dues = [self.last + round(self.timeout_s * S)]
        if self.dns_check_at is not None:
            dues.append(self.dns_check_at)
        if self.close_at is not None:
            dues.append(self.close_at)
        else:
            attempt = self.orig_endpoint.state in ("syn_sent", "syn_ack_sent")
            attempt &= self.resp_endpoint.state == "inactive"
            if self.attempt_until is not None and attempt:
                dues.append(self.attempt_until)
            if self.linger:
                dues.append(self.last + 5 * S)
        return min(dues)

    def early_due(self) -> float:
        idle = self.settings.early_idle_s
        enough = self.settings.min_packets <= len(self.packets) < self.settings.head_packets
        return self.last + round(idle * S) if idle and enough and not self.early else float("inf")

    def record(self, kind: Kind, packets: list[tuple[Packet, End]], heads: bool) -> Record:
        start = packets[0][0].ts
        return Record(
            kind=kind,
            proto=self.proto,
            orig=self.orig,
            resp=self.resp,
            start=start,
            samples=[
                (
                    min(max(packet.ts - start, 0), MAX_OFFSET_US),
                    sender != self.orig,
                    min(packet.ip_len, MAX_LENGTH),
                    min(packet.payload, MAX_LENGTH),
                )
                for packet, sender in packets
            ],
            heads=[self.head(packet) for packet, _ in self.first_packets()] if heads else [],
        )

    def first_packets(self) -> list[tuple[Packet, End]]:
        return self.packets[: self.settings.head_packets]

    def head(self, packet: Packet) -> tuple[bytes, int]:
        kept = packet.captured[: self.settings.head_bytes]
        return kept, 20 if len(kept) > 20 else 0


class Reference:
    """Takes packets one by one; `out` is what it emitted, each with its connection's serial."""

    def __init__(self, settings: FlowSettings) -> None:
        self.settings = settings
        self.connections: dict[object, Connection] = {}
        self.out: list[tuple[int, Record]] = []
        self.now = 0
        self.begun = self.unsampled = self.below_min_packets = self.evicted = 0

    def advance(self, ts: int) -> None:
        self.now = max(self.now, ts)
        self._expire(self.now)

    def finish(self) -> None:
        self._expire(self.now)
        self._expire(float("inf"), final=True)

    def _expire(self, now: float, final: bool = False) -> None:
        while True:
            for c in self.connections.values():
                if c.dns_check_at is not None and c.dns_check_at <= now < c.last + 9 * S:
                    c.dns_check_at = int(now) + 10 * S
            events: list[tuple[float, int, int, object]] = []
            for key, c in self.connections.items():
                events.append((c.end_due(), c.serial, 1, key))
                if not final:
                    events.append((c.early_due(), c.serial, 0, key))
            due, _, what, key = min(events, key=lambda e: e[:3], default=(now, 0, 0, None))
            if key is None or due > now:
                return
            if what:
                self._end(key)
            else:
                self._early(self.connections[key])

    def add(self, packet: Packet) -> None:
        self.advance(packet.ts)
        if not packet.proto:
            return
        source, target = (packet.src, packet.sport), (packet.dst, packet.dport)
        ends = (source, target) if packet.one_way else frozenset((source, target))
        key = (packet.proto, ends)
        c = self.connections.get(key)
        if c and packet.proto == 6 and is_reuse(c, packet):
            self._end(key)
            c = None
        if c is None:
            c = self.connections[key] = self._create(packet, source, target)
        if packet.proto == 6:
            process(c, packet, source)
        else:
            c.last = max(c.last, packet.ts)
            if c.dns_first:
                first_dns_message(c, packet, source)
        self._sample(c, packet, source)
        if len(self.connections) > self.settings.max_flows:
            self._evict()

    def _evict(self) -> None:
        number = -(-len(self.connections) // 16)
        oldest = sorted(self.connections.items(), key=lambda kc: (kc[1].last, kc[1].serial))
        for key, _ in oldest[:number]:
            self._end(key)
        self.evicted += number

    def _create(self, packet: Packet, source: End, target: End) -> Connection:
        icmp = packet.proto in (1, 58)
        c = Connection(
            serial=self.begun,
            proto=packet.proto,
            settings=self.settings,
            orig=source,
            resp=target,
            start=packet.ts,
            last=packet.ts,
            timeout_s=self.settings.icmp_timeout_s if icmp else self.settings.udp_timeout_s,
        )
        self.begun += 1
        if wants_flip(packet) and packet.dst != "255.255.255.255":
            c.flip()
            c.history = "^"
        if packet.proto == 17 and c.resp[1] in (53, 137, 5353, 5355):
            c.dns_check_at = self.now + 10 * S
            c.dns_first = True
        return c

    def _sample(self, c: Connection, packet: Packet, source: End) -> None:
        index = (packet.ts - c.start) // round(self.settings.block_s * S)
        if not c.packets or index > c.index:
            c.index = index
            c.blocks.append([])
        c.packets.append((packet, source))
        if len(c.packets) >= self.settings.min_packets:
            self._past_blocks(c)
        if len(c.blocks[-1]) < self.settings.max_samples:
            c.blocks[-1].append((packet, source))
        else:
            self.unsampled += 1
        if len(c.packets) == self.settings.head_packets and not c.early:
            self._early(c)

    def _past_blocks(self, c: Connection) -> None:
        while c.emitted_blocks < len(c.blocks) - 1:
            block = c.blocks[c.emitted_blocks]
            self.out.append((c.serial, c.record(Kind.BLOCK, block, heads=False)))
            c.emitted_blocks += 1

    def _early(self, c: Connection) -> None:
        c.early = True
        self.out.append((c.serial, c.record(Kind.EARLY, c.first_packets(), heads=True)))

    def _end(self, key: object) -> None:
        c = self.connections.pop(key)
        if len(c.packets) < self.settings.min_packets and not c.early:
            self.below_min_packets += 1
            return
        self._past_blocks(c)
        self.out.append((c.serial, c.record(Kind.FINAL, c.blocks[-1], heads=not c.early)))


def first_dns_message(c: Connection, packet: Packet, source: End) -> None:
    message = packet.message
    if len(message) < 12:
        return
    if message[2] >> 3 & 15 in (0, 4, 5) or c.resp[1] == 137:
        c.dns_first = False
        multicast = packet.dst.startswith(("224.", "ff"))
        if message[2] & 0x80 and source == c.orig and not multicast:
            c.flip()


def wants_flip(packet: Packet) -> bool:
    if packet.proto == 17:
        return packet.sport in UDP_SERVER_PORTS and packet.dport not in UDP_SERVER_PORTS
    if packet.proto != 6 or (packet.flags & SYN and not packet.flags & ACK):
        return False
    if packet.sport in TCP_SERVER_PORTS and packet.dport in TCP_SERVER_PORTS:
        return not packet.flags & SYN and packet.sport < packet.dport
    return packet.sport in TCP_SERVER_PORTS


def is_reuse(c: Connection, packet: Packet) -> bool:
    orig, resp = c.orig_endpoint, c.resp_endpoint
    if not packet.flags & SYN:
        return False
    endpoint = orig
    if packet.flags & ACK:
        if orig.state != "inactive":
            return False
        endpoint = resp
    if orig.did_close or resp.did_close:
        return True
    if packet.seq == endpoint.start_seq:
        return False
    late_syn = orig.state == "syn_ack_sent" and resp.state == "inactive"
    late_syn &= not packet.flags & ACK and packet.seq == resp.start_seq
    return not late_syn


def process(c: Connection, packet: Packet, source: End) -> None:
    """TCPSessionAdapter::Process."""
    is_orig = source == c.orig
    endpoint, peer = c.orig_endpoint, c.resp_endpoint
    if not is_orig:
        endpoint, peer = peer, endpoint
    flags = packet.flags
    init_endpoint(endpoint, packet)
    update_history(c, packet, is_orig)
    if not (c.orig_endpoint.did_close and c.resp_endpoint.did_close):
        c.last = max(c.last, packet.ts)
    if flags & ACK and peer.state == "inactive":
        peer.start_seq = (packet.ack - 1) % 2**32
    if update_state(c, packet, endpoint, peer, is_orig):
        connection_closed(c, endpoint, peer)


def init_endpoint(endpoint: Endpoint, packet: Packet) -> None:
    syn = packet.flags & SYN
    if endpoint.state == "inactive":
        endpoint.start_seq = packet.seq if syn else (packet.seq - 1) % 2**32
        return
    reset_first = endpoint.state == "reset" and endpoint.previous == "inactive"
    if syn and (reset_first or endpoint.state not in ("closed", "reset")):
        endpoint.start_seq = packet.seq


def update_history(c: Connection, packet: Packet, is_orig: bool) -> None:
    flags = packet.flags
    bits = sum(bool(flags & bit) for bit in (SYN, FIN, RST))
    if bits == 0:
        if packet.payload or flags & ACK:
            if c.history == "H":
                c.flip()
            c.history += "x"
        return
    code = "x"
    if bits == 1 and flags & SYN:
        code = "H" if flags & ACK else "S"
        code = code if is_orig else code.lower()
    if code not in c.history:
        c.history += code


def set_state(c: Connection, endpoint: Endpoint, state: str) -> None:
    peer = c.resp_endpoint if endpoint is c.orig_endpoint else c.orig_endpoint
    if state == endpoint.state:
        return
    if state not in HANDSHAKE and endpoint.state in HANDSHAKE and peer.state in HANDSHAKE:
        c.timeout_s = c.settings.tcp_timeout_s
    endpoint.previous, endpoint.state = endpoint.state, state


def update_state(  # noqa: C901
    c: Connection, packet: Packet, endpoint: Endpoint, peer: Endpoint, is_orig: bool
) -> bool:
    flags = packet.flags
    state = endpoint.state
    do_close = False
    if state == "inactive":
        return update_inactive(c, packet, endpoint, peer, is_orig)
    if state in ("syn_sent", "syn_ack_sent"):
        if flags & FIN:
            set_state(c, endpoint, "closed")
            do_close = True
        if flags & RST:
            set_state(c, endpoint, "reset")
            do_close = True
    elif state in ("established", "partial"):
        if flags & SYN and state == "partial" and peer.state == "inactive" and not flags & ACK:
            set_state(c, endpoint, "syn_sent")
        if flags & FIN and not flags & RST:
            set_state(c, endpoint, "closed")
            if peer.state == "reset" and peer.previous == "closed":
                set_state(c, peer, "closed")
            do_close = True
        if flags & RST:
            set_state(c, endpoint, "reset")
            do_close = True
    elif state == "closed" and flags & RST and peer.state != "closed":
        set_state(c, endpoint, "reset")
        c.linger = True
        do_close = not endpoint.did_close
    return do_close


def update_inactive(  # noqa: C901
    c: Connection, packet: Packet, endpoint: Endpoint, peer: Endpoint, is_orig: bool
) -> bool:
    flags = packet.flags
    if flags & SYN and is_orig:
        set_state(c, endpoint, "syn_ack_sent" if flags & ACK else "syn_sent")
        c.attempt_until = packet.ts + 5 * S
    elif flags & SYN:
        if not flags & ACK and peer.state == "syn_ack_sent":
            c.flip()
            set_state(c, peer, "established")
        if peer.state == "syn_sent":
            set_state(c, peer, "established")
        set_state(c, endpoint, "established")
        if peer.state != "partial" and c.resp[1] in (21, 22, 23, 513):
            c.timeout_s = c.settings.interactive_timeout_s
    if flags & FIN:
        set_state(c, endpoint, "closed")
    if flags & RST:
        set_state(c, endpoint, "reset")
    if endpoint.state == "inactive":
        eccentric = not is_orig and not packet.payload and c.orig_endpoint.state == "syn_sent"
        if eccentric:
            pass
        elif flags & ACK and peer.state == "established":
            set_state(c, endpoint, "established")
        else:
            set_state(c, endpoint, "partial")
    return bool(flags & (FIN | RST))


def connection_closed(c: Connection, endpoint: Endpoint, peer: Endpoint) -> None:
    if endpoint.did_close:
        return
    endpoint.did_close = True
    if endpoint.state == "reset" or peer.did_close or peer.state == "inactive":
        c.close_at = c.last + 5 * S
