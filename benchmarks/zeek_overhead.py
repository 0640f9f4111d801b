"""What sampling costs Zeek: user CPU of `zeek -C -r`, relative to the same without our scripts.

    python benchmarks/zeek_overhead.py --pairs 5

Two captures, made here: many short flows (139,000 connections, 123,000 of them of one packet) and
bulk (200 flows, 601,000 packets). Nothing in them is of a protocol that Zeek parses, so Zeek itself
has little to do; on captures of your own (``--file``) ratios are lower. The sensor beside Zeek has
no model and answers every sample with one verdict. In each round every variant runs once, after a
run without our scripts. Only what the Zeek process itself uses is counted, with its threads: for
ZeroMQ that includes the proxy's. Medians of the rounds are printed.

With ``--instructions`` it counts these instead, with valgrind, which takes 50 times as long but
gives the same again on a busy machine: take a small capture, and one round.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mtc_sensor.wire.events import Verdict  # noqa: E402
from mtc_sensor.wire.records import Records  # noqa: E402
from mtc_sensor.zeek import program  # noqa: E402
from mtc_sensor.zeek_replay import meeting_point  # noqa: E402
from tests.zeek.echo import judge, make_sensor  # noqa: E402

SCRIPTS = ROOT / "zeek-scripts"
FIRST_EIGHT = (str(ROOT / "benchmarks" / "first_eight.zeek"),)
FLOWMETER = (str(ROOT / "benchmarks" / "flowmeter_style.zeek"),)
FILE_HEADER = np.array([0xA1B2C3D4, 4 << 16 | 2, 0, 0, 262144, 1], "<u4")
HEADERS = [
    ("sec", "<u4"), ("usec", "<u4"), ("caplen", "<u4"), ("wirelen", "<u4"),
    ("mac", "u1", 12), ("ethertype", ">u2"),
    ("version", "u1"), ("tos", "u1"), ("length", ">u2"), ("ident", ">u4"), ("ttl", "u1"),
    ("proto", "u1"), ("ip_sum", ">u2"), ("src", ">u4"), ("dst", ">u4"),
    ("sport", ">u2"), ("dport", ">u2"), ("seq", ">u4"), ("ack", ">u4"),
    ("offset", "u1"), ("flags", "u1"), ("window", ">u2"), ("tcp_sum", ">u4"),
]  # fmt: skip
SYN, ACK, FIN = 0x02, 0x10, 0x01
LATEST = 2**31 - 1000
"""In seconds, with room for a sweep after it."""


@dataclass(frozen=True)
class Variant:
    """A way to run Zeek: its arguments, the transport to a sensor, and whether that answers."""

    name: str
    arguments: tuple[str, ...]
    transport: str = ""
    verdicts: bool = True


VARIANTS = (
    Variant("first eight packets, not published", FIRST_EIGHT),
    Variant("all packets, not published", (str(SCRIPTS),)),
    Variant("all, published, no verdicts, zeromq", (str(SCRIPTS),), "zeromq", verdicts=False),
    Variant("everything, zeromq", (str(SCRIPTS),), "zeromq"),
    Variant("all, published, no verdicts, websocket", (str(SCRIPTS),), "websocket", verdicts=False),
    Variant("everything, websocket", (str(SCRIPTS),), "websocket"),
    Variant("new_packet, in the style of zeek-flowmeter", FLOWMETER),
)


@dataclass
class Row:
    """Medians of one variant; `added` is its cost beyond the run without scripts."""

    capture: str
    variant: str
    ratio: float
    ratios: list[float]
    added: float
    samples: int


def main() -> int:
    """Make the captures, run all variants in rounds, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--size", type=float, default=1.0, help="of the captures, 1 is as above")
    parser.add_argument("--capture", choices=["short", "bulk"], action="append")
    parser.add_argument("--file", type=Path, help="measure on a capture of your own")
    parser.add_argument("--sweep", type=int, default=0, help="connections of one packet after it")
    parser.add_argument("--json", type=Path, help="a file for the numbers")
    parser.add_argument("--instructions", action="store_true", help="instead of CPU time")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # of connecting to a Zeek that is about to begin or end
    cost = count if options.instructions else user_cpu
    units = ("instructions", "thousand") if options.instructions else ("user CPU", "us")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ["own"] if options.file else options.capture or ["short", "bulk"]:
            path = options.file or make_capture(name, Path(folder), options.size)
            path = swept(path, options.sweep, Path(folder)) if options.sweep else path
            found = measure(name, path.resolve(), options.pairs, cost)
            print(*table(found, *units), sep="\n", flush=True)
            rows += found
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0


Cost: TypeAlias = Callable[[list[str], str], float]
"""Runs a command in a folder; returns what it has cost."""


