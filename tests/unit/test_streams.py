from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor import streams as module
from mtc_sensor.peer import ABSENT_S, HELLO_EVERY_S
from mtc_sensor.streams import BUDGET, Streams, Totals
from mtc_sensor.wire.events import (
    ExporterDrained,
    ExporterStatus,
    Grant,
    MtcEvent,
    Resend,
    SensorHello,
)
from mtc_sensor.wire.records import Records, StreamId
from tests.unit.wire.build import columns

TEMPLATE = columns(1)


def sample(*seqs: int, node: str = "zeek", run: str = "r1", shard: int = 0) -> Records:
    rows = TEMPLATE.take([0] * len(seqs))
    return replace(rows, stream=StreamId(run, node, shard), seq=np.array(seqs, np.uint64))


def status(first: int, last: int, shed: int = 0, node: str = "zeek", run: str = "r1") -> Any:
    return ExporterStatus(run, node, 0, first, last, shed)


def judge(streams: Streams, samples: list[Records]) -> None:
    for event in samples:
        streams.judged(event)


def grants(out: list[tuple[str, MtcEvent]]) -> dict[str, tuple[int, int]]:
    return {e.node: (e.acked, e.window) for _, e in out if isinstance(e, Grant)}


def resends(out: list[tuple[str, MtcEvent]]) -> list[tuple[int, int]]:
    return [(e.first, e.last) for _, e in out if isinstance(e, Resend)]


def hellos(out: list[tuple[str, MtcEvent]]) -> list[str]:
    return [topic for topic, e in out if isinstance(e, SensorHello)]


def one_exporter() -> Streams:
    streams = Streams("s1", [0])
    streams.status(status(1, 0), 0.0)
    assert grants(streams.poll(0.0)) == {"zeek": (0, BUDGET)}
    return streams


def test_hello_is_said_when_connected_and_until_somebody_answers() -> None:
    streams = Streams("s1", [0, 2])
    assert streams.poll(0.0) == []
    streams.connected(0.0)
    (topic, event), *rest = streams.poll(0.0)
    assert (topic, rest) == ("/zeek/mtc/exporters/", [])
    assert isinstance(event, SensorHello)
    assert (event.sensor, event.shards.tolist()) == ("s1", [0, 2])
    assert streams.poll(0.4) == []
    assert hellos(streams.poll(0.5)) == ["/zeek/mtc/exporters/"]
    streams.status(status(1, 0), 3.0)
    streams.poll(4.0)
    assert hellos(streams.poll(10.0)) == []


def test_hello_is_not_repeated_once_a_known_exporter_has_answered() -> None:
    streams = one_exporter()
    streams.connected(1.0)
    assert hellos(streams.poll(1.0)) == ["/zeek/mtc/exporters/"]
    streams.status(status(1, 0), 1.1)
    assert hellos(streams.poll(9.0)) == []


def test_hello_goes_to_the_exporter_that_appeared() -> None:
    streams = one_exporter()
    streams.moved("worker-1", here=True)
    assert hellos(streams.poll(0.1)) == ["/zeek/mtc/exporter/worker-1/"]
    assert hellos(streams.poll(0.2)) == []


def test_hello_is_repeated_to_an_exporter_whose_answer_did_not_arrive() -> None:
    streams = Streams("s1", [0])
    for node in ("worker-1", "worker-2"):
        streams.moved(node, here=True)
    both = ["/zeek/mtc/exporter/worker-1/", "/zeek/mtc/exporter/worker-2/"]
    assert hellos(streams.poll(0.1)) == both
    assert hellos(streams.poll(HELLO_EVERY_S)) == []
    streams.status(status(1, 0, node="worker-1"), 1.0)
    assert hellos(streams.poll(1.2)) == both[1:]
    streams.moved("worker-2", here=False)
    assert hellos(streams.poll(9.0)) == []


def test_nothing_is_acked_to_an_exporter_that_has_gone() -> None:
    streams = one_exporter()
    streams.received(sample(1), 0.1)
    streams.moved("zeek", here=False)
    judge(streams, [sample(1)])
    assert grants(streams.poll(5.0)) == {}
    streams.status(status(1, 1), 5.1)
    assert grants(streams.poll(5.1)) == {"zeek": (0, BUDGET)}


def test_of_what_comes_together_only_the_new_is_judged() -> None:
    streams = one_exporter()
    both = sample(1, 2)
    assert streams.received(both, 0.1) is both
    new = streams.received(sample(2, 3, 1, 4), 0.2)
    assert new is not None
    assert new.seq.tolist() == [3, 4]
    assert streams.counts == {"duplicate": 2}
    streams.judged(both)
    streams.shed(new)
    assert grants(streams.poll(0.3)) == {"zeek": (4, BUDGET)}
    assert streams.totals == Totals(judged=2, shed=2, lost=0, in_flight=0)


