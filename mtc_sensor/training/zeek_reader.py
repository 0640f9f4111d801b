"""Captures through `zeek -r` with our scripts: the records are those that a cluster would sample.

No bus is between: a script prints what would be published, five lines a record, and what it prints
goes through the decoder that samples off the bus go through.
"""

from __future__ import annotations

import base64
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from typing import IO

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.errors import CaptureError
from mtc_sensor.training.flow_records import Part
from mtc_sensor.wire.assemble import to_flow_batch
from mtc_sensor.wire.events import Sample
from mtc_sensor.wire.fields import Packed, codec_of
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.values import Address, Port, Proto, unmap_address
from mtc_sensor.zeek import program, scripts, token_script

_PRINT = """\
module MTC;
redef Log::default_writer = Log::WRITER_NONE;
event network_time_init()
	{
	link_type = int_to_count(packet_source()$link_type);
	}
hook sampled(c: connection, r: Record) &priority=-5
	{
	local start = to_microseconds(r$start);
	print fmt("%d %s %s %s", r$kind, r$uid, r$orig_h, r$orig_p);
	print fmt("%s %s %d %d", r$resp_h, r$resp_p, start, link_type);
	print join_string_vec(encoded(r$head), " ");
	print to_json(r$packets);
	print r$tokens;
	}
"""
_PACKED = codec_of(Packed)
_LINES = 5
_RECORDS_AT_ONCE = 1024
_BEFORE_IP = 80
"""Bytes of a head that link layer and tunnels may take."""
_TOLD_LINES = 5


def read_zeek(path: Path, settings: FlowSettings, dropped: Counter[str]) -> Iterator[Part]:
    """Read a capture with Zeek. Raises CaptureError if it fails, ZeekError without one."""
    with tempfile.TemporaryDirectory(prefix="mtc-") as folder:
        script, told = Path(folder, "print.zeek"), Path(folder, "told")
        script.write_text(_PRINT)
        options = [str(scripts()), str(script), *_options(settings)]
        command = [program(), "-C", "-r", str(path.resolve()), *options]
        with (
            told.open("w") as errors,
            subprocess.Popen(  # noqa: S603 - no shell
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=errors, text=True, errors="replace",
            ) as process,
        ):  # fmt: skip
            assert process.stdout is not None
            try:
                yield from _records(process.stdout, settings)
            finally:
                process.terminate()
        if process.returncode > 0:
            lines = told.read_text(errors="replace").splitlines()
            said = " | ".join(line.strip() for line in lines[-_TOLD_LINES:]) or "nothing"
            raise CaptureError(f"{path}: zeek ended with code {process.returncode} and said {said}")


def _options(settings: FlowSettings) -> list[str]:
    return [
        f"MTC::min_packets={settings.min_packets}",
        f"MTC::max_samples={settings.max_samples}",
        f"MTC::block_interval={settings.block_s}sec",
        f"MTC::head_bytes={settings.head_bytes + _BEFORE_IP if settings.head_bytes else 0}",
        *([str(token_script())] if settings.tokens else []),
    ]


def _records(lines: IO[str], settings: FlowSettings) -> Iterator[Part]:
    while chunk := list(islice(lines, _LINES * _RECORDS_AT_ONCE)):
        whole = range(0, len(chunk) - _LINES + 1, _LINES)
        samples = [_sample(*chunk[at : at + _LINES]) for at in whole]
        if samples:
            yield to_flow_batch([Records.of(samples)], settings.head_bytes), None


def _sample(first: str, second: str, head: str, packets: str, tokens: str) -> Sample:
    kind, uid, orig_h, orig_p = first.split()
    resp_h, resp_p, start_us, link = second.split()
    return Sample(
        run="",
        node="",
        shard=0,
        seq=0,
        kind=int(kind),
        uid=uid,
        orig_h=_address(orig_h),
        orig_p=_port(orig_p),
        resp_h=_address(resp_h),
        resp_p=_port(resp_p),
        start_us=int(start_us),
        samples=_PACKED.decode(packets.strip().encode()),
        link=int(link),
        head=tuple(map(base64.b64decode, head.split())),
        tokens=tokens.strip(),
    )


def _address(text: str) -> Address:
    return unmap_address(ip_address(text))


def _port(text: str) -> Port:
    number, proto = text.split("/")
    return Port(int(number), Proto[proto.upper()])
