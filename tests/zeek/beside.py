"""Zeek and a sensor beside each other, and what both say of it."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mtc_sensor.config import TransportConfig
from mtc_sensor.sensor import Sensor
from mtc_sensor.zeek import program, scripts
from mtc_sensor.zeek_replay import meeting_point

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "samples" / "demo.pcap"
COUNTERS = Path(__file__).with_name("counters.zeek")
TRANSPORTS = ("zeromq", "websocket", "broker")
TIMEOUT_S = 60.0
"""After which nothing is going to happen; busy machines take 20 s to start Python."""


class Zeek:
    """A Zeek process with our scripts that reads a capture; a context manager, which kills it.

    `lines` is what it has printed, each with the time when it came (`time.monotonic`).
    """

    def __init__(self, folder: Path, capture: Path, meet: Path, *arguments: str | Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.lines: list[tuple[float, str]] = []
        command = [program(), "-C", "-r", str(capture), str(meet), str(scripts()), str(COUNTERS)]
        self.started = time.monotonic()
        with (folder / "stderr").open("w") as errors:
            self.process = subprocess.Popen(
                [*command, *map(str, arguments)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Zeek:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def wait(self, timeout: float = TIMEOUT_S) -> int:
        """Return the exit code of a Zeek that ends by itself."""
        code = self.process.wait(timeout)
        self._reader.join()
        return code

    def end(self) -> int:
        """Ask it to end, as a capture's end does; return its exit code."""
        self.process.terminate()
        return self.wait()

    @property
    def counters(self) -> dict[str, int]:
        """What the scripts have counted; once Zeek has ended."""
        text = " ".join(line for _, line in list(self.lines) if line.startswith("counter "))
        return {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", text)}

    def times(self, word: str) -> list[float]:
        """Return when lines of that word came."""
        return [when for when, line in list(self.lines) if line.startswith(word + " ")]

    @property
    def verdicts(self) -> list[str]:
        """Each verdict as connection, kind and model."""
        return [line[8:] for _, line in list(self.lines) if line.startswith("verdict ")]

    @property
    def errors(self) -> str:
        """What Zeek wrote on standard error."""
        return (self.folder / "stderr").read_text(errors="replace")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line.rstrip()))


def meet(kind: str, folder: Path) -> tuple[TransportConfig, Path]:
    """Return where a sensor and Zeek meet: the sensor's configuration, and a script for Zeek."""
    return meeting_point(kind, folder)


class Echo:
    """`tests.zeek.echo` as a process; a context manager, which kills it."""

    def __init__(self, folder: Path, config: TransportConfig, *arguments: str) -> None:
        path = folder / "transport.json"
        path.write_text(config.model_dump_json())
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.zeek.echo", str(path), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Echo:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def ready(self) -> float:
        """Wait until it begins to connect; return when that was. Python takes a while to start."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        return time.monotonic()

    def end(self) -> dict[str, Any]:
        """Ask it to end; return what became of all samples."""
        self.process.terminate()
        output, _ = self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 0
        totals: dict[str, Any] = json.loads(output.splitlines()[-1])
        return totals


@contextmanager
def running(make: Callable[[], Sensor]) -> Iterator[Sensor]:
    """Make a sensor and run it, both in a thread: Broker must end where it was begun."""
    ends, made = threading.Event(), threading.Event()
    sensors: list[Sensor] = []
    faults: list[BaseException] = []

    def run() -> None:
        try:
            sensors.append(make())
            made.set()
            sensors[0].run(ends.is_set)
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert made.wait(TIMEOUT_S), faults
        yield sensors[0]
    finally:
        ends.set()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
        assert faults == []


def wait_for(condition: Callable[[], object], timeout: float = TIMEOUT_S) -> float:
    """Wait until something is so; return when that was."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "nothing happened for too long"
        time.sleep(0.01)
    return time.monotonic()


def write_flows(
    path: Path, flows: int, seconds: float, packets: int = 8, lasting: float = 0.01
) -> Path:
    """Write a capture of UDP flows that begin one after another, each with its packets in time."""
    with path.open("wb") as pcap:
        pcap.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        times = [
            (flow * seconds / flows + packet * lasting / packets, flow, packet)
            for flow in range(flows)
            for packet in range(packets)
        ]
        for when, flow, packet in sorted(times):
            frame = udp_frame(flow, packet % 3 > 0, bytes((flow + packet) % 256 for _ in range(20)))
            micros = round(when * 1e6)
            stamp = (1_700_000_000 + micros // 10**6, micros % 10**6)
            pcap.write(struct.pack("<IIII", *stamp, len(frame), len(frame)) + frame)
    return path


def udp_frame(flow: int, backwards: bool, payload: bytes) -> bytes:
    """Return an Ethernet frame of the `flow`th flow."""
    client = (b"\x0a\x01" + struct.pack("!H", flow // 20_000 + 1), 10_000 + flow % 20_000)
    server = (b"\x0a\x02\x00\x01", 5000)
    (src, sport), (dst, dport) = (server, client) if backwards else (client, server)
    body = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, 17, 0) + src + dst + body
    return bytes.fromhex("020000000002020000000001") + b"\x08\x00" + ip
