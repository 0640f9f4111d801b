"""What a running sensor says of itself, read from its ``/metrics`` twice: totals and rates.

The answer is untrusted: its size is bounded, and what is no metric is refused.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import TypeAlias
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from mtc_sensor.errors import StatusError

_TIMEOUT_S = 5.0
_MOST_BYTES = 8 << 20
_STATES = ("judged", "shed", "lost", "in_flight")
_P = "mtc_sensor_"

Labels: TypeAlias = frozenset[tuple[str, str]]
Scrape: TypeAlias = Mapping[str, Mapping[Labels, float]]
"""Values by metric and labels."""


@dataclass(frozen=True)
class Node:
    """What became of one exporter's samples."""

    node: str
    sampled: int
    judged: int
    shed: int
    lost: int
    in_flight: int
    sampled_per_s: float
    judged_per_s: float


@dataclass(frozen=True)
class Latency:
    """Median and 99th percentile in seconds; None without samples."""

    p50_s: float | None
    p99_s: float | None
    now_p50_s: float | None
    """Of the samples between the two readings."""
    now_p99_s: float | None


@dataclass(frozen=True)
class LoadedModel:
    """A model and its verdicts."""

    model: str
    version: str
    verdicts: dict[str, int]
    verdicts_per_s: float
    batch: float | None
    """Samples judged together, on average."""


@dataclass(frozen=True)
class Status:
    """What a person wants to know of a sensor."""

    url: str
    version: str
    connected: bool
    idle_s: float
    resident_bytes: int
    device_bytes: dict[str, int]
    seconds: float
    """Between the two readings."""
    nodes: list[Node]
    wait: Latency
    added: Latency
    models: list[LoadedModel]
    busy: dict[str, float]
    """Part of the time that a stage ran, between the two readings."""
    queues: dict[str, int]
    shed: dict[str, int]
    dropped: dict[str, int]


def read_status(
    url: str, interval_s: float = 2.0, sleep: Callable[[float], None] = time.sleep
) -> Status:
    """Read a sensor's metrics twice, `interval_s` apart.

    Raises StatusError, naming the address and the remedy, where there is no sensor.
    """
    first, begin = scrape(url), time.monotonic()
    sleep(interval_s)
    return make_status(url, first, scrape(url), max(time.monotonic() - begin, 1e-3))


def scrape(url: str) -> Scrape:
    """Read the metrics of the sensor at `url`, such as ``http://127.0.0.1:9464``."""
    return parse(url, _get(url))


