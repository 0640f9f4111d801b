"""Captures through `zeek -r` and a sensor beside it, in one command.

Zeek writes its own logs. The transport is the one that a cluster would use, between this process
and one Zeek; its sockets are in a private folder, or on the loopback interface.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtc_sensor.config import BrokerConfig, TransportConfig, WebSocketConfig, ZeroMQConfig
from mtc_sensor.errors import ZeekError
from mtc_sensor.inference import Model
from mtc_sensor.judging import SampleJudge
from mtc_sensor.outputs.logs import prepare_folder
from mtc_sensor.sensor import Sensor
from mtc_sensor.streams import Streams, Totals
from mtc_sensor.transports.base import Inbox
from mtc_sensor.transports.factory import make_transport
from mtc_sensor.wire.events import Verdict
from mtc_sensor.wire.records import Records
from mtc_sensor.zeek import program, scripts
from mtc_sensor.zeek_summary import ZeekSummary

SENSOR = "replay"
_SHARDS = (0,)
_STALLED_S = 60.0
"""A Zeek that neither computes nor says anything for so long waits for what will not come."""
_END_S = 5.0
# Tells Linux to end Zeek when the process that started it dies, and becomes Zeek.
_TIED = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
_TOLD, _TOLD_LINES = "told", 5
_GONE = "the sensor of shard"
"""In what replay.zeek says before it ends a replay whose sensor it has lost; the exit code is 0."""
_SUMMARY = "summary.json"

_SETTINGS = """\
@load {scripts}
@load {scripts}/summary.zeek
redef MTC::summary_file = "{summary}";
redef Notice::default_suppression_interval = {suppress_s:f} secs;
"""

# On a bus Zeek publishes every line of every log, unless it is told not to.
_ZEROMQ = """\
@load policy/frameworks/cluster/backend/zeromq
redef Log::enable_remote_logging = F;
redef Cluster::Backend::ZeroMQ::run_proxy_thread = T;
redef Cluster::Backend::ZeroMQ::listen_xpub_endpoint = "{xpub}";
redef Cluster::Backend::ZeroMQ::listen_xsub_endpoint = "{xsub}";
redef Cluster::Backend::ZeroMQ::connect_xsub_endpoint = "{xpub}";
redef Cluster::Backend::ZeroMQ::connect_xpub_endpoint = "{xsub}";
"""
_WEBSOCKET = """\
event zeek_init()
    {{
    Cluster::listen_websocket(Cluster::WebSocketServerOptions(
        $listen_addr=127.0.0.1, $listen_port={port}/tcp));
    }}
"""
_BROKER = """\
@load policy/frameworks/cluster/backend/broker
redef Log::enable_remote_logging = F;
event zeek_init()
    {{
    Broker::listen("127.0.0.1", {port}/tcp);
    }}
"""


@dataclass(frozen=True)
class ZeekSetup:
    """How to replay through Zeek."""

    transport: str = "zeromq"
    """zeromq, websocket or broker."""
    scripts: tuple[Path, ...] = ()
    """Loaded after those of every replay: what puts tokens into records, the user's own."""
    json_logs: bool = False
    suppress_s: float = 3600.0
    """How long a notice keeps its repeats from being raised; 0: never."""


def replay_zeek(
    capture: Path, out: Path, setup: ZeekSetup, models: Sequence[Model], summary: ZeekSummary
) -> None:
    """Judge one capture beside Zeek, which leaves its logs in the folder `out`.

    What went wrong with the capture, or between Zeek and the sensor, becomes one of the summary's
    `errors`. Raises ZeekError without a Zeek.
    """
    judge = SampleJudge(SENSOR, models, summary.add_verdicts, clock_us=None)

    def judged(parts: Sequence[Records], strain: float) -> Iterator[list[Sequence[Verdict]]]:
        summary.add_records(parts)
        return judge(parts, strain)

    inbox = Inbox()
    with tempfile.TemporaryDirectory(prefix="mtc-") as private:
        config, script = meeting_point(setup.transport, Path(private))
        transport = make_transport(config, _SHARDS, inbox)
        sensor = Sensor(Streams(SENSOR, _SHARDS), transport, inbox, judged)
        process = _start(capture, out, setup, script)
        try:
            sensor.run(_Watch(process, sensor))
        finally:
            _end(process)
        told = _last_lines(Path(private) / _TOLD)
        missing = summary.add_file(sensor.totals, sensor.dropped, Path(private) / _SUMMARY)
    if process.returncode:
        summary.errors.append(f"{capture}: zeek ended with code {process.returncode}: {told}")
    elif missing or _GONE in told:
        summary.errors.append(
            f"{capture}: zeek ended before all was settled, {missing:,} samples not judged: {told}"
        )


