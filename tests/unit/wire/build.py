"""Values and events for the tests of the wire, and a comparison that tells their types apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtc_sensor.flow import Kind
from mtc_sensor.wire import lines
from mtc_sensor.wire.events import SampleBatch
from mtc_sensor.wire.records import Records, StreamId
from mtc_sensor.wire.sample import Sample, batch_of
from mtc_sensor.wire.values import (
    MAX_COUNT,
    Address,
    EnumValue,
    Integer,
    Port,
    Proto,
    Set,
    Table,
    Timespan,
    Timestamp,
    Value,
    map_address,
    unmap_address,
    unmap_subnet,
    vector_items,
)


def canonical(value: Value) -> object:
    """Return a form whose equality is that of Broker: by type and content, vectors by elements."""
    items = vector_items(value)
    if items is not None:
        return ("vector", [canonical(item) for item in items])
    if isinstance(value, Set):
        return ("set", [canonical(item) for item in value.items])
    if isinstance(value, Table):
        return ("table", [(canonical(key), canonical(item)) for key, item in value.items])
    if isinstance(value, float):
        return ("real", np.float64(value).tobytes())
    return (type(value).__name__, value)


counts = st.integers(0, MAX_COUNT)
int64 = st.integers(-(1 << 63), (1 << 63) - 1)
addresses = st.one_of(
    st.builds(IPv4Address, st.integers(0, 2**32 - 1)),
    st.builds(lambda number: unmap_address(IPv6Address(number)), st.integers(0, 2**128 - 1)),
)
subnets = st.one_of(
    st.builds(
        lambda number, length: IPv4Network((number, length), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda number, length: unmap_subnet(IPv6Network((number, length), strict=False)),
        st.integers(0, 2**128 - 1),
        st.integers(0, 128),
    ),
)


def _scalars(
    strings: st.SearchStrategy[bytes], reals: st.SearchStrategy[float]
) -> st.SearchStrategy[Value]:
    return st.one_of(
        st.none(),
        st.booleans(),
        counts,
        st.builds(Integer, int64),
        reals,
        strings,
        addresses,
        subnets,
        st.builds(Port, st.integers(0, 65535), st.sampled_from(Proto)),
        st.builds(Timestamp, int64),
        st.builds(Timespan, int64),
        st.builds(EnumValue, st.text(st.characters(max_codepoint=127))),
    )


def _trees(scalars: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=5).map(tuple),
            st.lists(inner, max_size=5).map(lambda items: Set(tuple(items))),
            st.lists(st.tuples(inner, inner), max_size=4).map(lambda items: Table(tuple(items))),
            st.lists(counts, max_size=20).map(lambda numbers: np.array(numbers, np.uint64)),
        ),
        max_leaves=12,
    )


binary_values = _trees(_scalars(st.binary(max_size=300), st.floats()))
"""Anything that Broker knows."""
json_values = _trees(
    _scalars(
        st.text(max_size=300).map(str.encode),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)
"""Anything that JSON has a place for."""


def _packed(rng: np.random.Generator, packets: int) -> NDArray[np.uint64]:
    """Return any packed samples; a record's first is always at its start."""
    samples = rng.integers(0, MAX_COUNT, packets, np.uint64, endpoint=True)
    samples[:1] &= np.uint64(2**33 - 1)
    return samples


def sample(packets: int = 8, heads: int = 8, seq: int = 1) -> Sample:
    """Return a sample as an exporter would send it."""
    rng = np.random.default_rng(seq)
    return Sample(
        run="6f1c",
        node="worker-1",
        shard=0,
        seq=seq,
        kind=int(Kind.EARLY),
        uid="CHhAvVGS1DHFjwGM9",
        orig_h=IPv4Address("10.0.0.1"),
        orig_p=Port(49152, Proto.TCP),
        resp_h=IPv4Address("192.0.2.7"),
        resp_p=Port(443, Proto.TCP),
        start_us=1_700_000_000_123_456 if packets else 0,
        samples=_packed(rng, packets),
        link=1,
        head=tuple(rng.bytes(160) for _ in range(heads)),
        tokens="TLSv12 h2",
    )


