"""What transports do when there is no Zeek, and with what a hostile peer sends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise

import pytest
import zmq

from mtc_sensor.config import BrokerConfig, TransportConfig, WebSocketConfig
from mtc_sensor.transports.base import Inbox
from mtc_sensor.transports.zeromq import ZeroMQ
from tests.zeek.beside import running, wait_for
from tests.zeek.echo import make_sensor


@contextmanager
def refusing() -> Iterator[tuple[int, list[float]]]:
    """Listen and hang up; yield the port, and the times of attempts to connect."""
    attempts: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    attempts.append(time.monotonic())
                    connection.close()

        thread = threading.Thread(target=refuse)
        thread.start()
        yield server.getsockname()[1], attempts
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.zeek
@pytest.mark.parametrize("kind", ["websocket", "broker"])
def test_attempts_to_connect_back_off_by_chance(kind: str) -> None:
    with refusing() as (port, attempts):
        config = TransportConfig.model_validate(
            {
                "kind": kind,
                "websocket": WebSocketConfig(url=f"ws://127.0.0.1:{port}/v1/messages/json"),
                "broker": BrokerConfig(peers=[f"127.0.0.1:{port}"]),
            }
        )
        with running(lambda: make_sensor(config)):
            wait_for(lambda: len(attempts) >= 6)
    waits = [after - before for before, after in pairwise(attempts[:6])]
    shares = [wait / most for wait, most in zip(waits, (0.1, 0.2, 0.4, 0.8, 1.6), strict=True)]
    assert min(shares) >= 0.5
    assert max(shares[3:]) < 2.0  # what is added takes no longer when the wait is longer
    assert max(shares) - min(shares) > 0.01


def test_zeromq_draws_its_own_intervals() -> None:
    firsts, mosts = set(), set()
    for _ in range(20):
        transport = ZeroMQ(Inbox(), [], "tcp://127.0.0.1:1", "tcp://127.0.0.1:1")
        firsts.add(int(transport._sub.getsockopt(zmq.RECONNECT_IVL)))
        mosts.add(int(transport._sub.getsockopt(zmq.RECONNECT_IVL_MAX)))
        transport._context.destroy(linger=0)
    assert len(firsts) > 1
    assert firsts <= set(range(50, 101))
    assert len(mosts) > 1
    assert mosts <= set(range(2500, 5001))