def measure(capture: str, path: Path, pairs: int, cost: Cost) -> list[Row]:
    """Run every variant `pairs` times, each after a run without scripts."""
    ratios: dict[str, list[float]] = {variant.name: [] for variant in VARIANTS}
    added: dict[str, list[float]] = {variant.name: [] for variant in VARIANTS}
    samples: dict[str, int] = {}
    for _ in range(pairs):
        for variant in VARIANTS:
            plain, _ = replay(path, Variant("", ()), cost)
            used, samples[variant.name] = replay(path, variant, cost)
            ratios[variant.name].append(round(used / plain, 3))
            added[variant.name].append(used - plain)
    return [
        Row(capture, name, statistics.median(ratios[name]), ratios[name],
            statistics.median(added[name]), samples[name])
        for name in ratios
    ]  # fmt: skip


def replay(path: Path, variant: Variant, cost: Cost) -> tuple[float, int]:
    """Return the cost of one run, and the samples that its sensor has judged."""
    with tempfile.TemporaryDirectory() as name:
        command = [program(), "-C", "-r", str(path), *variant.arguments]
        if not variant.transport:
            return cost(command, name), 0
        config, script = meeting_point(variant.transport, Path(name))
        sensor = make_sensor(config, judge=judge if variant.verdicts else keep_quiet)
        ended = threading.Event()
        thread = threading.Thread(target=sensor.run, args=(ended.is_set,), daemon=True)
        thread.start()
        used = cost([*command, str(script)], name)
        ended.set()
        thread.join()
        if sensor.totals.lost or sensor.totals.in_flight:
            raise SystemExit(f"{path}: {variant.name}: {sensor.totals}")
        return used, sensor.totals.judged


def keep_quiet(_parts: Sequence[Records], _strain: float) -> Iterator[list[list[Verdict]]]:
    """Judge without a model."""
    return iter(())


def count(command: list[str], folder: str) -> float:
    """Return the instructions of a process, with its threads, by the billion."""
    out = Path(folder, "callgrind.out")
    user_cpu(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *command], folder)
    (total,) = re.findall(r"^(?:totals|summary): (\d+)", out.read_text(errors="replace"), re.M)[:1]
    return int(total) / 1e9


def user_cpu(command: list[str], folder: str) -> float:
    """Return the user CPU seconds of a process."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with code {process.returncode}")
    return usage.ru_utime


def table(rows: list[Row], what: str, unit: str) -> list[str]:
    """Return the lines of a table, and what a sample and a verdict cost, in millionths."""
    lines = [f"| {rows[0].capture} | {what} | all rounds | samples |", "|---|---:|---|---:|"]
    for row in rows:
        each = " ".join(f"{ratio:.2f}" for ratio in row.ratios)
        lines.append(f"| {row.variant} | {row.ratio:.2f}x | {each} | {row.samples} |")
    by_name = {row.variant: row for row in rows}
    silent = by_name["all packets, not published"]
    for transport in ("zeromq", "websocket"):
        quiet = by_name[f"all, published, no verdicts, {transport}"]
        full = by_name[f"everything, {transport}"]
        sample = (quiet.added - silent.added) / max(quiet.samples, 1) * 1e6
        verdict = (full.added - quiet.added) / max(full.samples, 1) * 1e6
        lines.append(f"{transport}: {sample:.0f} {unit} per sample, {verdict:.0f} per verdict")
    return [*lines, ""]


def make_capture(name: str, folder: Path, size: float) -> Path:
    """Write one of the two captures; the same bytes each time."""
    path = folder / f"{name}.pcap"
    rng = np.random.default_rng(1)
    if name == "bulk":
        write(path, tcp_flows(rng, np.full(max(int(200 * size), 1), 3005), 1448))
        return path
    single, longer = int(123_000 * size), max(int(16_000 * size), 1)
    packets = np.clip(rng.geometric(1 / 30, longer) + 4, 5, 400)
    frames = make_frames(single + int(packets.sum()), 64)  # concatenate changes byte orders
    frames[:single] = lone_packets(rng, single, 64)
    frames[single:] = tcp_flows(rng, packets, 64)
    write(path, frames)
    return path


def swept(path: Path, connections: int, folder: Path) -> Path:
    """Write a copy of a capture (little-endian, microseconds) that ends with a sweep."""
    data, at, last = path.read_bytes(), FILE_HEADER.nbytes, 0
    while at < len(data):
        second, _, length = struct.unpack_from("<3I", data, at)
        at += 16 + length
        # To Zeek what is later has come before 1970: it passes over such packets.
        last = max(last, second) if second < LATEST else last
    frames = lone_packets(np.random.default_rng(1), connections, 64)
    frames["sec"] += last - frames["sec"].min() + 1
    sweep = folder / "sweep.pcap"
    write(sweep, frames)
    sweep.write_bytes(data + sweep.read_bytes()[FILE_HEADER.nbytes :])
    return sweep


def tcp_flows(
    rng: np.random.Generator, packets: npt.NDArray[np.int64], payload: int
) -> npt.NDArray[np.void]:
    """Return the frames of TCP flows: handshake, a request, data that is acked, and the end."""
    flow = np.repeat(np.arange(len(packets)), packets)
    last = np.repeat(packets, packets) - 1
    number = np.arange(len(flow)) - np.repeat(np.cumsum(packets) - packets, packets)
    # After the handshake and the request come two of data and an ack, over and over.
    up = (number == 0) | (number == 2) | (number == 3) | (number > 3) & (number % 3 == 0)
    size = np.where((number == 3) | (number > 3) & ~up & (number < last), payload, 0)
    flags = np.where(number == 0, SYN, np.where(number == 1, SYN | ACK, ACK))
    flags = np.where(number >= last - 1, FIN | ACK, flags)
    frames = make_frames(len(flow), payload)
    up = np.where(number == last - 1, True, np.where(number == last, False, up))
    size = np.where(number >= last - 1, 0, size)
    frames["flags"], frames["proto"], frames["offset"] = flags, 6, 5 << 4
    used = size + ((flags & (SYN | FIN)) > 0)
    said = [running(np.where(up == side, used, 0), packets) for side in (True, False)]
    frames["seq"] = np.where(up, said[0], said[1])
    frames["ack"] = np.where(number == 0, 0, np.where(up, said[1], said[0]))
    address(frames, flow, up)
    begin = rng.uniform(0, 300, len(packets))
    stamp(frames, begin[flow] + number * 0.01, size + 40)
    return frames


def make_frames(count: int, payload: int) -> npt.NDArray[np.void]:
    """Return frames with room for `payload` bytes each."""
    return np.zeros(count, [*HEADERS, ("payload", "u1", payload)])


def running(used: npt.NDArray[np.int64], packets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return how many sequence numbers of a flow were used before each packet."""
    before = np.cumsum(used) - used
    begin = np.repeat(np.cumsum(packets) - packets, packets)
    result: npt.NDArray[np.int64] = before - before[begin] + 1000
    return result