def prepare(out: Path, force: bool) -> None:
    """Make the folder `out`. Raises OutputError if it has logs already, but with `force`."""
    for path in prepare_folder(out, ["*.log"], force):  # some may not be written again
        path.unlink()


class _Watch:
    """Whether Zeek has ended; one that stands still is ended."""

    def __init__(self, process: subprocess.Popen[str], sensor: Sensor) -> None:
        self._process = process
        self._sensor = sensor
        self._state: tuple[int, Totals] | None = None
        self._since = time.monotonic()

    def __call__(self) -> bool:
        if self._process.poll() is not None:
            return True
        now, state = time.monotonic(), (_cpu_seconds(self._process.pid), self._sensor.totals)
        if state != self._state:
            self._state, self._since = state, now
        if now - self._since >= _STALLED_S:
            self._process.kill()
            raise ZeekError(
                f"zeek: did nothing for {_STALLED_S:.0f} s: is the sensor's package loaded, and "
                "does no script of yours suspend processing?"
            )
        return False


def _cpu_seconds(pid: int) -> int:
    """Return the whole seconds of CPU time that a process has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) // 100


def meeting_point(transport: str, private: Path) -> tuple[TransportConfig, Path]:
    """Return where sensor and Zeek meet: the sensor's configuration, and a script for Zeek.

    Sockets that are files are in the folder `private`.
    """
    xpub, xsub, port = f"ipc://{private}/xpub", f"ipc://{private}/xsub", _free_port()
    text = _ZEROMQ.format(xpub=xpub, xsub=xsub)
    config = TransportConfig(zeromq=ZeroMQConfig(xpub=xpub, xsub=xsub))
    if transport == "websocket":
        text += _WEBSOCKET.format(port=port)
        url = f"ws://127.0.0.1:{port}/v1/messages/json"
        config = TransportConfig(kind="websocket", websocket=WebSocketConfig(url=url))
    elif transport == "broker":
        text = _BROKER.format(port=port)
        config = TransportConfig(kind="broker", broker=BrokerConfig(peers=[f"127.0.0.1:{port}"]))
    script = private / "meeting-point.zeek"
    script.write_text(text)
    return config, script


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _start(capture: Path, out: Path, setup: ZeekSetup, meet: Path) -> subprocess.Popen[str]:
    settings = meet.with_name("settings.zeek")
    settings.write_text(
        _SETTINGS.format(
            scripts=scripts(), summary=meet.with_name(_SUMMARY), suppress_s=setup.suppress_s
        )
    )
    mine = [str(path.resolve()) for path in (meet, settings, *setup.scripts)]
    logs = [f"LogAscii::use_json={'T' if setup.json_logs else 'F'}"]
    command = [program(), "-C", "-r", str(capture.resolve()), *mine, *logs]
    if sys.platform == "linux":
        command = [sys.executable, "-IS", "-c", _TIED, str(os.getpid()), *command]
    with (meet.parent / _TOLD).open("w") as told:
        return subprocess.Popen(  # noqa: S603 - no shell
            command, cwd=out, stdin=subprocess.DEVNULL, stdout=told, stderr=told, text=True
        )


def _end(process: subprocess.Popen[str]) -> None:
    """Wait for a Zeek that ends by itself; end one whose sensor failed."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_lines(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    return " | ".join(line for line in lines[-_TOLD_LINES:] if line) or "Zeek said nothing"