def samples(count: int = 1, **shape: int) -> list[Sample]:
    """Return some samples of one stream, as an exporter would send them."""
    return [sample(seq=seq, **shape) for seq in range(1, count + 1)]


def batch(count: int = 1, **shape: int) -> SampleBatch:
    """Return an event with some samples."""
    return batch_of(samples(count, **shape))


def columns(*seqs: int) -> Records:
    """Return samples of one packet each, of one stream."""
    return records_of([replace(sample(packets=1, heads=0), seq=seq) for seq in seqs])


_PROTOCOLS = {
    (Proto.TCP, 4): 6,
    (Proto.TCP, 6): 6,
    (Proto.UDP, 4): 17,
    (Proto.UDP, 6): 17,
    (Proto.ICMP, 4): 1,
    (Proto.ICMP, 6): 58,
}


def records_of(some: Sequence[Sample]) -> Records:
    """Make columns of samples, at least one, of one stream; no line is written or read."""
    heads = [head for sample in some for head in sample.head]
    documents = [sample.tokens.encode() for sample in some]
    return Records(
        stream=StreamId(some[0].run, some[0].node, some[0].shard),
        seq=np.array([sample.seq for sample in some], np.uint64),
        link=np.array([sample.link for sample in some], np.int32),
        uid=np.array([sample.uid for sample in some], "S24"),
        kind=np.array([sample.kind for sample in some], np.uint8),
        proto=np.array([_PROTOCOLS[s.orig_p.proto, s.orig_h.version] for s in some], np.uint8),
        orig_h=_addresses([sample.orig_h for sample in some]),
        resp_h=_addresses([sample.resp_h for sample in some]),
        orig_p=np.array([sample.orig_p.number for sample in some], np.uint16),
        resp_p=np.array([sample.resp_p.number for sample in some], np.uint16),
        start_us=np.array([sample.start_us for sample in some], np.int64),
        samples=np.concatenate([sample.samples for sample in some]),
        sample_offsets=_offsets([len(sample.samples) for sample in some]),
        head=np.frombuffer(b"".join(heads), np.uint8),
        head_ends=_offsets(list(map(len, heads))),
        head_offsets=_offsets([len(sample.head) for sample in some]),
        tokens=np.frombuffer(b"".join(documents), np.uint8),
        token_offsets=_offsets(list(map(len, documents))),
    )


def _addresses(addresses: Sequence[Address]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(map(map_address, addresses)), np.uint8).reshape(-1, 16)


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.cumsum([0, *lengths], dtype=np.int64)


def line(**changed: bytes) -> bytes:
    """Return a line as Zeek's scripts write it, with some parts changed."""
    parts = {
        "kind": b"1", "uid": b"CHhAvVGS1DHFjwGM9",
        "orig_h": b"10.0.0.1", "orig_p": b"49152/tcp", "resp_h": b"192.0.2.7", "resp_p": b"443/tcp",
        "heads": b"AP9+,,QQ==", "packets": b'{"times":[1.5],"counters":[7,47]}', "tokens": b"a b",
    }  # fmt: skip
    assert changed.keys() <= parts.keys()
    return b"|".join({**parts, **changed}.values())


def read_lines(*some: bytes) -> Records:
    """Read lines of one stream from 1 on."""
    return lines.read(some, StreamId("6f1c", "worker-1", 0), 1, 1)


def assert_equal_records(ours: Records, theirs: Records) -> None:
    """Compare all columns, their types too."""
    assert ours.stream == theirs.stream
    for field in fields(Records)[1:]:
        one, other = getattr(ours, field.name), getattr(theirs, field.name)
        assert one.dtype == other.dtype, field.name
        np.testing.assert_array_equal(one, other, field.name)
