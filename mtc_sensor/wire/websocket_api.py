"""The messages of Zeek's WebSocket API (``/v1/messages/json``) as text.

A client's first message is the array of the topic prefixes that it wants, all others are
`DataMessage`. The server sends one `Ack`, then `DataMessage` and `ErrorMessage`. Sources: Broker
``doc/web-socket.rst``; Zeek ``cluster/websocket/WebSocket.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from mtc_sensor.errors import WireError
from mtc_sensor.wire.broker_json import dump, field, from_tree, load, to_tree
from mtc_sensor.wire.values import Value


@dataclass(frozen=True)
class DataMessage:
    """A value published to a topic."""

    topic: str
    value: Value


@dataclass(frozen=True)
class Ack:
    """The answer to the subscriptions: from now on the server delivers."""

    endpoint: str
    version: str


@dataclass(frozen=True)
class ErrorMessage:
    """The server's complaint about something that it was sent."""

    code: str
    context: str


Message: TypeAlias = DataMessage | Ack | ErrorMessage


def encode_subscriptions(topics: Iterable[str]) -> str:
    """Write the first message of a client."""
    return dump(list(topics))


def decode_subscriptions(text: str) -> list[str]:
    """Read the first message of a client. Raises WireError."""
    topics = load(text)
    if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
        raise WireError("subscriptions are no array of strings")
    return topics


def encode(message: Message) -> str:
    """Write one message. Raises WireError."""
    if isinstance(message, DataMessage):
        return dump({"type": "data-message", "topic": message.topic, **to_tree(message.value)})
    if isinstance(message, Ack):
        return dump({"type": "ack", "endpoint": message.endpoint, "version": message.version})
    return dump({"type": "error", "code": message.code, "context": message.context})


def decode(text: str) -> Message:
    """Read one message. Raises WireError, and nothing else, for any other text."""
    message = load(text)
    kind = field(message, "type", str)
    if kind == "data-message":
        return DataMessage(field(message, "topic", str), from_tree(message))
    if kind == "ack":
        return Ack(field(message, "endpoint", str), field(message, "version", str))
    if kind == "error":
        return ErrorMessage(field(message, "code", str), field(message, "context", str))
    raise WireError(f"unknown message type {kind[:64]!r}")
