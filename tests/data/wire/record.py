"""Record the fixtures of this folder from a real Zeek; see README.md.

Needs ``zeek`` on the PATH, pyzmq and websockets.
"""

# mypy: disable-error-code="import-not-found,no-any-return"

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import zmq
from websockets.sync.client import connect

from mtc_sensor.wire import broker_bin, websocket_api
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.websocket_api import DataMessage

HERE = Path(__file__).parent
GO = ZeekEvent("Wire::go", ())


def record_binary() -> None:
    """Ask over the cluster's ZeroMQ sockets."""
    context = zmq.Context()
    subscriber, publisher = context.socket(zmq.SUB), context.socket(zmq.XPUB)
    subscriber.connect("tcp://127.0.0.1:5555")
    publisher.connect("tcp://127.0.0.1:5556")
    for topic in ("/wire/out/", "/wire/bytes/"):
        subscriber.subscribe(topic)
    while publisher.recv() != b"\x01/wire/in/":
        pass
    time.sleep(1)  # for our own subscriptions to reach Zeek
    payload = broker_bin.encode_event(GO)
    publisher.send_multipart([b"/wire/in/", b"record", b"broker-bin-v1", payload])
    save(lambda: subscriber.recv_multipart()[3], broker_bin.decode_event, ".bin")
    context.destroy(linger=0)


def record_json() -> None:
    """Ask over the WebSocket API."""
    with connect("ws://127.0.0.1:27759/v1/messages/json", ping_interval=None) as socket:
        socket.send(websocket_api.encode_subscriptions(["/wire/out/"]))
        assert isinstance(websocket_api.decode(str(socket.recv())), websocket_api.Ack)
        socket.send(websocket_api.encode(DataMessage("/wire/in/", GO.to_value())))
        save(lambda: socket.recv(decode=False), read_json, ".json")


def read_json(raw: bytes) -> ZeekEvent:
    message = websocket_api.decode(raw.decode())
    assert isinstance(message, DataMessage), message
    return ZeekEvent.from_value(message.value)


def save(receive: Callable[[], bytes], read: Callable[[bytes], ZeekEvent], suffix: str) -> None:
    while True:
        raw = receive()
        name = read(raw).name
        if name == "Wire::done":
            return
        (HERE / (name.replace("::", "-") + suffix)).write_bytes(raw)


def main() -> None:
    zeek = subprocess.Popen(["zeek", "-b", HERE / "record.zeek"], cwd="/tmp")
    try:
        time.sleep(5)
        record_binary()
        record_json()
    finally:
        zeek.terminate()
        zeek.wait()


if __name__ == "__main__":
    main()
