"""Replay captures of many protocols through a real Zeek and print what became of every sample.

    python benchmarks/zeek_replay_counts.py [FOLDER]

FOLDER is that of the labelled captures (../shared/data). Each capture is replayed over ZeroMQ and
over WebSocket; Zeek has ended by itself in each run whose code is 0.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mtc_sensor.cli import run  # noqa: E402
from tests.zeek.test_protocols import PROTOCOLS  # noqa: E402

_COLUMNS = ("exported", "judged", "shed", "lost", "seconds")


def counts(capture: Path, transport: str) -> tuple[int, list[object]]:
    """Return the exit code of one replay, and what its summary says."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = run(["replay", "--zeek", "--transport", transport, "--json", str(capture)])
    summary = json.loads(out.getvalue())
    return code, [summary[name] for name in _COLUMNS]


def main() -> int:
    """Print a row for each capture and transport; return 1 if a sample was not judged."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data"
    failed = 0
    print("| protocol | capture | transport |", " | ".join(_COLUMNS), "| code |")
    print("|---|---|---|" + "---:|" * (len(_COLUMNS) + 1))
    for protocol, path in PROTOCOLS.items():
        for transport in ("zeromq", "websocket"):
            code, row = counts(folder / path, transport)
            failed |= code != 0 or row[0] != row[1]
            print(f"| {protocol} | {path} | {transport} |", *[f"{x} |" for x in row], f"{code} |")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