def lone_packets(rng: np.random.Generator, count: int, payload: int) -> npt.NDArray[np.void]:
    """Return the frames of scans: connections of one packet, a SYN or a short UDP datagram."""
    frames = make_frames(count, payload)
    is_udp = np.arange(count) % 2 == 0
    frames["proto"] = np.where(is_udp, 17, 6)
    frames["flags"], frames["offset"] = np.where(is_udp, 0, SYN), np.where(is_udp, 0, 5 << 4)
    frames["seq"] = np.where(is_udp, 20 << 16, 1000)
    address(frames, np.arange(count) + 0x100000, np.ones(count, bool))
    stamp(frames, rng.uniform(0, 300, count), np.full(count, 40))
    return frames


def address(
    frames: npt.NDArray[np.void], flow: npt.NDArray[np.int64], up: npt.NDArray[np.bool_]
) -> None:
    """Give each flow addresses and ports; none of a service that Zeek knows."""
    ends = 0x0A000000 + (flow >> 8), 0xC0000000 + (flow & 0xFF), 20000 + (flow & 0x3FFF), 9009
    frames["src"], frames["dst"] = np.where(up, ends[0], ends[1]), np.where(up, ends[1], ends[0])
    frames["sport"] = np.where(up, ends[2], ends[3])
    frames["dport"] = np.where(up, ends[3], ends[2])


def stamp(
    frames: npt.NDArray[np.void], seconds: npt.NDArray[np.float64], length: npt.NDArray[np.int64]
) -> None:
    """Set times and lengths, and what all frames share."""
    micros = (seconds * 1e6).astype(np.int64) + 1_500_000_000_000_000
    frames["sec"], frames["usec"] = np.divmod(micros, 10**6)
    frames["length"], frames["caplen"], frames["wirelen"] = length, length + 14, length + 14
    frames["ethertype"], frames["version"], frames["ttl"] = 0x0800, 0x45, 64
    frames["window"], frames["mac"] = 0xFFFF, [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]
    content = np.random.default_rng(2).integers(128, 256, 1448, np.uint8)
    frames["payload"] = content[: frames["payload"].shape[1]]


def write(path: Path, frames: npt.NDArray[np.void], at_once: int = 20_000) -> None:
    """Write frames in the order of their times, each as long as it says."""
    order = np.lexsort((frames["usec"], frames["sec"]))
    with path.open("wb") as out:
        out.write(FILE_HEADER.tobytes())
        for begin in range(0, len(order), at_once):
            some = frames[order[begin : begin + at_once]]
            used = np.arange(frames.itemsize) < some["caplen"][:, None] + 16
            out.write(some.view(np.uint8).reshape(len(some), -1)[used].tobytes())


if __name__ == "__main__":
    sys.exit(main())
