"""Token documents as numbers: how often which word occurs, and twelve statistics of the flow.

A model counts the words of its vocabulary and passes over all others, so a source that knows more
words (Zeek has certificates and protocol analysers, `capture` has hellos) changes nothing else.

The statistics are, of the record's first packets: mean and standard deviation of their IP lengths
(in 1500 bytes), mean and variance of the gaps between them (in seconds), their number, that number
again if they are UDP and if they are ICMPv6; and of its document how many words tell of an unknown
port, of IPv6, of DNS queries, of DNS answers and of TLS. Words of hidden prefixes are not counted.
They follow the malicious-traffic platform of iotsecty, which has them per pair of addresses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import njit
from mtc_sensor.features.spec import STATISTICS, TokensSpec
from mtc_sensor.flow import FlowBatch, unpack_samples

_OFFSET_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_SPACE, _COLON = 32, 58
_UDP, _ICMPV6 = 17, 58
_TOLD = (
    ("port:registered", "port:dynamic"),
    ("ip:6",),
    ("dns_query:",),
    ("dns_answers:",),
    ("tls_client:", "tls:"),
)
"""Words, or prefixes with their colon, that count for each statistic of the document."""

Floats = NDArray[np.float32]


def tokens(batch: FlowBatch, spec: TokensSpec) -> Floats:
    """Return (n, words + 12) float32: counts of the vocabulary's words, then the statistics."""
    found = np.zeros((len(batch), *spec.shape), np.float32)
    words = len(spec.vocabulary)
    found[:, :words] = _counts(batch, spec.vocabulary)
    if spec.statistics:
        found[:, words:] = _statistics(batch, spec)
    return found


def with_vocabulary(spec: TokensSpec, batch: FlowBatch) -> TokensSpec:
    """Return a spec whose vocabulary are the words that most records of a batch have.

    A word has to be in two records at least; of equally common ones the first by name is taken.
    """
    found = Counter(word for document in batch.documents() for word in set(document.split()))
    usable = [
        (-count, word)
        for word, count in found.items()
        if count > 1 and len(word) <= 160 and word.partition(":")[0] not in spec.hidden
    ]
    chosen = sorted(word for _, word in sorted(usable)[: spec.words])
    return spec.model_copy(update={"vocabulary": tuple(chosen)})


def _statistics(batch: FlowBatch, spec: TokensSpec) -> Floats:
    row = batch.sample_rows()
    at = np.arange(len(row)) - batch.sample_offsets[row]
    early = np.flatnonzero(at < spec.packets)
    row, at = row[early], at[early]
    taken = unpack_samples(batch.samples[early])
    later = at > 0
    gap = np.maximum(np.diff(taken.offset_us, prepend=0)[later], 0) / 1e6
    count = np.bincount(row, minlength=len(batch))
    length = _moments(row, taken.ip_len / 1500.0, len(batch))
    between = _moments(row[later], gap, len(batch))
    shown = [[w for w in words if w.partition(":")[0] not in spec.hidden] for words in _TOLD]
    told = [_counts(batch, words).sum(1) for words in shown]
    packets = [count, count * (batch.proto == _UDP), count * (batch.proto == _ICMPV6)]
    columns = [length[0], np.sqrt(length[1]), *between, *packets, *told]
    assert len(columns) == STATISTICS
    return np.column_stack(columns).astype(np.float32)


def _moments(
    row: NDArray[np.int64], values: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of each row's values, 0 without any."""
    number = np.maximum(np.bincount(row, minlength=count), 1)
    mean = np.bincount(row, values, count) / number
    return mean, np.bincount(row, (values - mean[row]) ** 2, count) / number


def _counts(batch: FlowBatch, words: Sequence[str]) -> Floats:
    """Return (n, words): how often a document has a word; ``prefix:`` stands for all such words."""
    counts = np.zeros((len(batch), len(words)), np.float32)
    if len(words):
        hashes = np.array([_hash(np.frombuffer(w.encode(), np.uint8)) for w in words], np.uint64)
        order = np.argsort(hashes)
        _count(counts, batch.tokens, batch.token_offsets, hashes[order], order)
    return counts


@njit
def _hash(text: NDArray[np.uint8]) -> np.uint64:
    """FNV-1a, 64 bits."""
    value = _OFFSET_BASIS
    for byte in text:
        value = (value ^ np.uint64(byte)) * _PRIME
    return value


@njit
def _count(
    counts: Floats,
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    order: NDArray[np.int64],
) -> None:
    for row in range(len(counts)):
        value, prefix = _OFFSET_BASIS, True
        for at in range(offsets[row], offsets[row + 1]):
            byte = text[at]
            if byte == _SPACE:
                _add(counts[row], value, hashes, order)
                value, prefix = _OFFSET_BASIS, True
                continue
            value = (value ^ np.uint64(byte)) * _PRIME
            if byte == _COLON and prefix:
                _add(counts[row], value, hashes, order)
                prefix = False
        _add(counts[row], value, hashes, order)


@njit
def _add(
    counts: Floats, value: np.uint64, hashes: NDArray[np.uint64], order: NDArray[np.int64]
) -> None:
    at = np.searchsorted(hashes, value)
    if at < len(hashes) and hashes[at] == value:
        counts[order[at]] += 1
