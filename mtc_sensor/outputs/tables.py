"""Connections and packets as tables, Parquet or CSV, through pyarrow (the extra `tables`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import OutputError
from mtc_sensor.flow import address_texts
from mtc_sensor.outputs.connections import Connections

SUFFIXES = (".parquet", ".csv")
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}


class TableWriter:
    """Write `Connections` to `path`: one row per connection, or with `packets` one per packet.

    A context manager. The suffix of `path` chooses the format. Rows go to ``<path>.part``, which
    becomes `path` at the end, and is removed after a fault. In a CSV file a list is written as
    numbers with spaces between them. Raises OutputError for an unknown suffix, without pyarrow, and
    when writing fails.
    """

    def __init__(self, path: Path, packets: bool) -> None:
        if path.suffix not in SUFFIXES:
            raise OutputError(f"{path}: unknown suffix {path.suffix!r}; use .parquet or .csv")
        self._arrow = _pyarrow()
        self.path = path
        self.rows = 0
        self._part = path.with_name(path.name + ".part")
        self._table = _packet_table if packets else _connection_table
        self._writer: Any = None

    def write(self, batch: Connections) -> None:
        """Append the connections of `batch`, or their packets."""
        table = self._table(self._arrow, batch)
        if self.path.suffix == ".csv":
            table = _flat(self._arrow, table)
        with self._reporting():
            if self._writer is None:
                self._writer = self._open(table.schema)
            self._writer.write_table(table)
        self.rows += len(table)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Finish the file and give it its name. Without a row there is nothing to name."""
        if self._writer is None:
            return
        if error is not None:  # half a Parquet file cannot be read
            with contextlib.suppress(Exception):
                self._writer.close()
            self._part.unlink(missing_ok=True)
            return
        with self._reporting():
            self._writer.close()
            self._part.replace(self.path)

    def _open(self, schema: Any) -> Any:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.suffix == ".csv":
            return self._arrow.csv.CSVWriter(self._part, schema)
        return self._arrow.parquet.ParquetWriter(self._part, schema, compression="zstd")

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written: {error}; free some room, or write elsewhere"
            ) from error


def _pyarrow() -> ModuleType:
    try:
        import pyarrow as pa  # noqa: PLC0415 - heavy, and an extra
        import pyarrow.compute  # noqa: PLC0415
        import pyarrow.csv  # noqa: PLC0415
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise OutputError("tables need pyarrow: pip install 'mtc-sensor[tables]'") from error
    return pa  # type: ignore[no-any-return]


def _names(protocols: NDArray[np.uint8]) -> list[str]:
    return [_PROTOCOLS.get(number, str(number)) for number in protocols.tolist()]


def _ends(batch: Connections) -> dict[str, Any]:
    last = batch.last
    return {
        "uid": last.uid.astype(np.str_),
        "proto": np.array(_names(last.proto)),
        "orig_h": np.array(address_texts(last.orig_h)),
        "orig_p": last.orig_p,
        "resp_h": np.array(address_texts(last.resp_h)),
        "resp_p": last.resp_p,
    }


def _connection_table(pa: Any, batch: Connections) -> Any:
    rows, size = batch.rows(), len(batch)
    length = batch.ip_len.astype(np.float64)
    start = batch.start_us
    columns: dict[str, Any] = {
        **{name: pa.array(values) for name, values in _ends(batch).items()},
        "start": pa.array(start, pa.timestamp("us", "UTC")),
        "duration_s": (batch.time_us[batch.offsets[1:] - 1] - start) / 1e6,
    }
    for sender, mask in (("orig", ~batch.responder), ("resp", batch.responder)):
        columns[f"{sender}_packets"] = np.bincount(rows[mask], minlength=size)
        summed = np.bincount(rows[mask], weights=length[mask], minlength=size)
        columns[f"{sender}_ip_bytes"] = summed.astype(np.int64)
    lists = {
        "time_s": (batch.time_us - start[rows]) / 1e6,
        "responder": batch.responder.astype(np.uint8),
        "ip_len": batch.ip_len,
        "payload": batch.payload,
    }
    offsets = pa.array(batch.offsets, pa.int64())
    for name, values in lists.items():
        columns[name] = pa.LargeListArray.from_arrays(offsets, pa.array(values))
    return pa.table(columns)


def _packet_table(pa: Any, batch: Connections) -> Any:
    rows = batch.rows()
    relative = batch.time_us - batch.start_us[rows]
    columns: dict[str, Any] = {
        "timestamp": pa.array(batch.time_us, pa.timestamp("us", "UTC")),
        "time_s": relative / 1e6,
        "responder": batch.responder.astype(np.uint8),
    }
    for name, values in _ends(batch).items():
        columns[name] = pa.DictionaryArray.from_arrays(
            pa.array(rows, pa.int64()), pa.array(values)
        ).dictionary_decode()
    columns["ip_len"] = batch.ip_len
    columns["payload"] = batch.payload
    return pa.table(columns)


def _flat(pa: Any, table: Any) -> Any:
    """Write lists as text, which is all that CSV has."""
    for index, field in enumerate(table.schema):
        if pa.types.is_large_list(field.type):
            values = table.column(index).combine_chunks()
            text = pa.LargeListArray.from_arrays(values.offsets, values.values.cast(pa.string()))
            joined = pa.compute.binary_join(text.cast(pa.list_(pa.string())), " ")
            table = table.set_column(index, field.name, joined)
    return table
