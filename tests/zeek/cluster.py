"""A Zeek cluster of five processes on this machine, started by hand, and sensors beside it.

The manager has a WebSocket server and, where the backend is ZeroMQ, its proxy thread; workers read
captures. Every node has a folder of its own; the logger's has the logs.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import zmq

from mtc_sensor.zeek import program, scripts

LAYOUT = Path(__file__).with_name("layout")
TIMEOUT_S = 60.0
_PERMANENT = ("manager", "logger", "proxy")
_WORKERS = ("WORKER_1_PORT", "WORKER_2_PORT")
_LISTENING = tuple(f"{name.upper()}_PORT" for name in _PERMANENT)
_PORTS = ("XPUB_PORT", "XSUB_PORT", "WEBSOCKET_PORT", *_LISTENING, *_WORKERS)


class Node:
    """A process of Zeek; a context manager, which kills it."""

    def __init__(self, name: str, folder: Path, settings: dict[str, str], *arguments: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        packages = folder.parent / "packages"
        search = [str(packages), str(LAYOUT), _output("zeek-config", "--zeekpath")]
        own = {"CLUSTER_NODE": name, "ZEEKPATH": ":".join(search)}
        command = [program(), "-C", "node", *arguments]
        with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as errors:
            self.process = subprocess.Popen(
                command, cwd=folder, env=os.environ | settings | own, stdout=out, stderr=errors
            )

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """End a node that does not end by itself."""
        self.process.terminate()
        assert self.process.wait(TIMEOUT_S) == 0, self.errors

    def streams(self) -> list[dict[str, int]]:
        """Wait until a worker has ended by itself; return what became of its streams."""
        assert self.process.wait(TIMEOUT_S) == 0, self.errors
        return [json.loads(line) for line in (self.folder / "stdout").read_text().splitlines()]

    @property
    def errors(self) -> str:
        """What Zeek wrote on standard error."""
        return (self.folder / "stderr").read_text(errors="replace")


class Cluster:
    """Manager, logger and proxy, up to workers; a context manager, which kills what still runs."""

    def __init__(self, folder: Path, backend: str = "zeromq") -> None:
        self.folder = folder
        self.backend = backend
        self.ports = dict(zip(_PORTS, map(str, _free_ports(len(_PORTS))), strict=True))
        self._running = ExitStack()
        self._started = 0

    def __enter__(self) -> Cluster:
        packages = self.folder / "packages"  # as zkg does it
        packages.mkdir()
        (packages / "mtc-sensor").symlink_to(scripts())
        self._nodes = [self._start(name) for name in _PERMANENT]
        if self.backend == "broker":
            _wait_for_listeners([self.ports[name] for name in _LISTENING])
        else:
            topics = {f"zeek.cluster.{name}".encode() for name in _PERMANENT}
            _wait_for_topics(self.ports["XSUB_PORT"], topics)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def worker(self, name: str, capture: Path, *arguments: str) -> Node:
        """Start a worker that reads a capture."""
        return self._start(name, "-r", str(capture), *arguments)

    def end(self) -> None:
        """End the cluster, the logger last."""
        for name in ("proxy", "manager", "logger"):
            self._nodes[_PERMANENT.index(name)].end()

    def log(self, name: str) -> list[dict[str, str]]:
        """Return the lines of one of the logger's logs, by column."""
        path = self.folder / "logger" / f"{name}.log"
        lines = path.read_text().splitlines() if path.is_file() else []
        (names,) = [line.split("\t")[1:] for line in lines if line.startswith("#fields")] or [[]]
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def transport(self, kind: str) -> dict[str, Any]:
        """Return a sensor's configuration of the way to this cluster."""
        here = "127.0.0.1:{}".format
        xpub, xsub, websocket, *_ = (here(port) for port in self.ports.values())
        return {
            "kind": kind,
            "zeromq": {"xpub": f"tcp://{xpub}", "xsub": f"tcp://{xsub}"},
            "websocket": {"url": f"ws://{websocket}/v1/messages/json"},
            "broker": {"peers": [here(self.ports[name]) for name in _WORKERS]},
        }

    def _start(self, name: str, *arguments: str) -> Node:
        self._started += 1
        again = f"-{self._started}" if (self.folder / name).exists() else ""
        settings = {"BACKEND": self.backend, **self.ports}
        node = Node(name, self.folder / f"{name}{again}", settings, *arguments)
        return self._running.enter_context(node)


class SensorProcess:
    """`mtc-sensor run` with the model of first bytes."""

    def __init__(self, folder: Path, name: str, shards: Sequence[int], transport: object) -> None:
        self.verdict_file = folder / f"{name}.json"
        config = folder / f"{name}.yaml"
        settings = {
            "name": name,
            "shards": list(shards),
            "transport": transport,
            "models": ["byte-cnn"],
            "verdicts": str(self.verdict_file),
            "log": {"format": "json"},
        }
        config.write_text(json.dumps(settings))
        command = [sys.executable, "-m", "mtc_sensor", "run", "--config", str(config)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def verdicts(self) -> list[dict[str, Any]]:
        """Return what it has kept of its verdicts so far."""
        lines = self.verdict_file.read_text() if self.verdict_file.is_file() else ""
        return [json.loads(line) for line in lines.split("\n")[:-1]]

    def end(self) -> dict[str, Any]:
        """End it; return its last line of log: what became of all samples."""
        self.process.terminate()
        _, errors = self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 0, errors
        last: dict[str, Any] = json.loads(errors.splitlines()[-1])
        assert last["message"] == "stopped"
        return last


@contextmanager
def sensor(
    cluster: Cluster, kind: str = "zeromq", name: str = "s1", shards: Sequence[int] = (0,)
) -> Iterator[SensorProcess]:
    """Run a sensor beside a cluster; kill it in the end."""
    running = SensorProcess(cluster.folder, name, shards, cluster.transport(kind))
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _free_ports(number: int) -> list[int]:
    with ExitStack() as held:
        sockets = [
            held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)
        ]
        return [each.getsockname()[1] for each in sockets]


def _wait_for_topics(port: str, wanted: set[bytes]) -> None:
    """Wait until somebody behind the proxy listens to each of these topics."""
    end = time.monotonic() + TIMEOUT_S
    with zmq.Context() as context, context.socket(zmq.XPUB) as xpub:
        xpub.linger = 0
        xpub.connect(f"tcp://127.0.0.1:{port}")
        while wanted:
            assert time.monotonic() < end, f"nobody listens to {wanted}"
            if xpub.poll(100):
                wanted = wanted - {xpub.recv()[1:]}


def _wait_for_listeners(ports: Sequence[str]) -> None:
    """Wait until somebody listens on each of these ports."""
    end = time.monotonic() + TIMEOUT_S
    for port in map(int, ports):
        while True:
            assert time.monotonic() < end, f"nobody listens on {port}"
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            time.sleep(0.1)
