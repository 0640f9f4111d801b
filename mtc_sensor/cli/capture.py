"""`mtc-sensor capture`: an interface through the models, without Zeek."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import click

from mtc_sensor.cli.options import judging, model_names


@click.command()
@click.option("-i", "--interface", required=True, help="The interface to listen on.")
@click.option("--filter", "bpf", metavar="BPF", help="A capture filter, e.g. 'tcp port 443'.")
@click.option(
    "--duration", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Stop after it."
)
@judging
def capture(
    interface: str,
    bpf: str | None,
    duration: float | None,
    out: Path | None,
    models: str | None,
    device: str,
    suppress_for: float,
    force: bool,
    json_logs: bool,
    ecs: bool,
) -> int:
    """Classify what passes an interface; one JSON line per verdict on standard output.

    A flow is judged at its 8th packet, or after 5 s of silence, and again for every minute and at
    its end. SIGTERM and ^C judge what is still open, close the logs, and end.
    """
    from mtc_sensor.capture.live import Interface  # noqa: PLC0415 - these load torch and numba
    from mtc_sensor.capture.records import CaptureCounts  # noqa: PLC0415
    from mtc_sensor.inference import load_models  # noqa: PLC0415
    from mtc_sensor.live import watch  # noqa: PLC0415
    from mtc_sensor.outputs.logs import VerdictLogs  # noqa: PLC0415
    from mtc_sensor.outputs.notice import NoticeSuppressor  # noqa: PLC0415
    from mtc_sensor.outputs.zeek_log import verdict_json  # noqa: PLC0415

    loaded = load_models(model_names(models), device)
    suppressor, counts, notices = NoticeSuppressor(suppress_for), CaptureCounts(), 0
    with (
        Interface(interface, bpf) as packets,
        VerdictLogs(out, suppressor, json=json_logs, ecs=ecs, force=force) as logs,
    ):
        stop = Stop(duration)
        click.echo(f"listening on {interface}; ^C ends", err=True)
        for verdicts in watch(packets, loaded, stop, counts):
            notices += len(logs.write(verdicts))
            for line in verdict_json(verdicts):
                click.echo(line)
    click.echo(
        f"{counts.packets:,} packets, {counts.flows:,} flows, {notices:,} notices, "
        f"{packets.dropped:,} packets dropped by the kernel",
        err=True,
    )
    return 130 if stop.interrupted else 0


class Stop:
    """Whether it is time to end: the duration is over, or a signal came."""

    def __init__(self, duration: float | None) -> None:
        self.interrupted = False
        self._stopped = False
        self._end = None if duration is None else time.monotonic() + duration
        signal.signal(signal.SIGINT, self._handler(interrupted=True))
        signal.signal(signal.SIGTERM, self._handler(interrupted=False))

    def __call__(self) -> bool:
        """Tell whether it is time."""
        over = self._end is not None and time.monotonic() >= self._end
        return self._stopped or over

    def _handler(self, *, interrupted: bool) -> Callable[[int, object], None]:
        def stop(number: int, _: object) -> None:
            self._stopped, self.interrupted = True, interrupted
            signal.signal(number, signal.SIG_DFL)  # a second one ends at once

        return stop
