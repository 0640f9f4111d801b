"""A record as an object, and the event that carries some.

Zeek's scripts send records, and here nobody works on them but as columns; whoever makes some up
makes these.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import WireError
from mtc_sensor.flow import unpack_samples
from mtc_sensor.wire._packets import PAYLOAD_AT, RESPONDER_AT
from mtc_sensor.wire.events import SampleBatch
from mtc_sensor.wire.values import Address, Port, check_counts, unmap_address


@dataclass(frozen=True, eq=False)
class Sample:
    """A record of a connection."""

    run: str
    node: str
    shard: int
    seq: int
    link: int
    """These are as in `SampleBatch`."""
    kind: int
    """A `Kind`."""
    uid: str
    orig_h: Address
    orig_p: Port
    resp_h: Address
    resp_p: Port
    start_us: int
    """When the first packet came, since the epoch; 0 if there is none. Less than 10^18."""
    samples: NDArray[np.uint64]
    """(n,) packed as `mtc_sensor.flow` says; payload is what a packet added to its connection's."""
    head: tuple[bytes, ...]
    """The first packets as captured, from the link layer on; not a single one that is empty."""
    tokens: str
    """TF document, separated by spaces."""


def batch_of(samples: Sequence[Sample]) -> SampleBatch:
    """Return the event that carries samples, at least one, numbered from the first's `seq` on.

    Raises WireError for samples that do not belong together. What is in a line is checked by
    whoever reads it.
    """
    first = _shared(samples[0], 0)
    for number, sample in enumerate(samples):
        if _shared(sample, number) != first:
            raise WireError(f"record {number} does not go with the first")
    return SampleBatch(*first, tuple([write(sample) for sample in samples]))


def _shared(sample: Sample, number: int) -> tuple[str, str, int, int, int]:
    """Return what a sample shares with the others of a batch, as the first has it."""
    return sample.run, sample.node, sample.shard, sample.seq - number, sample.link


def write(sample: Sample) -> bytes:
    """Return the line of a sample as Zeek writes it. Raises WireError for samples out of shape."""
    ends = ((sample.orig_h, sample.orig_p), (sample.resp_h, sample.resp_p))
    parts = [
        f"{unmap_address(host)}|{port.number}/{port.proto.name.lower()}" for host, port in ends
    ]
    heads = b",".join(map(b64encode, sample.head)).decode()
    packets = _packets(sample.samples, sample.start_us)
    line = f"{sample.kind}|{sample.uid}|{'|'.join(parts)}|{heads}|{packets}|{sample.tokens}"
    return line.encode(errors="surrogatepass")


def _packets(samples: NDArray[np.uint64], start_us: int) -> str:
    offset_us, from_responder, length, payload = unpack_samples(check_counts(samples))
    if offset_us[:1].any():
        raise WireError(f"a record begins {offset_us[0]} us after its first packet")
    added = length.astype(np.uint64) << (from_responder * RESPONDER_AT).astype(np.uint64)
    added += payload.astype(np.uint64) << np.uint64(PAYLOAD_AT)
    counters = np.concatenate([np.zeros(1, np.uint64), np.cumsum(added, dtype=np.uint64)])
    times = ",".join(
        [f"{us // 1_000_000}.{us % 1_000_000:06d}" for us in (offset_us + start_us).tolist()]
    )
    return f'{{"times":[{times}],"counters":[{",".join(map(str, counters.tolist()))}]}}'
