"""Captures through `zeek -r` with our scripts: the records are those that a cluster would sample.

No bus is between: a script prints the lines that would be published, each after the link type, and
these go through the decoder that samples off the bus go through.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.errors import CaptureError, WireError
from mtc_sensor.training.flow_records import Part
from mtc_sensor.wire import lines
from mtc_sensor.wire.assemble import to_flow_batch
from mtc_sensor.wire.records import StreamId
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
	print fmt("%d %s", link_type, to_line(r));
	}
"""
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
                stderr=errors,
            ) as process,
        ):  # fmt: skip
            assert process.stdout is not None
            try:
                yield from _records(process.stdout, settings)
            except WireError as fault:
                raise CaptureError(f"{path}: {fault}") from fault
            finally:
                process.terminate()
        if process.returncode > 0:
            last = told.read_text(errors="replace").splitlines()[-_TOLD_LINES:]
            said = " | ".join(line.strip() for line in last) or "nothing"
            raise CaptureError(f"{path}: zeek ended with code {process.returncode} and said {said}")


def _options(settings: FlowSettings) -> list[str]:
    return [
        f"MTC::min_packets={settings.min_packets}",
        f"MTC::max_samples={settings.max_samples}",
        f"MTC::block_interval={settings.block_s}sec",
        f"MTC::head_bytes={settings.head_bytes + _BEFORE_IP if settings.head_bytes else 0}",
        *([str(token_script())] if settings.tokens else []),
    ]


def _records(printed: IO[bytes], settings: FlowSettings) -> Iterator[Part]:
    stream = StreamId("", "", 0)
    while chunk := list(islice(printed, _RECORDS_AT_ONCE)):
        # A Zeek that is killed leaves a line unfinished.
        whole = [line[:-1].partition(b" ") for line in chunk if line.endswith(b"\n")]
        if whole:
            records = lines.read([line for *_, line in whole], stream, 1, int(whole[0][0]))
            yield to_flow_batch([records], settings.head_bytes), None
