from __future__ import annotations

import pytest

from mtc_sensor.errors import WireError
from mtc_sensor.wire import websocket_api
from mtc_sensor.wire.websocket_api import Ack, DataMessage, ErrorMessage, Message

# By hand from Broker's doc/web-socket.rst and Zeek's cluster/websocket/WebSocket.cc.
LITERALS: list[tuple[str, Message]] = [
    (
        '{"type":"data-message","topic":"/foo/bar","@data-type":"count","data":1}',
        DataMessage("/foo/bar", 1),
    ),
    (
        '{"type":"ack","endpoint":"925c9110-5b87","version":"8.2.2"}',
        Ack("925c9110-5b87", "8.2.2"),
    ),
    (
        '{"type":"error","code":"deserialization_failed","context":"no topic"}',
        ErrorMessage("deserialization_failed", "no topic"),
    ),
]


@pytest.mark.parametrize(("text", "message"), LITERALS)
def test_literal_messages(text: str, message: Message) -> None:
    assert websocket_api.encode(message) == text
    assert websocket_api.decode(text) == message


def test_subscriptions() -> None:
    text = '["/zeek/mtc/sample/0/","/zeek/mtc/sensors/"]'
    topics = ["/zeek/mtc/sample/0/", "/zeek/mtc/sensors/"]
    assert websocket_api.encode_subscriptions(topics) == text
    assert websocket_api.decode_subscriptions(text) == topics
    for wrong in ("{}", "[1]", "nonsense"):
        with pytest.raises(WireError):
            websocket_api.decode_subscriptions(wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", "object with 'type' wanted"),
        ('{"type":"news"}', "unknown message type 'news'"),
        ('{"type":"data-message","@data-type":"count","data":1}', "'topic' must be str"),
        ('{"type":"data-message","topic":"/a"}', "'@data-type' must be str"),
        ('{"type":"ack","endpoint":"a"}', "'version' must be str"),
        ('{"type":"error","code":1,"context":""}', "'code' must be str"),
    ],
)
def test_what_is_malformed_is_refused(text: str, message: str) -> None:
    with pytest.raises(WireError, match=message):
        websocket_api.decode(text)