def test_acks_follow_what_is_judged() -> None:
    streams = one_exporter()
    samples = [sample(1), sample(2), sample(3)]
    assert all(streams.received(s, 0.1) for s in samples)
    assert grants(streams.poll(0.1)) == {}
    judge(streams, samples[:2])
    assert grants(streams.poll(0.1)) == {"zeek": (2, BUDGET)}
    assert streams.totals == Totals(judged=2, shed=0, lost=0, in_flight=1)


def test_a_sample_whose_verdicts_could_not_be_sent_is_asked_for_again() -> None:
    streams = one_exporter()
    streams.received(sample(1), 0.1)
    streams.judged(sample(1), sent=False)
    out = streams.poll(0.1)
    assert (resends(out), grants(out)) == ([(1, 1)], {})
    assert streams.received(sample(1), 0.2)


def test_grants_are_repeated() -> None:
    streams = one_exporter()
    assert streams.poll(0.5) == []
    assert grants(streams.poll(1.0)) == {"zeek": (0, BUDGET)}


def test_every_status_is_answered() -> None:
    streams = one_exporter()
    streams.status(status(1, 0), 0.5)
    assert grants(streams.poll(0.5)) == {"zeek": (0, BUDGET)}


def test_a_stream_joined_in_its_middle_is_not_acked_before_the_exporter_says_where_it_stands() -> (
    None
):
    streams = Streams("s1", [0])
    assert streams.received(sample(5), 0.0)
    out = streams.poll(0.0)
    assert (hellos(out), grants(out)) == (["/zeek/mtc/exporter/zeek/"], {})
    assert hellos(streams.poll(0.4)) == []
    assert hellos(streams.poll(0.5)) == ["/zeek/mtc/exporter/zeek/"]
    streams.status(status(1, 5), 2.5)
    assert grants(streams.poll(2.5)) == {"zeek": (0, BUDGET)}
    assert resends(streams.poll(3.5)) == [(1, 4)]


def test_gaps_are_asked_for() -> None:
    streams = one_exporter()
    streams.received(sample(2), 0.1)
    assert resends(streams.poll(0.1)) == [(1, 1)]


def test_a_reconnect_makes_exporter_and_sensor_agree_again() -> None:
    streams = one_exporter()
    samples = [sample(1), sample(2)]
    for event in samples:
        streams.received(event, 0.1)
    judge(streams, samples)
    streams.connected(0.2)
    out = streams.poll(0.2)
    assert (hellos(out), grants(out)) == (["/zeek/mtc/exporters/"], {})
    streams.status(status(1, 2), 0.3)
    assert grants(streams.poll(0.3)) == {"zeek": (0, BUDGET)}
    assert [streams.received(event, 0.4) for event in samples] == samples
    judge(streams, samples)
    assert streams.totals == Totals(judged=2, shed=0, lost=0, in_flight=0)


def test_drained_is_answered_with_a_last_grant() -> None:
    streams = one_exporter()
    streams.received(sample(1), 0.1)
    streams.drained(ExporterDrained("r1", "zeek", 0, 1), 0.2)
    streams.poll(0.2)
    judge(streams, [sample(1)])
    assert grants(streams.poll(0.2)) == {"zeek": (1, 0)}
    assert streams.open == 0
    streams.drained(ExporterDrained("r1", "zeek", 0, 1), 0.3)  # the grant may have been lost
    assert grants(streams.poll(0.3)) == {"zeek": (1, 0)}


def test_a_new_run_takes_the_place_of_the_old_one() -> None:
    streams = one_exporter()
    streams.received(sample(1), 0.1)
    streams.received(sample(3), 0.1)
    streams.status(status(1, 0, run="r2"), 0.2)
    assert streams.open == 1
    assert streams.totals == Totals(judged=0, shed=0, lost=1, in_flight=2)
    judge(streams, [sample(1), sample(3)])
    streams.poll(0.3)
    assert streams.totals == Totals(judged=2, shed=0, lost=1, in_flight=0)


def test_what_a_silent_exporter_left_open_is_lost() -> None:
    streams = one_exporter()
    streams.status(status(1, 2), 0.1)
    streams.poll(0.1 + module.SILENT_S)
    assert streams.totals == Totals(judged=0, shed=0, lost=2, in_flight=0)
    assert streams.open == 0


def test_no_more_streams_than_there_is_room_for() -> None:
    streams = Streams("s1", [0])
    for i in range(module.MAX_STREAMS + 1):
        streams.status(status(1, 1, node=f"n{i}"), float(i) / 10)
    assert streams.counts == {"evicted_streams": 1}
    assert streams.open == module.MAX_STREAMS
    assert streams.totals == Totals(judged=0, shed=0, lost=1, in_flight=module.MAX_STREAMS)


def test_nodes_are_accounted_for_one_by_one() -> None:
    streams = Streams("s1", [0, 1])
    for shard in (0, 1):
        events = [sample(seq, node="w1", shard=shard) for seq in (1, 2)]
        assert all(streams.received(event, 0.1) for event in events)
        judge(streams, events[:1])
    streams.received(sample(1, node="w2"), 0.1)
    assert streams.by_node == {"w1": Totals(2, 0, 0, 2), "w2": Totals(0, 0, 0, 1)}
    streams.status(status(1, 0, node="w2", run="r2"), 0.2)
    streams.poll(0.2 + module.SILENT_S)
    judge(streams, [sample(1, node="w2")])
    streams.poll(0.3 + module.SILENT_S)
    assert streams.by_node["w2"] == Totals(1, 0, 0, 0)


