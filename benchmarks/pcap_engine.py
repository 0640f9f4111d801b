"""From pcap to model inputs: this package against nfstream, CPU seconds on the same files.

    pip install nfstream
    python benchmarks/pcap_engine.py --data ../shared/data

Two captures: (i) many short flows, all Ethernet pcaps of the data's `malware` and `benign` folders
merged by time; (ii) bulk, 200 TCP flows of 3,000 packets, made here. Ours computes packed samples
and byte matrices of all flows; nfstream its flows with 100 packets of sizes, directions and times
(n_meters=1, splt_analysis=100, n_dissections=0).

Each run is a process of its own. CPU seconds are user and system time of it and its children, once
whole (start, imports, loading of compiled code, everything) and once for a second pass over the
same file, which is what a long-running process costs. Runs alternate; medians are printed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from mtc_sensor.capture.pcap import read_packets

ETHERNET = 1
FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, ETHERNET)

MEASURE = """
import resource, sys
def cpu():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)
if __name__ == "__main__":
    said = once(sys.argv[1])
    first = cpu()
    once(sys.argv[1])
    print(first, cpu() - first, said, sep="|")
"""

OURS = """
from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.capture.records import CaptureFile
from mtc_sensor.features.byte_matrix import byte_matrix
from mtc_sensor.features.spec import ByteMatrixSpec
def once(path):
    capture = CaptureFile(path, FlowSettings(min_packets=1))
    samples = matrices = 0
    for records in capture:
        samples += len(records.samples)
        matrices += len(byte_matrix(records.take(records.heads > 0), ByteMatrixSpec()))
    return (f"{capture.counts.packets} packets, {capture.counts.flows} flows, {samples} samples, "
            f"{matrices} byte matrices")
"""

NFSTREAM = """
from nfstream import NFStreamer
def once(path):
    packets = flows = 0
    for flow in NFStreamer(source=path, n_meters=1, splt_analysis=100, n_dissections=0):
        flows += 1
        packets += flow.bidirectional_packets
    return f"{packets} packets, {flows} flows"
"""


def main() -> None:
    """Make the captures, run both programs on each, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--captures", type=Path, help="keep short.pcap and bulk.pcap in this folder"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.captures or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        short, bulk = Path(folder, "short.pcap"), Path(folder, "bulk.pcap")
        write_bulk(bulk)
        if arguments.data.is_dir():
            paths = [
                *arguments.data.glob("malware/*/*.pcap"),
                *arguments.data.glob("benign/*/*.pcap"),
            ]
            merge(sorted(paths), short)
        else:
            print(f"{arguments.data}: no such folder, (i) is left out")
        for name, path in (("(i) short flows", short), ("(ii) bulk", bulk)):
            if path.exists():
                compare(name, path, arguments.repeat)


def merge(paths: list[Path], target: Path) -> None:
    """Write the packets of all Ethernet captures to `target`, in the order of their times."""
    records: list[tuple[int, bytes]] = []
    for path in paths:
        for batch in read_packets(path):
            data = batch.data.tobytes()
            columns = (batch.offset, batch.caplen, batch.wirelen, batch.ts_us, batch.link)
            for at, caplen, wirelen, ts_us, link in zip(
                *(column.tolist() for column in columns), strict=True
            ):
                if link == ETHERNET:
                    header = struct.pack("<IIII", *divmod(int(ts_us), 10**6), caplen, wirelen)
                    records.append((int(ts_us), header + data[at : at + caplen]))
    records.sort(key=lambda record: record[0])
    target.write_bytes(FILE_HEADER + b"".join(record for _, record in records))


def write_bulk(path: Path, flows: int = 200, packets: int = 3000) -> None:
    """Write `flows` interleaved TCP flows of `packets` packets, two of three of them full."""
    rng = random.Random(1)
    payload = rng.randbytes(1448)
    with path.open("wb") as out:
        out.write(FILE_HEADER)
        for number in range(packets):
            for flow in range(flows):
                out.write(_segment(flow, number, payload))


def _segment(flow: int, number: int, payload: bytes) -> bytes:
    client, server = bytes([10, 0, flow >> 8, flow & 255]), bytes([192, 0, 2, flow & 255])
    down = number > 1 and number % 3 > 0
    body = payload if down else b""
    source, target = (server, client) if down else (client, server)
    ports = (443, 40000 + flow) if down else (40000 + flow, 443)
    flags = 0x02 if number == 0 else 0x10
    tcp = struct.pack("!HHIIBBHHH", *ports, number * 1448, number * 7, 0x50, flags, 501, 0, 0)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(body), number, 0x4000, 64, 6, 0)
    frame = bytes(12) + b"\x08\0" + ip + source + target + tcp + body
    time_us = number * 10_000 + flow * 20
    record = struct.pack(
        "<IIII", 1_790_000_000 + time_us // 10**6, time_us % 10**6, *[len(frame)] * 2
    )
    return record + frame


def compare(name: str, path: Path, repeat: int) -> None:
    """Run both programs alternately and print CPU seconds and their ratios."""
    programs = {"ours": OURS, "nfstream": NFSTREAM}
    runs: dict[str, list[tuple[float, float]]] = {program: [] for program in programs}
    said = {}
    for _ in range(repeat):
        for program, source in programs.items():
            whole, again, said[program] = run(source + MEASURE, path)
            runs[program].append((whole, again))
    print(f"{name}: {path.stat().st_size / 1e6:.0f} MB")
    for program in programs:
        print(f"  {program:9} {said[program]}")
    for which, label in enumerate(("whole process", "second pass")):
        ours, theirs = ([run[which] for run in runs[program]] for program in programs)
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        print(
            f"  {label:14} ours {statistics.median(ours):6.2f} s CPU, nfstream "
            f"{statistics.median(theirs):6.2f} s CPU, ratio {statistics.median(ratios):5.1f} "
            f"({min(ratios):.1f} to {max(ratios):.1f})"
        )


def run(source: str, path: Path) -> tuple[float, float, str]:
    """Run a program in a process of its own; return both CPU seconds and what it counted."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:  # nfstream spawns: needs a file
        script.write(source)
        script.flush()
        command = [sys.executable, script.name, str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    whole, again, said = done.stdout.strip().split("|")
    return float(whole), float(again), said


if __name__ == "__main__":
    main()
