"""FlowPics as PNG files that a person can read."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import MtcError, OutputError
from mtc_sensor.features.spec import FlowPicSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS = (1100, 700)
"""Width and height of a picture."""


def draw_flowpic(image: NDArray[np.uint16], spec: FlowPicSpec, path: Path, title: str) -> None:
    """Write one FlowPic to `path` as a PNG of `PIXELS`.

    Parameters
    ----------
    image
        (channels, R, R) packets per cell, as `flowpics` counts them.
    spec
        What `image` was built with.
    path
        The file; one that exists is replaced only by a complete one.
    title
        Plain text, such as the connection's addresses and ports.

    Raises
    ------
    MtcError
        Without matplotlib.
    OutputError
        If the file cannot be written.
    """
    try:
        from mtc_sensor.features._figure import flowpic_figure  # noqa: PLC0415 (needs an extra)
    except ImportError as fault:
        raise MtcError("pictures need matplotlib: pip install 'mtc-sensor[plot]'") from fault
    write_png(flowpic_figure(image, spec, title, PIXELS), path)


def write_png(figure: Figure, path: Path) -> None:
    """Write a figure; a file that exists is replaced only by a complete one. Raises OutputError."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(png.getbuffer())
        part.replace(path)
    except OSError as fault:
        with suppress(OSError):
            part.unlink()
        raise OutputError(
            f"{path}: cannot be written: {fault.strerror}: choose a folder with room that you may "
            "write to"
        ) from fault
