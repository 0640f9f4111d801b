"""From configuration to a transport."""

from __future__ import annotations

from collections.abc import Sequence

from mtc_sensor.config import CurveConfig, TransportConfig, WebSocketConfig, ZeroMQConfig
from mtc_sensor.errors import ConfigError
from mtc_sensor.transports.base import Inbox, Transport
from mtc_sensor.wire import topics


def make_transport(config: TransportConfig, shards: Sequence[int], inbox: Inbox) -> Transport:
    """Return the transport of `config.kind`, which receives the samples of `shards`.

    Without shards it hears where all exporters stand, and no samples.

    Raises ConfigError or TransportError, naming the key or the file, for what cannot be used.
    """
    wanted = [*map(topics.samples_of, shards), *map(topics.statuses_of, shards)]
    wanted = wanted or [topics.ALL_STATUSES]
    if config.kind == "zeromq":
        return _zeromq(config.zeromq, wanted, inbox)
    if config.kind == "websocket":
        return _websocket(config.websocket, wanted, inbox)
    from mtc_sensor.transports.broker import Broker  # noqa: PLC0415 - each loads its own library

    return Broker(inbox, wanted, config.broker.peers)


def _zeromq(config: ZeroMQConfig, wanted: Sequence[str], inbox: Inbox) -> Transport:
    from mtc_sensor.transports.zeromq import Curve, ZeroMQ  # noqa: PLC0415

    curve, keys = None, config.curve
    if keys is not None:
        curve = Curve(keys.server_publickey, keys.client_publickey, _secret(keys))
    return ZeroMQ(inbox, wanted, config.xpub, config.xsub, curve)


def _secret(keys: CurveConfig) -> str:
    path = keys.client_secretkey_file
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(
            f"transport.zeromq.curve.client_secretkey_file: {path}: {fault}: give a file that "
            "holds 40 characters of Z85"
        ) from fault


def _websocket(config: WebSocketConfig, wanted: Sequence[str], inbox: Inbox) -> Transport:
    from mtc_sensor.transports.websocket import WebSocket, tls_context  # noqa: PLC0415

    secure = config.url.startswith("wss://")
    tls = tls_context(config.ca, config.certificate, config.key) if secure else None
    return WebSocket(inbox, wanted, config.url, tls)
