"""The command line. Exit codes: 0 done, 1 the user can fix it, 2 usage, 3 unexpected, 130 ^C."""

from __future__ import annotations

import sys
import traceback

import click

from mtc_sensor import __version__
from mtc_sensor.cli.audit import audit
from mtc_sensor.cli.calibrate import calibrate
from mtc_sensor.cli.capture import capture
from mtc_sensor.cli.dataset import dataset
from mtc_sensor.cli.doctor import doctor
from mtc_sensor.cli.evaluate import evaluate
from mtc_sensor.cli.explain import explain
from mtc_sensor.cli.export import flowpic, flows
from mtc_sensor.cli.models import models
from mtc_sensor.cli.replay import replay
from mtc_sensor.cli.run import config, run_sensor, zeek_path
from mtc_sensor.cli.status import status
from mtc_sensor.cli.train import train
from mtc_sensor.errors import MtcError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mtc-sensor")
def cli() -> None:
    """Classify network traffic with trained models, from captures or an interface."""


for command in (
    run_sensor,
    replay,
    train,
    capture,
    flows,
    flowpic,
    models,
    dataset,
    evaluate,
    calibrate,
    audit,
    explain,
    config,
    zeek_path,
    doctor,
    status,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line; the entry point of the package."""
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run the command line with `arguments`, or the process's own; return the exit code."""
    try:
        return int(cli(arguments, standalone_mode=False) or 0)
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except MtcError as error:
        click.echo(f"mtc-sensor: {error}", err=True)
        return 1
    except BrokenPipeError:  # the reader of our output has gone (| head)
        sys.stderr.close()
        return 0
    except Exception:
        traceback.print_exc()
        click.echo(
            "mtc-sensor: this should not happen; please report it with the lines above", err=True
        )
        return 3