def parse(url: str, text: str) -> Scrape:
    """Return the values in Prometheus's text format. Raises StatusError for other text."""
    found: dict[str, dict[Labels, float]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = frozenset((key, _shown(value)) for key, value in sample.labels.items())
                found.setdefault(sample.name, {})[labels] = float(sample.value)
    except Exception as fault:  # the parser trusts its input: any kind may come
        raise StatusError(f"{url}: no metrics: {fault}") from fault
    finite = all(math.isfinite(value) for values in found.values() for value in values.values())
    if _P + "idle_seconds" not in found or not finite:
        raise StatusError(f"{url}: whatever answers there is no mtc-sensor: give --url its address")
    return found


def make_status(url: str, before: Scrape, after: Scrape, seconds: float) -> Status:
    """Return what two readings, `seconds` apart, say."""
    rates = _Rates(before, after, seconds)
    return Status(
        url=url,
        version=next(iter(_by(after, "info", "version")), "?"),
        connected=bool(_total(after, "connected")),
        idle_s=_total(after, "idle_seconds"),
        resident_bytes=int(sum(after.get("process_resident_memory_bytes", {}).values())),
        device_bytes=_counts(_by(after, "device_memory_bytes", "device", kind="reserved")),
        seconds=seconds,
        nodes=[_node(name, after, rates) for name in sorted(_by(after, "sampled", "node"))],
        wait=_latency("wait_seconds", after, rates),
        added=_latency("added_seconds", after, rates),
        models=[_model(*labels, after, rates) for labels in _models(after)],
        busy=rates.by("stage_seconds_sum", "stage"),
        queues=_counts(_by(after, "queue_depth", "queue")),
        shed=_counts(_by(after, "shed_total", "reason")),
        dropped=_counts(_by(after, "dropped_total", "reason")),
    )


def quantile(q: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """Return a quantile of a histogram, as Prometheus's ``histogram_quantile`` does.

    Parameters
    ----------
    q
        Between 0 and 1.
    buckets
        Upper edges, ascending, the last infinite, and how many values are not above each.

    Returns
    -------
    float or None
        Between the edges of its bin linearly; the highest finite edge if it is above that; None
        without values.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank, low, below = q * buckets[-1][1], 0.0, 0.0
    for edge, upto in buckets:
        if upto >= rank and upto > below:
            return low if math.isinf(edge) else low + (edge - low) * (rank - below) / (upto - below)
        low, below = (low if math.isinf(edge) else edge), upto
    return low


@dataclass(frozen=True)
class _Rates:
    before: Scrape
    after: Scrape
    seconds: float

    def of(self, name: str, **labels: str) -> float:
        """Return a growth per second; a sensor that was started anew between has none."""
        grown = _total(self.after, name, **labels) - _total(self.before, name, **labels)
        return max(grown, 0.0) / self.seconds

    def by(self, name: str, label: str) -> dict[str, float]:
        return {value: self.of(name, **{label: value}) for value in _by(self.after, name, label)}


def _node(name: str, after: Scrape, rates: _Rates) -> Node:
    counts = {state: int(_total(after, "samples", node=name, state=state)) for state in _STATES}
    return Node(
        node=name,
        sampled=int(_total(after, "sampled", node=name)),
        judged=counts["judged"],
        shed=counts["shed"],
        lost=counts["lost"],
        in_flight=counts["in_flight"],
        sampled_per_s=rates.of("sampled", node=name),
        judged_per_s=rates.of("samples", node=name, state="judged"),
    )


def _latency(name: str, after: Scrape, rates: _Rates) -> Latency:
    buckets = _buckets(after, name)
    grown = dict(_buckets(rates.before, name))
    recent = [(edge, max(upto - grown.get(edge, 0.0), 0.0)) for edge, upto in buckets]
    return Latency(
        quantile(0.5, buckets),
        quantile(0.99, buckets),
        quantile(0.5, recent),
        quantile(0.99, recent),
    )


def _buckets(found: Scrape, name: str) -> list[tuple[float, float]]:
    edges = _by(found, name + "_bucket", "le")
    try:
        return sorted((float(edge), upto) for edge, upto in edges.items())
    except ValueError as fault:
        raise StatusError(f"{name}: a bucket without an edge: {fault}") from fault


def _models(found: Scrape) -> list[tuple[str, str]]:
    pairs = (dict(labels) for labels in found.get(_P + "model_info", {}))
    return sorted((pair.get("model", "?"), pair.get("version", "?")) for pair in pairs)


def _model(name: str, version: str, after: Scrape, rates: _Rates) -> LoadedModel:
    batches = _total(after, "batch_size_count", model=name)
    judged = _total(after, "batch_size_sum", model=name)
    return LoadedModel(
        name,
        version,
        _counts(_by(after, "verdicts_total", "label", model=name)),
        rates.of("verdicts_total", model=name),
        judged / batches if batches else None,
    )


def _by(found: Scrape, name: str, label: str, **labels: str) -> dict[str, float]:
    """Return values by one label, of those that have `labels`."""
    wanted = labels.items()
    series = [(dict(key), value) for key, value in found.get(_P + name, {}).items()]
    return {key.get(label, "?"): value for key, value in series if wanted <= key.items()}


def _total(found: Scrape, name: str, **labels: str) -> float:
    wanted = labels.items()
    series = found.get(_P + name, {}).items()
    return sum(value for key, value in series if wanted <= set(key))


def _counts(values: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in sorted(values.items())}


def _shown(text: str) -> str:
    """Return `text` without what a terminal might obey."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _get(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise StatusError(f"--url: {url}: give one like http://127.0.0.1:9464")
        connection = HTTPConnection(parts.hostname, parts.port or 80, timeout=_TIMEOUT_S)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
        connection.close()
    except (OSError, HTTPException, ValueError) as fault:
        raise StatusError(
            f"{url}: {fault}: is the sensor running, with a section metrics in its sensor.yaml?"
        ) from fault
    if answer.status != 200:
        raise StatusError(f"{url}: answers {answer.status} to /metrics: give --url its address")
    return body.decode(errors="replace")
