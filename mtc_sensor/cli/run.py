"""`mtc-sensor run`, `config check` and `zeek-path`: the sensor beside Zeek."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import click

from mtc_sensor.config import SensorConfig, load_config

_file = click.Path(path_type=Path, dir_okay=False)


@click.command("run")
@click.option("--config", "path", type=_file, required=True, help="sensor.yaml.")
@click.option("--worker", type=click.IntRange(1), hidden=True)
def run_sensor(path: Path, worker: int | None) -> int:
    """Judge what Zeek samples, until SIGTERM or ^C.

    SIGTERM judges what is on the way and ends; a second one ends at once. SIGHUP loads the bundles
    anew, and the file of verdicts is opened anew. With several workers, one that dies is started
    again.
    """
    from mtc_sensor.logs import set_up_logging  # noqa: PLC0415

    config = load_config(path)
    set_up_logging(config.log)
    stop = _Stop()
    if worker is not None:
        code = _serve(config.of_worker(worker), stop)
    elif config.workers == 1:
        code = _serve(config, stop)
    else:
        code = _supervise(path, config.workers, stop)
    return 130 if stop.signal == signal.SIGINT else code


def _serve(config: SensorConfig, stop: _Stop) -> int:
    """Run the sensor, a worker only as long as its supervisor runs."""
    from mtc_sensor.service import Service  # noqa: PLC0415 - it loads torch and numba

    parent = os.getppid()
    service = Service(config)
    signal.signal(signal.SIGHUP, lambda *_: service.reload())
    service.run(lambda: stop.signal is not None or os.getppid() != parent)
    return 0


def _supervise(path: Path, workers: int, stop: _Stop) -> int:
    from mtc_sensor.supervisor import Supervisor, start_worker  # noqa: PLC0415

    supervisor = Supervisor(partial(start_worker, path), workers)
    signal.signal(signal.SIGHUP, lambda *_: supervisor.reload())
    return supervisor.run(lambda: stop.signal is not None)


class _Stop:
    """Which signal asked to end; a second one ends at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, number: int, _: object) -> None:
        self.signal = number
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)


@click.group()
def config() -> None:
    """Check the configuration of `run`."""


@config.command()
@click.argument("file", type=_file)
def check(file: Path) -> None:
    """Read sensor.yaml, its bundles, keys and certificates; connect to nothing."""
    from mtc_sensor.service import Service  # noqa: PLC0415

    settings = load_config(file)
    Service(settings).close()
    click.echo(f"{file}: ok: {settings.transport.kind}, shards {settings.shards}")


@click.command("zeek-path")
def zeek_path() -> None:
    """Print the folder of the Zeek scripts, for `@load` or Zeek's command line."""
    from mtc_sensor.zeek import scripts  # noqa: PLC0415

    click.echo(scripts())
