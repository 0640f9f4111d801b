"""The Zeek installation beside us: where its program is, and where our scripts are."""

from __future__ import annotations

import shutil
from pathlib import Path

from mtc_sensor.errors import ZeekError

_PACKAGE = Path(__file__).resolve().parent
_SCRIPTS = (_PACKAGE / "_shipped" / "zeek-scripts", _PACKAGE.parent / "zeek-scripts")


def scripts() -> Path:
    """Return the folder of the Zeek scripts, which `@load` and `zeek` take. Raises ZeekError."""
    for folder in _SCRIPTS:
        if folder.is_dir():
            return folder
    raise ZeekError(f"{_SCRIPTS[0]}: the Zeek scripts are missing: install the package again")


def token_script() -> Path:
    """Return the script that puts tokens into records; the rest is loaded without it."""
    return scripts() / "tls.zeek"


def program() -> str:
    """Return the path of `zeek`. Raises ZeekError."""
    found = shutil.which("zeek")
    if found is None:
        raise ZeekError(
            "zeek: not found: put the bin folder of your Zeek (8.0 or later) on the PATH"
        )
    return found
