"""`mtc-sensor run` and an exporter as processes, told what to do and watched from outside."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from mtc_sensor.status import scrape


@dataclass
class Usage:
    """What a process holds and has used."""

    resident: float
    threads: int
    files: int
    cpu_s: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Read it from /proc."""
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return cls(
            resident=int(status["VmRSS"].split()[0]) * 1024,
            threads=int(status["Threads"]),
            files=len(list(Path(f"/proc/{pid}/fd").iterdir())),
            cpu_s=(int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
        )


class Run:
    """A sensor and an exporter, both running."""

    def __init__(
        self,
        sensor: subprocess.Popen[str],
        exporter: subprocess.Popen[str],
        log: Path,
        ports: Sequence[int],
    ) -> None:
        self.sensor, self.exporter, self.log = sensor, exporter, log
        self._ports = ports
        self.made = self.shed = 0
        self._read()

    def usage(self) -> Usage:
        """Return what the sensor and its workers hold."""
        if self.sensor.poll() is not None:
            sys.exit(f"the sensor has ended: {self.log.read_text()}")
        task = Path(f"/proc/{self.sensor.pid}/task/{self.sensor.pid}/children")
        usages = [Usage.of(pid) for pid in (self.sensor.pid, *map(int, task.read_text().split()))]
        return Usage(*map(sum, zip(*map(astuple, usages), strict=True)))

    def stages(self) -> dict[str, float]:
        """Return the seconds that each of the sensor's stages has run, of all workers."""
        found = Counter[str]()
        for port in self._ports:
            values = scrape(f"http://127.0.0.1:{port}")["mtc_sensor_stage_seconds_sum"]
            found.update({dict(labels)["stage"]: value for labels, value in values.items()})
        return dict(found)

    def order(self, rate: float, seconds: float, settle: bool = True) -> None:
        """Have samples replayed; `result` gives what came of it."""
        assert self.exporter.stdin is not None
        order = {"rate": rate, "seconds": seconds, "settle": settle}
        self.exporter.stdin.write(json.dumps(order) + "\n")
        self.exporter.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Return what came of the first order that has not been asked about."""
        found = self._read()
        found["shed_now"] = found["shed"] - self.shed
        found["made_now"] = found["made"] - self.made
        self.made, self.shed = found["made"], found["shed"]
        return found

    def replay(self, rate: float, seconds: float) -> dict[str, Any]:
        """Replay at a rate and wait for the end of it."""
        self.order(rate, seconds)
        return self.result()

    def _read(self) -> dict[str, Any]:
        assert self.exporter.stdout is not None
        line = self.exporter.stdout.readline()
        if not line:
            sys.exit(f"the exporter has ended: {self.exporter.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def running(options: argparse.Namespace) -> Iterator[Run]:
    """Start sensor and exporter; at the end, print and check what became of all samples."""
    with tempfile.TemporaryDirectory(prefix="mtc-") as name:
        folder = Path(name)
        workers = options.workers
        port = free_ports(workers)
        (folder / "sensor.yaml").write_text(configuration(options, folder, port))
        sensor = [sys.executable, "-m", "mtc_sensor", "run", "--config", f"{folder}/sensor.yaml"]
        here = Path(__file__).parent
        exporter = [sys.executable, f"{here}/exporter.py", "--folder", name]
        exporter += ["--data", str(options.data), "--shards", str(workers)]
        pipe = subprocess.PIPE
        with (
            (folder / "log").open("w+") as log,
            subprocess.Popen(sensor, stderr=log, text=True) as one,
            subprocess.Popen(exporter, stdin=pipe, stdout=pipe, text=True) as other,
        ):
            try:
                run = Run(one, other, folder / "log", range(port, port + workers))
                yield run
                one.send_signal(signal.SIGTERM)
                one.wait(60)
                account(run)
            finally:
                one.kill()
                other.kill()


def free_ports(count: int) -> int:
    """Return the first of `count` TCP ports in a row that nobody listens on."""
    while True:
        with ExitStack() as stack:
            sock = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            first: int = sock.getsockname()[1]
            with suppress(OSError, OverflowError):  # some other's, or past the last
                for port in range(first + 1, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
                return first


def configuration(options: argparse.Namespace, folder: Path, port: int) -> str:
    """Return the sensor's configuration."""
    return json.dumps(
        {
            "transport": {
                "kind": "zeromq",
                "zeromq": {"xpub": f"ipc://{folder}/xpub", "xsub": f"ipc://{folder}/xsub"},
            },
            "models": options.models,
            "device": options.device,
            "shards": list(range(options.workers)),
            "workers": options.workers,
            "log": {"format": "json"},
            "metrics": {"port": port},
            **json.loads(options.config),
        }
    )


def account(run: Run) -> None:
    """Print what became of all samples; end with an error if that is not what was made."""
    log = run.log.read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    stopped = [line for line in lines if line["message"] == "stopped"]
    names = ("judged", "shed", "lost", "in_flight")
    parts = {name: sum(line.get(name, 0) for line in stopped) for name in names}
    dropped = sum((Counter(line.get("dropped", {})) for line in stopped), Counter())
    if not stopped:
        sys.exit(f"the sensor did not say what became of the samples:\n{log[-2000:]}")
    made = run.made + run.shed
    print(f"sampled {made:,} = {' + '.join(f'{v:,} {k}' for k, v in parts.items())}", end="")
    print(f"; dropped {dict(dropped)}; {sum(parts.values()) - made} unaccounted for")
    if sum(parts.values()) != made:
        sys.exit(1)
