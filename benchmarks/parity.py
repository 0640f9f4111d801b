"""The same captures through a real Zeek with our scripts and through `mtc_sensor.capture`.

    python benchmarks/parity.py ../shared/data/{benign,malware}

Prints the share of connections whose records are identical, to the packet and the byte, and every
difference, by cause. Folders are searched for pcap and pcapng files. See docs/parity.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.flow import Kind, address_text
from tests.zeek.parity import Comparison, Difference, Flow, compare_all


def main() -> int:
    """Compare what the command line names; 0 if the share of identical connections is enough."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("captures", nargs="+", type=Path, help="files and folders")
    parser.add_argument("--min-packets", type=int, default=FlowSettings.min_packets)
    parser.add_argument("--least", type=float, default=0.995, help="the share that is enough")
    parser.add_argument("--verbose", action="store_true", help="print each difference")
    options = parser.parse_args()
    began = time.monotonic()
    settings = FlowSettings(min_packets=options.min_packets)
    total = Total()
    try:
        for comparison in compare_all(files(options.captures), settings):
            total.add(comparison)
            if comparison.fault:
                print(f"{comparison.capture}: {comparison.fault}")
            for difference in comparison.differences if options.verbose else []:
                print(describe(difference), flush=True)
    except KeyboardInterrupt:
        print("interrupted; so far:")
    print(total, f"{time.monotonic() - began:.0f} s", sep="\n")
    return 0 if total.share >= options.least else 1


def files(paths: Iterable[Path]) -> list[Path]:
    """Return captures, those in folders in the order of their names."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.rglob("*.pcap*")) if path.is_dir() else [path]
    return found


class Total:
    """What all captures amount to."""

    def __init__(self) -> None:
        self.captures = self.faults = self.flows = self.packets = 0
        self.records: Counter[Kind] = Counter()
        self.causes: Counter[tuple[str, ...]] = Counter()

    def add(self, comparison: Comparison) -> None:
        """Count one capture."""
        self.captures += 1
        self.faults += bool(comparison.fault)
        self.flows += comparison.flows
        self.packets += comparison.packets
        self.records.update(comparison.records)
        self.causes.update(difference.causes for difference in comparison.differences)

    @property
    def share(self) -> float:
        """Of connections that are identical."""
        return 1 - self.causes.total() / self.flows if self.flows else 0.0

    def __str__(self) -> str:
        records = ", ".join(f"{self.records[kind]} {kind.name.lower()}" for kind in Kind)
        return "\n".join([
            f"{self.captures} captures ({self.faults} not compared), {self.flows} connections, "
            f"records: {records}; {self.packets} samples",
            f"identical {100 * self.share:.3f} %, different {self.causes.total()}",
            *(f"  {count:6} {', '.join(causes)}" for causes, count in self.causes.most_common()),
        ])  # fmt: skip


def describe(difference: Difference) -> str:
    """Return a line for a connection."""
    flow: Flow | None = difference.ours or difference.zeek
    assert flow is not None
    proto, *_ = flow.ends
    ends = f"{address(flow.ends[1])}:{flow.ends[2]} > {address(flow.ends[3])}:{flow.ends[4]}"
    causes = ", ".join(difference.causes)
    return f"{difference.capture}: {causes}: {proto} {ends} at {flow.start_us}"


def address(raw: bytes) -> str:
    """Write an address."""
    return address_text(np.frombuffer(raw, np.uint8))


if __name__ == "__main__":
    sys.exit(main())
