"""What `mtc-sensor doctor` looks at: each check finds out something, or says what to do."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from mtc_sensor import zeek
from mtc_sensor.config import SensorConfig, load_config
from mtc_sensor.errors import MtcError, ZeekError
from mtc_sensor.probe import Heard, listen

State: TypeAlias = Literal["ok", "absent", "failed"]
_OLDEST, _NEWEST = 8, 9
_ENOUGH_MB = 600
_REMEDIES = {
    "zeromq": "is the manager up, and are these Cluster::Backend::ZeroMQ::listen_*_endpoint of it? "
    "With zeekctl they are tcp://127.0.0.1:27760 and tcp://127.0.0.1:27761",
    "websocket": "does a Zeek process call Cluster::listen_websocket there?",
    "broker": "does a Zeek process call Broker::listen there? A cluster's workers do, at their "
    "Cluster::nodes[...]$p",
}
"""What to look at when nothing answers."""


@dataclass(frozen=True)
class Finding:
    """What one check has found; `absent` is what only some users need."""

    check: str
    state: State
    detail: str
    """What is there; otherwise what is wrong and the remedy."""


@dataclass(frozen=True)
class Check:
    """Something to look at: returns what is there, or raises MtcError."""

    name: str
    look: Callable[[], str]
    needed: bool = True

    def __call__(self) -> Finding:
        """Look; what cannot be is a finding too."""
        try:
            return Finding(self.name, "ok", self.look())
        except MtcError as fault:
            return Finding(self.name, "failed" if self.needed else "absent", str(fault))


def examine(config: Path | None, wait_s: float) -> Iterator[Finding]:
    """Yield findings on this machine, and on what a `sensor.yaml` says, if given.

    Exporters on the bus that it names are asked where they stand, `wait_s` seconds long.
    """
    yield from (check() for check in _machine())
    yield from (check() for check in _beside_zeek())
    if config is None:
        return
    read = Check("config", lambda: _config(load_config(config)))()
    yield read
    if read.state == "ok":
        yield from _bus(load_config(config), wait_s)


def _machine() -> list[Check]:
    return [
        Check("python", _python),
        Check("memory", _memory),
        Check("torch", _torch),
        Check("compiled code", _cache),
        Check("models", _models),
    ]


def _beside_zeek() -> list[Check]:
    return [
        Check("zeek", zeek_version, needed=False),
        Check("zeek scripts", lambda: str(zeek.scripts())),
        Check("broker bindings", _bindings, needed=False),
    ]


def _python() -> str:
    return f"{platform.python_version()}, {sys.executable}"


def _memory() -> str:
    """Say how much memory is free, where Linux tells it."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    except OSError:
        found = None
    if found is None:
        return "not known on this system"
    free = int(found[1]) // 1024
    if free < _ENOUGH_MB:
        raise MtcError(f"{free} MB free: a sensor takes about {_ENOUGH_MB} MB; end something else")
    return f"{free} MB free"


def _torch() -> str:
    import torch  # noqa: PLC0415 - it takes seconds

    if torch.cuda.is_available():
        return f"{torch.__version__}, {torch.cuda.get_device_name()}"
    return f"{torch.__version__}, CPU, {torch.get_num_threads()} threads"


def _cache() -> str:
    """Say where numba keeps what it has compiled; without a place it refuses to work."""
    try:
        from mtc_sensor.features import byte_matrix  # noqa: PLC0415
    except RuntimeError as fault:
        raise MtcError(f"{fault}: set NUMBA_CACHE_DIR to a folder that can be written") from fault
    folder = Path(byte_matrix._fill.stats.cache_path)  # type: ignore[attr-defined]
    if not os.access(folder, os.W_OK):
        raise MtcError(f"{folder}: cannot be written: set NUMBA_CACHE_DIR to a folder that can")
    return str(folder)


def _models() -> str:
    from mtc_sensor.models.bundle import find_bundles, verify  # noqa: PLC0415 - loads torch

    bundles = find_bundles()
    if not bundles:
        raise MtcError("no bundles are shipped with this package: install it again")
    return ", ".join(f"{name} (within {verify(path):.1g})" for name, path in bundles.items())


def zeek_version() -> str:
    """Return version and path of Zeek. Raises ZeekError if there is none, or not a known one."""
    program = zeek.program()
    try:
        found = subprocess.run(  # noqa: S603 - no shell
            [program, "--version"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError) as fault:
        raise ZeekError(f"{program} --version: {fault}: install Zeek again") from fault
    version = re.search(r"version (\d+)\.\S+", found.stdout)
    if version is None or not _OLDEST <= int(version[1]) <= _NEWEST:
        raise ZeekError(
            f"{program}: {found.stdout.strip()}: Zeek {_OLDEST}.0 to {_NEWEST} is supported; put "
            "the bin folder of one on the PATH"
        )
    return f"{version[0]}, {program}"


def _bindings() -> str:
    from mtc_sensor.transports.broker import load_bindings  # noqa: PLC0415

    return str(load_bindings().__file__)


def _config(config: SensorConfig) -> str:
    from mtc_sensor.service import Service  # noqa: PLC0415 - it loads torch and numba

    Service(config).close()
    return f"{config.transport.kind}, shards {config.shards}"


def _bus(config: SensorConfig, wait_s: float) -> Iterator[Finding]:
    """Yield whether the bus can be reached, and which exporters are on it."""
    heard = listen(config.transport, wait_s)
    kind = config.transport.kind
    silent = ", ".join(heard.unreached) if heard.reached else _address(config)
    if silent:
        fault = f"transport.{kind}: nothing answers at {silent}: {_REMEDIES[kind]}"
        yield Finding("bus", "failed", fault)
    else:
        yield Finding("bus", "ok", _address(config))
    if not heard.reached:
        return
    yield from (_exporters(shard, heard, wait_s) for shard in config.shards)


def _exporters(shard: int, heard: Heard, wait_s: float) -> Finding:
    name = f"exporters of shard {shard}"
    said = [status for status in heard.exporters if status.shard == shard]
    if not said:
        return Finding(
            name,
            "failed",
            f"none has answered for {wait_s:g} s: is the package loaded (@load mtc-sensor), and "
            f"MTC::shards larger than {shard}?",
        )
    return Finding(
        name,
        "ok",
        ", ".join(
            f"{each.node}: {each.last_seq} published, {each.first_unacked - 1} settled, "
            f"{each.shed} shed"
            for each in said
        ),
    )


def _address(config: SensorConfig) -> str:
    way = config.transport
    return {
        "zeromq": f"{way.zeromq.xpub} and {way.zeromq.xsub}",
        "websocket": way.websocket.url,
        "broker": ", ".join(way.broker.peers),
    }[way.kind]