def test_so_many_nodes_are_told_apart_and_no_more() -> None:
    streams = Streams("s1", [0])
    for i in range(2 * module.MAX_NODES):
        streams.status(status(1, 1, node=f"n{i}"), float(i) / 10)
    nodes = [f"n{i}" for i in range(module.MAX_NODES)]
    assert list(streams.by_node) == [*nodes, module.OTHER]
    assert streams.by_node["n0"] == Totals(0, 0, 1, 0)
    assert streams.by_node[module.OTHER] == Totals(0, 0, 0, module.MAX_STREAMS)
    assert sum(streams.by_node.values(), Totals()) == streams.totals


def test_draining_grants_no_more() -> None:
    streams = one_exporter()
    streams.drain()
    assert grants(streams.poll(0.1)) == {"zeek": (0, 0)}


def test_what_is_not_taken_is_counted_by_name() -> None:
    streams = one_exporter()
    assert not streams.received(sample(0), 0.1)
    assert not streams.received(sample(1, shard=1), 0.1)
    assert not streams.received(sample(10**6), 0.1)
    assert streams.received(sample(1), 0.1)
    assert not streams.received(sample(1), 0.1)
    streams.status(status(0, 2**64 - 1), 0.1)
    streams.status(status(1, 2**64 - 1), 0.1)
    streams.drained(ExporterDrained("r1", "zeek", 0, 2**64 - 1), 0.1)
    assert streams.counts == {
        "without_number": 1, "other_shard": 1, "beyond_window": 1, "duplicate": 1, "nonsense": 3,
    }  # fmt: skip
    assert streams.totals == Totals(judged=0, shed=0, lost=0, in_flight=1)


def test_numbers_at_the_end_of_the_range() -> None:
    streams = Streams("s1", [0])
    streams.status(status(2**64 - 1, 2**64 - 2), 0.0)
    assert grants(streams.poll(0.0)) == {"zeek": (2**64 - 2, 1)}
    assert streams.received(sample(2**64 - 1), 0.1)
    judge(streams, [sample(2**64 - 1)])
    assert grants(streams.poll(0.1)) == {"zeek": (2**64 - 1, 0)}


def test_a_window_in_use_is_not_given_to_another_exporter() -> None:
    streams = one_exporter()
    streams.status(status(1, 0, node="w2"), 0.1)
    assert grants(streams.poll(0.1)) == {"zeek": (0, BUDGET // 2), "w2": (0, 0)}
    assert grants(streams.poll(0.5)) == {}
    assert grants(streams.poll(1.2)) == {"zeek": (0, BUDGET // 2), "w2": (0, BUDGET // 2)}


class Exporter:
    """Goes as far as its last grant lets it, which may be one that was replaced since."""

    def __init__(self, node: str) -> None:
        self.node, self.acked, self.seq, self.limit = node, 0, 0, 0


NODES = ("w1", "w2", "w3")
ACTIONS = st.lists(st.tuples(st.sampled_from(NODES), st.integers(0, 900)), max_size=40)


def test_the_window_of_an_exporter_that_does_not_come_back_goes_to_another() -> None:
    streams = one_exporter()
    streams.received(sample(1), 0.1)
    streams.connected(1.0)
    streams.status(status(1, 0, node="worker-1"), 2.0)
    assert grants(streams.poll(2.0)) == {"worker-1": (0, 0)}
    assert grants(streams.poll(0.1 + ABSENT_S)) == {"worker-1": (0, BUDGET // 2)}


@given(ACTIONS)
def test_what_all_exporters_have_on_the_way_never_exceeds_the_budget(
    actions: list[tuple[str, int]],
) -> None:
    streams, now = Streams("s1", [0]), 0.0
    exporters = {node: Exporter(node) for node in NODES}
    waiting: dict[str, list[Records]] = {node: [] for node in NODES}
    for node, number in actions:
        now += 0.3
        exporter = exporters[node]
        publish = list(range(exporter.seq + 1, min(exporter.seq + number, exporter.limit) + 1))
        streams.status(status(exporter.acked + 1, exporter.seq, node=node), now)
        new = [sample(seq, node=node) for seq in publish]
        assert all(streams.received(event, now) for event in new)
        waiting[node] += new
        exporter.seq += len(publish)
        done, waiting[node] = waiting[node][: number // 2], waiting[node][number // 2 :]
        judge(streams, done)
        for granted, (acked, window) in grants(streams.poll(now)).items():
            exporters[granted].acked, exporters[granted].limit = acked, acked + window
        assert sum(e.limit - e.acked for e in exporters.values()) <= BUDGET
        assert sum(max(e.limit, e.seq) - e.acked for e in exporters.values()) <= BUDGET
        total = streams.totals
        assert total.judged + total.in_flight == sum(e.seq for e in exporters.values())
