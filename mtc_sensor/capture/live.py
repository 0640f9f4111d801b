"""Packets from an interface: scapy opens the socket and hands over raw bytes, nothing more."""

from __future__ import annotations

import logging
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from mtc_sensor.capture.packets import PacketBatch
from mtc_sensor.errors import CaptureError

_MAX_PACKET = 65_535 + 64  # an IP datagram in any frame
_RECEIVE_BUFFER = 32 << 20
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_IGNORE_OUTGOING = 263, 6, 23
_ARPHRD_LOOPBACK = 772
# Linux' ARPHRD_* (if_arp.h) to the LINKTYPE_* of what a packet socket delivers for it.
_LINKS = {1: 1, _ARPHRD_LOOPBACK: 1, 65_534: 101, 768: 101, 769: 101, 776: 101, 778: 101}


class Interface:
    """A network interface as batches of packets.

    Iterating yields a `PacketBatch` whenever `batch_packets` have come or `tick_s` seconds have
    passed, an empty one if there were none: the caller's chance to let its timers fire. It never
    ends by itself. `dropped` is the kernel's count of packets that this process was too slow for.

    Raises `CaptureError` for a missing privilege, an unknown interface, one that carries no IP, a
    filter that does not compile, and when the interface goes away.
    """

    def __init__(
        self, name: str, bpf: str | None = None, batch_packets: int = 4096, tick_s: float = 0.25
    ) -> None:
        self.name = name
        self.dropped = 0
        self._batch_packets = batch_packets
        self._tick_s = tick_s
        self._listener = _listen(name, bpf)
        self._socket: socket.socket = self._listener.ins
        self._link = self._prepare()

    def __enter__(self) -> Interface:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def __iter__(self) -> Iterator[PacketBatch]:
        while True:
            yield self._collect()

    def _prepare(self) -> int:
        family = self._socket.getsockname()[3]
        if family not in _LINKS:
            self._listener.close()
            raise CaptureError(
                f"{self.name}: interface type {family} carries no Ethernet or IP frames; "
                f"choose one of: {_names()}"
            )
        if family == _ARPHRD_LOOPBACK:  # there every packet passes twice, going out and coming in
            self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.setblocking(False)
        return _LINKS[family]

    def _collect(self) -> PacketBatch:
        deadline = time.monotonic() + self._tick_s
        packets: list[bytes] = []
        times: list[float] = []
        while len(packets) < self._batch_packets and (wait := deadline - time.monotonic()) > 0:
            if select.select([self._socket], [], [], wait)[0]:
                self._drain(packets, times)
        self.dropped += self._kernel_drops()
        return _batch(packets, times, self._link)

    def _drain(self, packets: list[bytes], times: list[float]) -> None:
        """Take what the socket holds; the one loop per packet, because a socket has no other."""
        try:
            while len(packets) < self._batch_packets:
                _, packet, when = self._listener.recv_raw(_MAX_PACKET)
                packets.append(packet)
                times.append(when)
        except BlockingIOError:
            return
        except OSError as error:
            raise CaptureError(
                f"{self.name}: {error.strerror}; is the interface still there and up?"
            ) from error

    def _kernel_drops(self) -> int:
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        return int(struct.unpack("II", statistics)[1])  # reading resets it


def _batch(packets: list[bytes], times: list[float], link: int) -> PacketBatch:
    lengths = np.array([len(packet) for packet in packets], np.int64)
    ends = np.cumsum(lengths)
    return PacketBatch(
        data=np.frombuffer(b"".join(packets), np.uint8),
        offset=ends - lengths,
        caplen=lengths,
        wirelen=lengths,
        ts_us=(np.array(times, np.float64) * 1e6).astype(np.int64),
        link=np.full(len(packets), link, np.int32),
    )


def _names() -> str:
    return ", ".join(name for _, name in socket.if_nameindex())


def _listen(name: str, bpf: str | None) -> Any:
    if name not in [known for _, known in socket.if_nameindex()]:
        raise CaptureError(f"{name}: no such interface; choose one of: {_names()}")
    try:
        from scapy.arch.linux import L2ListenSocket  # noqa: PLC0415 - heavy, and an extra
        from scapy.error import Scapy_Exception  # noqa: PLC0415
    except ImportError as error:
        raise CaptureError(
            "capturing from an interface needs scapy: pip install 'mtc-sensor[live]'"
        ) from error
    # It warns that it has no dissector for the loopback's frames; nobody asked it to dissect.
    logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
    try:
        return L2ListenSocket(iface=name, filter=bpf)
    except PermissionError as error:
        raise CaptureError(
            f"{name}: not permitted to capture; run as root or grant CAP_NET_RAW, e.g. "
            'sudo setcap cap_net_raw+ep "$(readlink -f .venv/bin/python)"'
        ) from error
    except (Scapy_Exception, OSError) as error:
        remedy = "check the filter's syntax (man pcap-filter); filters need libpcap" if bpf else ""
        raise CaptureError(f"{name}: {error} (filter {bpf!r}); {remedy}".rstrip("; ")) from error
