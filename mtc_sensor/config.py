"""`sensor.yaml`: its keys, their defaults, what is refused. `configs/sensor.full.yaml` has all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mtc_sensor._yaml import load_yaml
from mtc_sensor.errors import ConfigError

DEVICES = "auto|cpu|cuda(:[0-9]{1,3})?"
"""What a device may be called, as a pattern."""

Name = Annotated[str, Field(pattern=r"^[!-.0-~]{1,128}$")]
"""What an event takes for a name: graphic ASCII without a slash."""
Z85Key = Annotated[str, Field(pattern=r"^[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}$")]
Endpoint = Annotated[str, Field(pattern=r"^(tcp|ipc)://[!-~]+$")]
File = Annotated[Path, Field(strict=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CurveConfig(_Strict):
    """Keys of a cluster that uses CURVE; Zeek's ``Cluster::Backend::ZeroMQ::curve_*``."""

    server_publickey: Z85Key
    client_publickey: Z85Key
    client_secretkey_file: File
    """The file that holds the secret key and nothing else."""


class ZeroMQConfig(_Strict):
    """Where the cluster's proxy listens; Zeek's ``Cluster::Backend::ZeroMQ::listen_*_endpoint``."""

    xpub: Endpoint = "tcp://127.0.0.1:5555"
    xsub: Endpoint = "tcp://127.0.0.1:5556"
    curve: CurveConfig | None = None


class WebSocketConfig(_Strict):
    """Where a Zeek process listens for WebSockets; zeekctl's manager does at this address."""

    url: Annotated[str, Field(pattern=r"^wss?://[!-~]+$")] = "ws://127.0.0.1:27759/v1/messages/json"
    ca: File | None = None
    """PEM file of the authorities that wss:// believes; null: the system's."""
    certificate: File | None = None
    """PEM file of our own certificate."""
    key: File | None = None
    """PEM file of its key; null: it is in `certificate`."""

    @model_validator(mode="after")
    def _consistent(self) -> WebSocketConfig:
        if not self.url.startswith("wss://") and (self.ca or self.certificate or self.key):
            raise ValueError("transport.websocket: ca, certificate and key need a wss:// url")
        if self.key and not self.certificate:
            raise ValueError("transport.websocket.key: give its certificate too")
        return self


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+", host) or not _is_port(port):
        raise ValueError(
            f"transport.broker.peers: {text[:60]!r}: give host and port, such as 127.0.0.1:27764 "
            "or [::1]:27764"
        )
    return text


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535


class BrokerConfig(_Strict):
    """Where Zeek processes listen for Broker peers; Zeek's ``Cluster::nodes[...]$p``."""

    peers: Annotated[list[Annotated[str, AfterValidator(_address)]], Field(min_length=1)] = [
        "127.0.0.1:9999"
    ]
    """One process, or every worker of a cluster: Broker does not pass on between peers."""

    @model_validator(mode="after")
    def _consistent(self) -> BrokerConfig:
        if len(set(self.peers)) < len(self.peers):
            raise ValueError(f"transport.broker.peers: give each only once, not {self.peers}")
        return self


class TransportConfig(_Strict):
    """The way to Zeek's bus; only the section of that `kind` is used."""

    kind: Literal["zeromq", "websocket", "broker"] = "zeromq"
    zeromq: ZeroMQConfig = ZeroMQConfig()
    websocket: WebSocketConfig = WebSocketConfig()
    broker: BrokerConfig = BrokerConfig()


class BatchConfig(_Strict):
    """How samples are judged together."""

    size: Annotated[int, Field(ge=1, le=800)] = 200
    """At most so many. Exporters have 400 on the way: while some are judged, others can come."""
    wait_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    """A sample waits no longer than this for others. Those that come while others are judged go
    together anyway; waiting spares CPU time only where little comes."""


class OverloadConfig(_Strict):
    """What is left out when more comes than can be judged, in numbers of samples that wait.

    Exporters have at most 400 on the way, and wait with the rest themselves.
    """

    skip_at: Annotated[int, Field(ge=1, le=400)] = 200
    """From so many on the costliest models are left out, one or more, never all."""
    shed_at: Annotated[int, Field(ge=1, le=400)] = 300
    """What is more than this is not judged; below 400, for what is on the way has to come."""
    policy: Literal["newest", "oldest", "early-first"] = "oldest"
    """Which are shed: the newest, the oldest, or blocks and finals before early records."""

    @model_validator(mode="after")
    def _consistent(self) -> OverloadConfig:
        if self.shed_at < self.skip_at:
            raise ValueError(f"overload.shed_at: not below skip_at, {self.skip_at}")
        return self


class MetricsConfig(_Strict):
    """Where Prometheus asks."""

    host: Annotated[str, Field(pattern=r"^[!-~]+$")] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 9464
    """The first worker's; each further worker has the next one."""


class LogConfig(_Strict):
    """What the sensor says of itself, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class SensorConfig(_Strict):
    """`sensor.yaml`."""

    name: Name = "sensor"
    """Names the sensor in Zeek's logs; different for every sensor of a cluster."""
    shards: Annotated[list[Annotated[int, Field(ge=0, le=4095)]], Field(min_length=1)] = [0]
    """Which of ``MTC::shards`` parts of the connections this sensor judges."""
    transport: TransportConfig = TransportConfig()
    models: Annotated[list[str], Field(min_length=1)] | None = None
    """Names or folders of bundles; null: all shipped ones."""
    device: Annotated[str, Field(pattern=f"^({DEVICES})$")] = "auto"
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """CPU threads of a model; several workers get more out of several cores than one with more."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that share the shards; each has its own name, port of metrics and verdicts file."""
    batch: BatchConfig = BatchConfig()
    overload: OverloadConfig | None = None
    """Null: all that comes is judged, by all models, and exporters wait or shed."""
    metrics: MetricsConfig | None = None
    """Null: nobody can ask."""
    verdicts: File | None = None
    """Append verdicts as JSON lines to this file too; null: only Zeek gets them."""
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _consistent(self) -> SensorConfig:
        if len(set(self.shards)) < len(self.shards):
            raise ValueError(f"shards: each only once, not {self.shards}")
        if self.workers > len(self.shards):
            raise ValueError(
                f"workers: {self.workers} cannot share {len(self.shards)} shards: list more, and "
                "set MTC::shards to as many"
            )
        return self

    def of_worker(self, number: int) -> SensorConfig:
        """Return the configuration of worker 1, 2, ...: its part of the shards, its own names."""
        changes: dict[str, object] = {
            "name": f"{self.name}-{number}",
            "shards": self.shards[number - 1 :: self.workers],
            "workers": 1,
        }
        if self.metrics is not None:
            port = self.metrics.port + number - 1
            changes["metrics"] = MetricsConfig(host=self.metrics.host, port=port)
        if self.verdicts is not None:
            changes["verdicts"] = self.verdicts.with_stem(f"{self.verdicts.stem}-{number}")
        return self.model_copy(update=changes)


def load_config(path: Path) -> SensorConfig:
    """Read `sensor.yaml`. Raises ConfigError, naming file, line, key and remedy."""
    return load_yaml(path, SensorConfig, ConfigError)
