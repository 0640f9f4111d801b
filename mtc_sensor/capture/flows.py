"""Flow assembly: decoded packets in, flow records out.

Connections
-----------
They begin and end where Zeek 8.2.2 begins and ends them. A connection is an unordered pair of
(address, port) and a protocol; ICMP has its type and its counterpart's type for ports, and without
a counterpart the direction belongs to the key. VLANs and tunnels do not.

- Its originator is the sender of its first packet, unless that packet comes from one of Zeek's
  `likely_server_ports` (UDP; TCP without a SYN or with a SYN-ACK) and goes to none. A connection
  that began with a SYN-ACK flips when data or an ACK follows, or when the SYN arrives late; one on
  a DNS port, when its first message is the originator's response to an address that is not
  multicast. A flip exchanges originator and responder and inverts the direction of all samples
  that are still held; records that are out stay as they are.
- A SYN with another sequence number, or any after a close, begins a new connection.
- It ends 5 s after a reset or the second FIN, 5 s after a SYN without an answer, and on inactivity:
  1 min for UDP, ICMP and TCP before the handshake is over, 5 min for TCP after it, 1 h for
  FTP, SSH, Telnet and rlogin (by the responder's port). On the UDP ports of DNS it is looked at
  every 10 s and ends after 9 s without a packet. What arrives later begins a new connection.
- Timers run by network time, the highest packet time so far; it never goes back. They take effect
  before the packet that passes them. Packets keep their own time: one from the past still starts or
  extends a connection in the past, as in Zeek.

Records
-------
- `Kind.EARLY`, once, when packet `head_packets` (8) arrives: these packets as samples and as heads.
  With `early_idle_s` also for fewer packets, but at least `min_packets`, after that much idle time.
- `Kind.BLOCK`: packets belong to the block ``floor((t - t_first) / block_s)``; when one of a later
  block arrives, the block before it is emitted. Times and offsets count from the block's own first
  packet. Blocks that pass before the connection has `min_packets` are kept and emitted with the
  packet that reaches it: a connection either reports all its blocks or none.
- `Kind.FINAL`, once, when the connection ends: the current block, and the heads if there was no
  early.
- A connection that ends with fewer than `min_packets` gives no record; a final always follows
  where an early is out.
- A record holds at most `max_samples`; what is beyond them is counted. Offsets of packets older
  than the record's first are 0.

Records leave in the order of the events that made them due, those due at one time in the order in
which their connections began. How the packets were cut into batches makes no difference.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture._assembly import NEVER, assemble, end_all
from mtc_sensor.capture._output import flow_batch, new_output
from mtc_sensor.capture._packets import LATEST_US, Packets, columns, no_packets
from mtc_sensor.capture._roles import server_port_table
from mtc_sensor.capture._table import CONNECTIONS, SETTINGS, STATE, new_table
from mtc_sensor.capture.packets import DecodedBatch, PacketBatch
from mtc_sensor.capture.words import WordTable
from mtc_sensor.flow import FlowBatch

_EVICTED_SHARE = 16

# Connections that hold more than this on average are too many as well.
_CHUNKS_PER_FLOW, _HEADS_PER_FLOW = 4, 8
_MIN_CHUNKS = 1 << 17


@dataclass(frozen=True)
class FlowSettings:
    """How flows are assembled; times in seconds, the timeouts are Zeek's defaults."""

    min_packets: int = 4
    """Connections with fewer packets give no record."""
    max_samples: int = 500
    """Samples per block or final record."""
    block_s: float = 60.0
    """Length of a block."""
    head_packets: int = 8
    """Packets of an early record."""
    head_bytes: int = 80
    """Bytes kept of each of them, from the IP header on; 0 for none."""
    tokens: bool = False
    """Whether records have token documents; looking for TLS hellos costs time."""
    early_idle_s: float = 0.0
    """Idle time after which an early record may have fewer packets; 0 for never."""
    max_flows: int = 500_000
    """Connections held; beyond it the least recently active sixteenth is ended."""
    tcp_timeout_s: float = 300.0
    """Zeek's tcp_inactivity_timeout."""
    udp_timeout_s: float = 60.0
    """Zeek's udp_inactivity_timeout, also for TCP before its handshake is over."""
    icmp_timeout_s: float = 60.0
    """Zeek's icmp_inactivity_timeout."""
    interactive_timeout_s: float = 3600.0
    """Zeek's Conn::port_inactivity_timeouts, for established TCP on ports 21, 22, 23 and 513."""

    def __post_init__(self) -> None:
        for name in ("min_packets", "max_samples", "max_flows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        for name in ("head_packets", "head_bytes", "early_idle_s"):
            if not 0 <= getattr(self, name) <= 1e9:
                raise ValueError(f"{name} is {getattr(self, name)}, must be within 0 and 1e9")
        for name in (*_TIMEOUTS, "block_s"):
            if not 1e-6 <= getattr(self, name) <= 1e9:
                raise ValueError(f"{name} is {getattr(self, name)}, must be within 1e-6 and 1e9")


_TIMEOUTS = ("tcp_timeout_s", "udp_timeout_s", "icmp_timeout_s", "interactive_timeout_s")


@dataclass(frozen=True)
class FlowCounts:
    """What a `FlowTable` has seen and what became of it."""

    packets: int
    """IP datagrams that belong to connections."""
    unsampled: int
    """Packets beyond a record's `max_samples`."""
    connections: int
    """Connections begun."""
    active: int
    """Connections held now."""
    below_min_packets: int
    """Connections that ended with too few packets for a record."""
    evicted: int
    """Connections ended because of `max_flows`, or of the samples and heads that go with it."""


class FlowTable:
    """Assembles packets into flow records; see the module for the rules.

    Memory is bounded by `FlowSettings.max_flows`: about 400 bytes for a connection of one packet,
    at most 1.4 kB a connection on average.
    """

    def __init__(self, settings: FlowSettings | None = None) -> None:
        self._settings = settings or FlowSettings()
        self._table = new_table(
            _new_state(self._settings), self._settings.head_bytes, server_port_table()
        )
        self._output = new_output(
            self._settings.min_packets,
            self._settings.max_samples,
            self._settings.head_packets,
            self._settings.head_bytes,
        )
        self._words = WordTable() if self._settings.tokens else None
        self._now = 0
        self._evicted = 0
        self._records: list[FlowBatch] = []

    def add(self, packets: PacketBatch, decoded: DecodedBatch) -> FlowBatch:
        """Take in a batch of packets; return the records that became due."""
        times = np.maximum.accumulate(np.clip(packets.ts_us, self._now, LATEST_US))
        rows = columns(packets, decoded, times)
        if self._words:
            self._words.collect(packets, decoded)
        self._now = max(self._now, int(times[-1]) if len(times) else 0)
        return self._run(rows, self._now)

    def advance(self, now_us: int) -> FlowBatch:
        """Let the time go on without a packet; return the records that became due."""
        self._now = min(max(self._now, now_us), LATEST_US)
        return self._run(no_packets(), self._now)

    def finish(self) -> FlowBatch:
        """End all connections, the next to time out first; return their records."""
        state = self._table.state[0]
        early_idle_us = int(state["early_idle_us"])
        state["early_idle_us"] = 0
        records = self._run(no_packets(), NEVER)
        state["early_idle_us"] = early_idle_us
        return records

    @property
    def counts(self) -> FlowCounts:
        """What has been seen so far."""
        totals = self._table.state[0]
        return FlowCounts(
            packets=int(totals["packets"]),
            unsampled=int(totals["unsampled"]),
            connections=int(totals["connections"]),
            active=self._active,
            below_min_packets=int(totals["below_min_packets"]),
            evicted=self._evicted,
        )

    @property
    def _active(self) -> int:
        return int(self._table.state[0]["used"][CONNECTIONS])

    def _run(self, packets: Packets, end_us: int) -> FlowBatch:
        state = self._table.state[0]
        done = 0
        while done <= len(packets.ts):
            done = assemble(self._table, self._output, packets, done, end_us)
            self._collect()
            while (state["used"] > state["limit"]).any():
                self._evict()
        parts, self._records = self._records, []
        records = FlowBatch.concat(parts or [FlowBatch.empty(self._settings.head_bytes)])
        return self._words.describe(records) if self._words else records

    def _collect(self) -> None:
        """Move what the kernel has written out of its way."""
        if self._output.used[0]:
            self._records.append(flow_batch(self._output))
            self._output.used[:] = 0

    def _evict(self) -> None:
        """End the least recently active connections, the older first where times are equal."""
        table, number = self._table, -(-self._active // _EVICTED_SHARE)
        slots = table.heap["slot"][: self._active]
        last, serial = table.connections["last"][slots], table.connections["serial"][slots]
        candidates = np.flatnonzero(last <= np.partition(last, number - 1)[number - 1])
        order = np.lexsort((serial[candidates], last[candidates]))[:number]
        chosen = slots[candidates[order]]
        done = 0
        while done < number:
            done = end_all(table, self._output, chosen, done)
            self._collect()
        self._evicted += number


def _new_state(settings: FlowSettings) -> NDArray[np.void]:
    state = np.zeros(1, STATE)
    for name in SETTINGS:
        state[name] = getattr(settings, name)
    state["block_us"] = round(settings.block_s * 1e6)
    state["early_idle_us"] = round(settings.early_idle_s * 1e6)
    state["limit"] = [
        settings.max_flows,
        max(_CHUNKS_PER_FLOW * settings.max_flows, _MIN_CHUNKS),
        min(settings.head_packets, _HEADS_PER_FLOW) * settings.max_flows,
    ]
    state["timeout_us"] = [round(getattr(settings, name) * 1e6) for name in _TIMEOUTS]
    state["secret"] = np.frombuffer(secrets.token_bytes(state["secret"].nbytes), np.int64)
    return state
