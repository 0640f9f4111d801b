"""One scenario per rule of flow assembly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from mtc_sensor.capture.flows import FlowSettings, FlowTable
from mtc_sensor.flow import FlowBatch, Kind
from tests.unit.capture.flow_packets import (
    ACK,
    FIN,
    RST,
    SYN,
    Packet,
    Record,
    S,
    batch,
    records,
)

T0 = 1_700_000_000 * S
A, B = ("10.0.0.1", 40000), ("10.0.0.2", 50000)
SERVER = ("10.0.0.2", 443)
EARLY, BLOCK, FINAL = Kind.EARLY, Kind.BLOCK, Kind.FINAL
ALL = FlowSettings(min_packets=1, head_packets=0)


def host(number: int) -> tuple[str, int]:
    return f"10.1.{number >> 8}.{number & 255}", 40000


def packet(
    at_s: float,
    source: tuple[str, int],
    target: tuple[str, int],
    proto: int = 6,
    flags: int = ACK,
    seq: int = 1,
    ack: int = 1,
) -> Packet:
    ts = T0 + round(at_s * S)
    return Packet(ts, *source, *target, proto=proto, flags=flags, seq=seq, ack=ack)


def udp(at_s: float, source: tuple[str, int] = A, target: tuple[str, int] = B) -> Packet:
    return packet(at_s, source, target, proto=17, flags=0)


def flows(packets: Sequence[Packet], settings: FlowSettings = ALL) -> list[Record]:
    table = FlowTable(settings)
    return records(FlowBatch.concat([table.add(*batch(packets)), table.finish()]))


def starts(found: list[Record]) -> list[float]:
    return [(record.start - T0) / S for record in found]


def handshake(
    at_s: float = 0, client: tuple[str, int] = A, server: tuple[str, int] = SERVER
) -> list[Packet]:
    return [
        packet(at_s, client, server, flags=SYN, seq=100, ack=0),
        packet(at_s, server, client, flags=SYN | ACK, seq=500, ack=101),
        packet(at_s, client, server, flags=ACK, seq=101, ack=501),
    ]


class TestRecords:
    def test_eighth_packet_makes_an_early(self) -> None:
        table = FlowTable()
        found = records(table.add(*batch([udp(i) for i in range(8)])))
        assert [record.kind for record in found] == [EARLY]
        assert [sample[0] for sample in found[0].samples] == [i * S for i in range(8)]
        assert [head for head, _ in found[0].heads] == [udp(i).captured for i in range(8)]
        later = records(table.add(*batch([udp(8)])))
        assert later == []
        (final,) = records(table.finish())
        assert final.kind == FINAL
        assert len(final.samples) == 9
        assert final.heads == []

    def test_seven_packets_make_a_final_with_heads(self) -> None:
        (final,) = flows([udp(i) for i in range(7)], FlowSettings())
        assert final.kind == FINAL
        assert len(final.samples) == len(final.heads) == 7

    def test_three_packets_make_nothing(self) -> None:
        table = FlowTable()
        table.add(*batch([udp(i) for i in range(3)]))
        assert len(table.finish()) == 0
        assert table.counts.below_min_packets == 1

    def test_samples_hold_time_direction_and_lengths(self) -> None:
        there = replace(udp(0), ip_len=1500, payload=1472)
        back = replace(udp(0.25, B, A), ip_len=70000, payload=69972)
        (final,) = flows([there, back])
        assert final.samples == [(0, False, 1500, 1472), (S // 4, True, 65535, 65535)]

    def test_heads_are_cut_and_padded(self) -> None:
        whole = udp(0).captured
        (final,) = flows([udp(0)], FlowSettings(min_packets=1, head_bytes=8))
        assert final.heads == [(whole[:8], 0)]
        (final,) = flows([udp(5)], FlowSettings(min_packets=1, head_bytes=4000))
        assert final.heads == [(udp(5).captured, 20)]
        assert flows([udp(0)], FlowSettings(min_packets=1, head_bytes=0))[0].heads == [(b"", 0)]

    def test_a_later_block_ends_the_one_before(self) -> None:
        found = flows([udp(0), udp(59.9), udp(61), udp(119), udp(121)])
        assert [record.kind for record in found] == [BLOCK, BLOCK, FINAL]
        assert starts(found) == [0, 61, 121]
        assert [sample[0] for sample in found[1].samples] == [0, 58 * S]

    def test_blocks_before_min_packets_come_late_but_all(self) -> None:
        settings = FlowSettings(udp_timeout_s=100)
        table = FlowTable(settings)
        assert len(table.add(*batch([udp(0), udp(70), udp(140)]))) == 0
        found = records(table.add(*batch([udp(141)])))
        assert [record.kind for record in found] == [BLOCK, BLOCK]
        assert starts(found) == [0, 70]
        (final,) = records(table.finish())
        assert [sample[0] for sample in final.samples] == [0, S]

    def test_early_spans_blocks(self) -> None:
        found = flows([udp(10 * i) for i in range(8)], FlowSettings())
        assert [record.kind for record in found] == [BLOCK, EARLY, FINAL]
        assert [len(record.samples) for record in found] == [6, 8, 2]

    def test_packets_beyond_max_samples_are_counted(self) -> None:
        table = FlowTable(replace(ALL, max_samples=10))
        blocks = records(table.add(*batch([udp(i) for i in range(61)])))
        assert [len(record.samples) for record in blocks] == [10]
        assert [len(record.samples) for record in records(table.finish())] == [1]
        assert table.counts.unsampled == 50

    def test_early_for_an_idle_connection(self) -> None:
        table = FlowTable(FlowSettings(early_idle_s=5))
        table.add(*batch([udp(i) for i in range(4)]))
        assert len(table.advance(T0 + 8 * S - 1)) == 0
        (early,) = records(table.advance(T0 + 8 * S))
        assert (early.kind, len(early.samples), len(early.heads)) == (EARLY, 4, 4)
        assert len(table.add(*batch([udp(i) for i in range(9, 14)]))) == 0
        (final,) = records(table.finish())
        assert (final.kind, len(final.samples), final.heads) == (FINAL, 9, [])

    def test_uid_is_the_same_in_all_records_and_replays(self) -> None:
        packets = [udp(i) for i in range(70)]
        one, other = (FlowTable(), FlowTable())
        first = FlowBatch.concat([one.add(*batch(packets)), one.finish()])
        again = FlowBatch.concat([other.add(*batch(packets)), other.finish()])
        assert len(first) == 3
        assert len(set(first.uid.tolist())) == 1
        assert first.uid.tolist() == again.uid.tolist()


class TestRoles:
    @pytest.mark.parametrize(
        ("source", "target", "originator"),
        [
            (A, B, A),
            (("10.0.0.2", 53), A, A),
            (("10.0.0.2", 123), ("10.0.0.1", 53), ("10.0.0.2", 123)),
            (("10.0.0.2", 67), ("255.255.255.255", 68), ("10.0.0.2", 67)),
        ],
    )
    def test_udp(
        self, source: tuple[str, int], target: tuple[str, int], originator: tuple[str, int]
    ) -> None:
        assert flows([udp(0, source, target)])[0].orig == originator

    @pytest.mark.parametrize(
        ("source_port", "target_port", "flags", "flipped"),
        [
            (443, 40000, SYN, False),
            (443, 40000, SYN | ACK, True),
            (443, 40000, ACK, True),
            (80, 443, ACK, True),
            (443, 80, ACK, False),
            (80, 443, SYN | ACK, False),
            (5000, 40000, ACK, False),
        ],
    )
    def test_first_tcp_packet(
        self, source_port: int, target_port: int, flags: int, flipped: bool
    ) -> None:
        source, target = ("10.0.0.2", source_port), ("10.0.0.1", target_port)
        (final,) = flows([packet(0, source, target, flags=flags)])
        assert final.orig == (target if flipped else source)
        assert final.samples[0][1] is flipped

    def test_syn_ack_first_flips_with_the_ack(self) -> None:
        _, syn_ack, ack = handshake(0, A, B)
        (final,) = flows([syn_ack, ack])
        assert (final.orig, final.resp) == (A, B)
        assert [sample[1] for sample in final.samples] == [True, False]

    def test_a_scan_with_syn_acks_does_not_flip(self) -> None:
        _, syn_ack, ack = handshake(0, A, B)
        (final,) = flows([syn_ack, replace(ack, flags=RST), ack])
        assert final.orig == B

    def test_syn_after_its_syn_ack_flips(self) -> None:
        syn, syn_ack, ack = handshake(0, A, B)
        (final,) = flows([syn_ack, syn, ack])
        assert final.orig == A
        assert [sample[1] for sample in final.samples] == [True, False, False]

    def test_records_that_are_out_keep_their_roles(self) -> None:
        _, syn_ack, ack = handshake(0, A, B)
        table = FlowTable(FlowSettings(head_packets=1))
        out = FlowBatch.concat([table.add(*batch([syn_ack, ack])), table.finish()])
        early, final = records(out)
        assert (early.kind, early.orig, early.samples[0][1]) == (EARLY, B, False)
        assert (final.kind, final.orig, final.samples[0][1]) == (FINAL, A, True)
        assert out.uid[0] == out.uid[1]

    @pytest.mark.parametrize(
        ("target", "flags", "flipped"),
        [("10.0.0.2", 0x84, True), ("10.0.0.2", 0x04, False), ("224.0.0.251", 0x84, False)],
    )
    def test_dns_response_first(self, target: str, flags: int, flipped: bool) -> None:
        message = bytes([0, 0, flags]) + bytes(9)
        source = ("10.0.0.1", 5353)
        (final,) = flows([replace(udp(0, source, (target, 5353)), message=message)])
        assert final.orig == ((target, 5353) if flipped else source)

    def test_echo_is_one_connection_and_errors_are_not(self) -> None:
        a, b = "10.0.0.1", "10.0.0.2"
        echo = packet(0, (a, 8), (b, 0), proto=1, flags=0)
        reply = packet(1, (b, 0), (a, 8), proto=1, flags=0)
        assert [len(record.samples) for record in flows([echo, reply])] == [2]
        there = replace(packet(0, (a, 3), (b, 1), proto=1, flags=0), one_way=True)
        back = replace(packet(1, (b, 3), (a, 1), proto=1, flags=0), one_way=True)
        assert [len(record.samples) for record in flows([there, back, there])] == [2, 1]

    def test_protocols_and_families_are_kept_apart(self) -> None:
        six = Packet(T0, "2001:db8::1", 40000, "2001:db8::2", 50000, proto=17, flags=0)
        found = flows([udp(0), packet(0, A, B), six, replace(six, src="2001:db8::3")])
        assert [len(record.samples) for record in found] == [1, 1, 1, 1]


class TestEnds:
    def test_reset_ends_after_five_seconds(self) -> None:
        reset = packet(1, SERVER, A, flags=RST | ACK, seq=501)
        late = [packet(at, A, SERVER, seq=101) for at in (5.9, 6)]
        found = flows([*handshake(), reset, *late])
        assert [len(record.samples) for record in found] == [5, 1]

    def test_two_fins_end_after_five_seconds(self) -> None:
        fins = [packet(1, A, SERVER, flags=FIN | ACK), packet(2, SERVER, A, flags=FIN | ACK)]
        late = [packet(at, A, SERVER, seq=102) for at in (3, 6.9, 7)]
        found = flows([*handshake(), *fins, *late])
        assert [len(record.samples) for record in found] == [7, 1]

    def test_one_fin_does_not_end_it(self) -> None:
        fin, late = packet(1, A, SERVER, flags=FIN | ACK), packet(200, SERVER, A)
        found = flows([*handshake(), fin, late], replace(ALL, block_s=1000))
        assert [len(record.samples) for record in found] == [5]

    def test_reset_by_who_has_sent_a_fin_lingers(self) -> None:
        fin, reset = (packet(1, A, SERVER, flags=flags) for flags in (FIN | ACK, RST))
        data = [packet(at, SERVER, A) for at in (4, 8, 13)]
        found = flows([*handshake(), fin, reset, *data])
        assert [len(record.samples) for record in found] == [7, 1]

    def test_syn_after_the_end_begins_a_new_connection_at_once(self) -> None:
        fins = [packet(1, A, SERVER, flags=FIN | ACK), packet(1, SERVER, A, flags=FIN | ACK)]
        found = flows([*handshake(), *fins, *handshake(2)])
        assert [len(record.samples) for record in found] == [5, 3]
        assert starts(found) == [0, 2]

    def test_syn_with_another_number_begins_a_new_connection(self) -> None:
        again = replace(handshake(1)[0], seq=9000)
        assert [len(record.samples) for record in flows([*handshake(), again])] == [3, 1]
        assert [len(record.samples) for record in flows(handshake() + handshake(1)[:1])] == [4]

    def test_an_unanswered_syn_ends_after_five_seconds(self) -> None:
        syns = [packet(at, A, SERVER, flags=SYN, seq=100) for at in (0, 1, 3, 7)]
        assert [len(record.samples) for record in flows(syns)] == [3, 1]

    @pytest.mark.parametrize(
        ("packets", "timeout_s"),
        [
            ([udp(0)], 60),
            ([packet(0, ("10.0.0.1", 8), ("10.0.0.2", 0), proto=1, flags=0)], 60),
            (handshake(), 300),
            ([packet(0, A, B)], 300),
            (handshake(0, A, ("10.0.0.2", 22)), 3600),
            ([packet(0, A, ("10.0.0.2", 22))], 300),
            ([udp(0, A, ("10.0.0.2", 53))], 10),
        ],
    )
    def test_inactivity(self, packets: list[Packet], timeout_s: int) -> None:
        table = FlowTable(ALL)
        table.add(*batch(packets))
        assert len(table.advance(T0 + timeout_s * S - 1)) == 0
        assert len(table.advance(T0 + timeout_s * S)) == 1
        assert table.counts.active == 0

    def test_dns_is_looked_at_every_ten_seconds(self) -> None:
        resolver = ("10.0.0.2", 53)
        alive = [udp(at, A, resolver) for at in (0, 2, 10, 18)]
        found = flows([*alive, udp(19.9, A, resolver), udp(30, A, resolver)])
        assert [len(record.samples) for record in found] == [5, 1]

    def test_a_packet_of_nothing_moves_the_time(self) -> None:
        table = FlowTable(ALL)
        table.add(*batch([udp(0)]))
        assert len(table.add(*batch([replace(udp(60), proto=0)]))) == 1


class TestLimits:
    def test_least_recently_active_are_evicted(self) -> None:
        table = FlowTable(replace(ALL, max_flows=3))
        ports = [1, 2, 3, 1, 4]
        packets = [udp(i, ("10.0.0.1", port)) for i, port in enumerate(ports)]
        (evicted,) = records(table.add(*batch(packets)))
        assert evicted.orig == ("10.0.0.1", 2)
        assert (table.counts.evicted, table.counts.active) == (1, 3)

    def test_entries_are_used_again(self) -> None:
        table = FlowTable(replace(ALL, max_flows=100, head_packets=8))
        packets = [udp(i / 100, host(i)) for i in range(5_000)]
        found = records(table.add(*batch(packets))) + records(table.finish())
        assert [record.orig for record in found] == [host(i) for i in range(5_000)]
        assert [record.heads[0][0] for record in found] == [p.captured for p in packets]
        assert table.counts.evicted > 0

    def test_more_records_than_fit_at_once(self) -> None:
        table = FlowTable(ALL)
        assert len(table.add(*batch([udp(0, host(i)) for i in range(20_000)]))) == 0
        assert table.counts.active == 20_000
        ended = table.finish().orig_h[:, 14:].astype(int)
        assert (ended @ [256, 1]).tolist() == list(range(20_000))

    def test_a_long_record(self) -> None:
        settings = replace(ALL, max_samples=30_000)
        (final,) = flows([udp(i / 1000) for i in range(30_000)], settings)
        assert [sample[0] for sample in final.samples] == [1000 * i for i in range(30_000)]

    def test_time_jumps(self) -> None:
        times = np.array([T0, -(1 << 62), (1 << 63) - 1, 0], np.int64)
        packets = [replace(udp(0), ts=int(ts)) for ts in times]
        found = flows(packets, replace(ALL, udp_timeout_s=1e9, block_s=1e9))
        assert sum(len(record.samples) for record in found) == 4
        assert all(0 <= record.start <= 1 << 61 for record in found)

    def test_offset_of_an_older_packet_is_zero(self) -> None:
        (final,) = flows([udp(10), udp(9), udp(11)])
        assert [sample[0] for sample in final.samples] == [0, 0, S]
        assert final.start == T0 + 10 * S

    def test_no_packets(self) -> None:
        table = FlowTable()
        assert len(table.add(*batch([]))) == len(table.finish()) == 0
        assert table.finish().head.shape == (0, 80)

    def test_the_table_can_be_used_after_finish(self) -> None:
        table = FlowTable(ALL)
        for at in (0, 1):
            assert len(table.add(*batch([udp(at)]))) == 0
            assert len(table.finish()) == 1
        assert table.counts.connections == 2

    @pytest.mark.parametrize(
        "values",
        [
            {"min_packets": 0},
            {"head_bytes": -1},
            {"early_idle_s": 1e10},
            {"block_s": 0.0},
            {"max_flows": 0},
        ],
    )
    def test_settings_are_checked(self, values: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=f"{next(iter(values))} is "):
            FlowSettings(**values)  # type: ignore[arg-type]
