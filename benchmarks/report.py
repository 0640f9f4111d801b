"""Run all benchmarks with short settings and write docs/benchmarks.md: `make bench`."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from recorded import ROOT, machine

TWO = ("--models", "byte-cnn", "flowpic")
STEPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("A sample decoded", "", ("wire_decode.py",)),
    ("The transport's intake", "", ("intake.py", "--samples", "20000", "--rounds", "3")),
    (
        "The same, each sample alone",
        "",
        ("intake.py", "--samples", "20000", "--rounds", "3", "--batch", "1"),
    ),
    ("Zeek's proxy", "", ("proxy.py", "--messages", "40000")),
    ("FlowPics", "", ("flowpic_build.py", "--flows", "400", "--repeat", "2")),
    (
        "Records judged",
        "",
        ("inference.py", "--threads", "1", "--batch", "1", "16", "256", "--rounds", "3"),
    ),
    ("The sensor, two models", "", ("sensor_rate.py", *TWO, "--seconds", "8")),
    ("Two workers", "", ("sensor_rate.py", *TWO, "--workers", "2", "--seconds", "8")),
    (
        "The sensor, the byte-CNN alone",
        "",
        ("sensor_rate.py", "--models", "byte-cnn", "--seconds", "8"),
    ),
    (
        "The byte-CNN alone, two workers",
        "",
        ("sensor_rate.py", "--models", "byte-cnn", "--workers", "2", "--seconds", "8"),
    ),
    (
        "Zeek and the sensor",
        "The capture is `samples/demo.pcap`; `--file` takes another.",
        ("zeek_and_sensor.py", "--rounds", "3"),
    ),
    (
        "Overload",
        "For five minutes: `--seconds 300`.",
        (
            "sensor_rate.py",
            *TWO,
            "--overload",
            "--config",
            '{"overload":{}}',
            "--seconds",
            "30",
        ),
    ),
    (
        "For long",
        "For an hour, with the figure that counts, growth since minute two: `--seconds 3600`.",
        ("sensor_rate.py", *TWO, "--soak", "--seconds", "60"),
    ),
)
WITH_DATA = ("wire_decode.py", "inference.py", "sensor_rate.py")
WITH_ZEEK = ("zeek_and_sensor.py",)
INTRODUCTION = """\
# Benchmarks

`make bench` writes this page: each program of `benchmarks/` with short settings, the command and
what it printed. Each has `--help`, which says what is compared with what. Absolute figures are
those of one machine, and of what else ran on it; the ratios are of one run each. The samples are
those of `samples/demo.pcap`, in which every eighth flow is malicious; where it says
`--data FOLDER`, of a folder of captures (`python benchmarks/report.py --data FOLDER`). What
sampling costs Zeek is measured by `benchmarks/zeek_overhead.py`, see
[design.md](design.md#what-it-costs-zeek); what the figures mean for a link, in
[scaling.md](scaling.md).
"""


def run(arguments: Sequence[str], data: Path | None = None) -> str:
    """Run a benchmark; return its command line as a person would type it, and what it printed."""
    command = [f"benchmarks/{arguments[0]}", *arguments[1:]]
    shown = shlex.join(["python", *command, *(["--data", "FOLDER"] if data else [])])
    print(shown, file=sys.stderr)
    command += ["--data", str(data)] if data else []
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{shown}: {done.stdout}{done.stderr}")
    lines = [f"$ {shown}", *done.stdout.splitlines()]
    return "".join(f"    {line}\n" for line in lines)


def page(data: Path | None, only: str) -> Iterator[str]:
    """Yield the page's parts."""
    git = shutil.which("git") or "git"
    commit = subprocess.run(
        [git, "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    yield INTRODUCTION
    yield f"{datetime.now(timezone.utc):%Y-%m-%d}, commit {commit or 'unknown'}, {machine()}.\n"
    for title, text, arguments in STEPS:
        if arguments[0] in WITH_ZEEK and not shutil.which("zeek"):
            print(
                f"{arguments[0]}: left out, because there is no zeek on the PATH", file=sys.stderr
            )
        elif only in arguments[0]:
            yield f"## {title}\n"
            yield f"{text}\n" if text else ""
            yield run(arguments, data if arguments[0] in WITH_DATA else None)
    yield f"Load average of the last quarter of an hour, this included: {os.getloadavg()[2]:.1f}.\n"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a capture, or a folder of captures")
    parser.add_argument("--only", default="", help="benchmarks with this in their file's name")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    options = parser.parse_args()
    parts = [part for part in page(options.data, options.only) if part]
    options.out.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
