"""From captured packets to the IP datagrams that connections in Zeek count: link layer to ports.

The layers lie in `link`, `network` (with `extensions` and `fragments`), `transport` and `tunnels`;
each takes all packets of a batch at once.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from mtc_sensor.capture.fragments import Reassembler
from mtc_sensor.capture.layers import Counts, Layer, take
from mtc_sensor.capture.link import KNOWN_LINKS, network_layer
from mtc_sensor.capture.network import Datagrams, parse_ip
from mtc_sensor.capture.packets import DecodedBatch, PacketBatch
from mtc_sensor.capture.transport import makes_connections, parse_transport
from mtc_sensor.capture.tunnels import MAX_DEPTH, in_ip, in_udp

__all__ = ["KNOWN_LINKS", "Decoder"]


class Decoder:
    """Decodes batches of one capture; between them it holds fragments of datagrams, bounded.

    Parameters
    ----------
    verify_checksums
        Drop datagrams with a wrong IPv4 header, TCP, UDP or ICMP checksum, as Zeek does without
        ``-C``. What was not captured whole cannot be checked and passes.

    Attributes
    ----------
    counts : dict of str to int
        What gave no row, by reason:

        - unknown_link, truncated_link, link_depth (too many tags), not_ip (ARP and others);
        - truncated_ip, unknown_ip_version, bad_ip_header, ip_beyond_frame (the IP length exceeds
          the frame), bad_ip_checksum, other_protocol (no TCP, UDP, ICMP or tunnel);
        - truncated_fragment, fragment_pending (it completed no datagram), bad_fragment,
          nested_fragment; fragment_timeout and fragment_overflow count datagrams, not fragments;
        - truncated_transport, bad_tcp_header, truncated_icmp, bad_checksum;
        - bad_tunnel, tunnel_depth (inside UDP, the outer row is there nevertheless).
    """

    def __init__(self, *, verify_checksums: bool = False) -> None:
        self.counts: Counts = Counts()
        self._verify = verify_checksums
        self._reassembler = Reassembler()

    def decode(self, batch: PacketBatch) -> DecodedBatch:
        """Decode a batch; its packets must follow those of the batches before."""
        batch = replace(batch, data=np.ascontiguousarray(batch.data))
        layer = network_layer(batch.data, batch, self.counts)
        return _in_packet_order(self._decode_ip(batch, layer, 0))

    def _decode_ip(
        self, batch: PacketBatch, layer: Layer, depth: int, *, whole: bool = False
    ) -> list[DecodedBatch]:
        """Decode IP packets inside `depth` tunnels; `whole` ones come out of the reassembler."""
        # Reassembly mends the header, not its checksum: that of each fragment has been checked.
        verify_header = self._verify and not whole
        ip, usable, fragments = parse_ip(batch.data, layer, self.counts, verify_header)
        direct = makes_connections(ip) & usable
        segments = parse_transport(batch, ip, direct, self.counts, self._verify)
        others = ip.take(usable & ~direct)
        inner = [in_udp(batch.data, segments, self.counts)]
        if len(others):
            inner.append(in_ip(batch.data, others, self.counts))
        rows = [segments.rows]
        if whole:
            self.counts.add("nested_fragment", len(fragments))
        elif len(fragments):
            rows += self._reassemble(batch, fragments, depth)
        return rows + self._decode_inner(batch, Layer.concat(inner), depth)

    def _decode_inner(self, batch: PacketBatch, layer: Layer, depth: int) -> list[DecodedBatch]:
        if depth == MAX_DEPTH:
            self.counts.add("tunnel_depth", len(layer))
            return []
        return self._decode_ip(batch, layer, depth + 1) if len(layer) else []

    def _reassemble(
        self, batch: PacketBatch, fragments: Datagrams, depth: int
    ) -> list[DecodedBatch]:
        """Decode the datagrams that `fragments` complete; their rows point at the last fragment."""
        packets, completing = self._reassembler.add(batch, fragments, self.counts)
        layer = network_layer(packets.data, packets, self.counts)
        parts = self._decode_ip(packets, layer, depth, whole=True)
        last = fragments.take(completing)
        captured = np.minimum(last.layer.captured, last.size)
        return [
            replace(
                rows,
                packet=last.layer.packet[rows.packet],
                ip_offset=last.layer.pos[rows.packet],
                ip_captured=captured[rows.packet],
                l4_offset=np.zeros_like(rows.l4_offset),
            )
            for rows in parts
        ]


def _in_packet_order(parts: list[DecodedBatch]) -> DecodedBatch:
    """Join rows and sort them by packet; `parts` go from the outside in."""
    if len(parts) == 1:
        return parts[0]
    columns = ([getattr(part, f.name) for part in parts] for f in fields(DecodedBatch))
    rows = DecodedBatch(*(np.concatenate(column) for column in columns))
    return take(rows, np.argsort(rows.packet, kind="stable"))
