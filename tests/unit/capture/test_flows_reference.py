"""The kernel against the plain assembler, on random packets cut into random batches."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.capture.flows import FlowSettings, FlowTable
from mtc_sensor.flow import FlowBatch
from tests.unit.capture.flow_packets import ACK, FIN, RST, SYN, Packet, S, batch, records
from tests.unit.capture.flow_reference import Reference

START = 1_700_000_000 * S
STEPS_S = (
    0,
    0,
    0,
    1e-6,
    0.01,
    1,
    4,
    5,
    5.000001,
    6,
    9,
    10,
    30,
    59,
    60,
    61,
    299,
    300,
    301,
    3601,
    -1,
    -70,
)
FLAGS = (SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, RST, RST | ACK, FIN, SYN | FIN, FIN | RST, 0)
MESSAGES = (b"", bytes(12), b"12\x84" + bytes(9), b"12\x84" + bytes(8), b"12\x98" + bytes(9))

ends = st.tuples(
    st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1", "255.255.255.255", "224.0.0.251"]),
    st.sampled_from([22, 53, 137, 443, 40000, 40001]),
)


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    (src, sport), (dst, dport) = draw(ends), draw(ends)
    proto = draw(st.sampled_from([6, 6, 6, 6, 17, 1, 0]))
    one_way = proto == 1 and draw(st.booleans())
    if proto == 1:  # echo request, or network unreachable
        sport, dport = (3, 0) if one_way else (8, 0)
    return Packet(
        ts=round(draw(st.sampled_from(STEPS_S)) * S),
        src=src,
        dst=dst,
        sport=sport,
        dport=dport,
        proto=proto,
        flags=draw(st.sampled_from(FLAGS)) if proto == 6 else 0,
        seq=draw(st.sampled_from([0, 1, 2, 1000])),
        ack=draw(st.sampled_from([0, 1, 2, 1001])),
        payload=draw(st.sampled_from([0, 0, 100, 70000])),
        ip_len=draw(st.sampled_from([40, 140, 70040])),
        one_way=one_way,
        message=draw(st.sampled_from(MESSAGES)) if proto == 17 else b"",
    )


flow_settings = st.builds(
    FlowSettings,
    min_packets=st.integers(1, 5),
    max_samples=st.integers(1, 12),
    block_s=st.sampled_from([1.0, 60.0, 4000.0]),
    head_packets=st.sampled_from([0, 1, 3, 8]),
    head_bytes=st.sampled_from([0, 16, 80]),
    early_idle_s=st.sampled_from([0.0, 0.0, 5.0]),
    max_flows=st.sampled_from([1, 2, 20, 500]),
    tcp_timeout_s=st.sampled_from([300.0, 30.0]),
)


def at_times(steps: list[Packet]) -> list[Packet]:
    """Turn each packet's time from a step into a point."""
    times = accumulate((step.ts for step in steps), initial=START)
    return [
        Packet(**{**vars(step), "ts": ts}) for step, ts in zip(steps, list(times)[1:], strict=True)
    ]


def assemble(settings: FlowSettings, batches: list[list[Packet]]) -> tuple[FlowTable, FlowBatch]:
    table = FlowTable(settings)
    flows = [table.add(*batch(part)) for part in batches]
    return table, FlowBatch.concat([*flows, table.finish()])


@given(
    flow_settings,
    st.lists(packets(), min_size=1, max_size=60),
    st.lists(st.integers(0, 60), max_size=4),
    st.integers(1, 6),
)
def test_kernel_equals_reference(
    flow_settings: FlowSettings, steps: list[Packet], cuts: list[int], repeat: int
) -> None:
    capture = at_times([step for step in steps for _ in range(repeat)])
    reference = Reference(flow_settings)
    for packet in capture:
        reference.add(packet)
    reference.finish()
    bounds = [0, *sorted(cuts), len(capture)]
    parts = [capture[a:b] for a, b in pairwise(bounds)]
    table, flows = assemble(flow_settings, parts)

    assert records(flows) == [record for _, record in reference.out]
    serial_of = dict(zip(flows.uid.tolist(), (serial for serial, _ in reference.out), strict=True))
    assert len(set(serial_of.values())) == len(serial_of)
    assert [serial_of[uid] for uid in flows.uid.tolist()] == [s for s, _ in reference.out]
    assert table.counts.connections == reference.begun
    assert table.counts.unsampled == reference.unsampled
    assert table.counts.below_min_packets == reference.below_min_packets
    assert table.counts.evicted == reference.evicted
    assert table.counts.active == 0
    assert table.counts.packets == sum(packet.proto != 0 for packet in capture)


@given(st.lists(packets(), min_size=1, max_size=40), st.lists(st.integers(0, 400), max_size=40))
def test_time_without_packets(steps: list[Packet], waits_s: list[int]) -> None:
    idle = FlowSettings(min_packets=2, early_idle_s=5.0)
    table, reference = FlowTable(idle), Reference(idle)
    flows = []
    for step, wait_s in zip(steps, waits_s, strict=False):
        now = max(reference.now, START)
        packet = Packet(**{**vars(step), "ts": now + step.ts})
        flows += [table.add(*batch([packet, packet])), table.advance(now + wait_s * S)]
        reference.add(packet)
        reference.add(packet)
        reference.advance(now + wait_s * S)
    reference.finish()
    everything = FlowBatch.concat([*flows, table.finish()])
    assert records(everything) == [record for _, record in reference.out]
