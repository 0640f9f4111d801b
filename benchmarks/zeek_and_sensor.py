"""Zeek and the sensor end to end: a capture replayed through both, against Zeek alone.

    python benchmarks/zeek_and_sensor.py --file DIR/short.pcap

`mtc-sensor replay --zeek` runs as users run it, with the bundles named and over each transport;
Zeek alone has its default scripts. They take turns; the best of ``--rounds`` counts. Seconds are
those from the start of Zeek to its end, in which all samples have been judged, all verdicts have
come back and all logs are written. Zeek and the sensor have a process each, on the same machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from recorded import ROOT, machine

from mtc_sensor.zeek import program

TRANSPORTS = ("zeromq", "websocket")


def zeek_alone(capture: Path) -> float:
    """Return the seconds that Zeek takes."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        subprocess.run(
            [program(), "-C", "-r", str(capture)], cwd=folder, stderr=subprocess.DEVNULL, check=True
        )
        return time.perf_counter() - begin


def beside(capture: Path, transport: str, models: str) -> dict[str, Any]:
    """Return the summary of a replay in which each sample was judged."""
    command = [sys.executable, "-m", "mtc_sensor", "replay", "--zeek", "--json"]
    options = ["--transport", transport, "--models", models]
    done = subprocess.run(
        [*command, *options, str(capture)], stdout=subprocess.PIPE, text=True, check=True
    )
    summary: dict[str, Any] = json.loads(done.stdout)
    if summary["exported"] != summary["judged"]:
        sys.exit(f"{capture}: {summary['exported']} exported, {summary['judged']} judged")
    return summary


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", type=Path, default=ROOT / "samples" / "demo.pcap")
    parser.add_argument("--models", nargs="+", default=["byte-cnn", "byte-cnn,flowpic"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    capture = options.file.resolve()
    alone = float("inf")
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for _ in range(options.rounds):
        alone = min(alone, zeek_alone(capture))
        for key in [(t, models) for t in TRANSPORTS for models in options.models]:
            found = beside(capture, *key)
            best[key] = min(best.get(key, found), found, key=lambda summary: summary["seconds"])
    one = next(iter(best.values()))
    print(machine())
    print(
        f"{one['packets']:,} packets of {one['flows']:,} connections; {one['exported']:,} samples"
    )
    print(f"{'':28s} seconds  of Zeek alone  packets/s  samples/s")
    print(f"{'Zeek alone':28s} {alone:7.2f} {'':14s} {one['packets'] / alone:10,.0f}")
    for (transport, models), summary in best.items():
        seconds = summary["seconds"]
        print(
            f"{f'{transport}, {models}':28s} {seconds:7.2f} {seconds / alone:13.2f}x "
            f"{summary['packets'] / seconds:10,.0f} {summary['judged'] / seconds:10,.0f}"
        )


if __name__ == "__main__":
    main()
