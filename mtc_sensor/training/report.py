"""Evaluations as one HTML page that needs nothing else, and as JSON."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mtc_sensor import __version__
from mtc_sensor.errors import MtcError, OutputError
from mtc_sensor.training import words
from mtc_sensor.training.evaluation import Evaluation, as_json

PAGE, FIGURES = "index.html", "evaluation.json"
_TEMPLATE = "report.html"


def write_report(folder: Path, evaluations: Sequence[Evaluation]) -> Path:
    """Write `PAGE` and `FIGURES` into `folder`; return the page's path.

    The JSON is what ``evaluate --json`` prints, with speed and alerts besides.

    Raises
    ------
    MtcError
        Without matplotlib.
    OutputError
        If the folder cannot be written.
    """
    page = _page(evaluations)
    figures = {one.bundle: _everything(one) for one in evaluations}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PAGE).write_text(page)
        (folder / FIGURES).write_text(json.dumps({"bundles": figures}, indent=1) + "\n")
    except OSError as fault:
        raise OutputError(
            f"{folder}: cannot be written: {fault.strerror}: choose a folder that you may write to"
        ) from fault
    return folder / PAGE


def _page(evaluations: Sequence[Evaluation]) -> str:
    try:
        from mtc_sensor.training._report_figures import plots  # noqa: PLC0415 - an extra
    except ImportError as fault:
        raise MtcError("reports need matplotlib: pip install 'mtc-sensor[plot]'") from fault

    def encoded(one: Evaluation) -> dict[str, str]:
        return {name: base64.b64encode(png).decode() for name, png in plots(one).items()}

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template(_TEMPLATE).render(
        evaluations=evaluations,
        version=__version__,
        titles=words.TITLES,
        rivals=words.RIVALS,
        number=words.number,
        remarks=words.remarks,
        classes=lambda one: as_json(one)["per_class"],
        plots=encoded,
    )


def _everything(one: Evaluation) -> dict[str, object]:
    return as_json(one) | {
        "task": one.task,
        "protocol": one.protocol,
        "speed": asdict(one.speed),
        "alerts": {name: None if math.isnan(v) else v for name, v in one.verdicts.items()},
    }
