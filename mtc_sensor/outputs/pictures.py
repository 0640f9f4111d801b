"""FlowPics as files: arrays for notebooks, pictures for people, and an index of both."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mtc_sensor.errors import OutputError
from mtc_sensor.features.draw import draw_flowpic
from mtc_sensor.features.flowpic import FlowPicBuilder
from mtc_sensor.features.spec import FlowPicSpec
from mtc_sensor.flow import FlowBatch, Kind, address_text
from mtc_sensor.outputs.zeek_log import protocols

INDEX = "index.csv"


class Busiest:
    """The records with the most packets, of all that are added; early ones do not count."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.records = FlowBatch.empty(0)
        """At most `number`, the busiest first."""

    def add(self, batch: FlowBatch) -> None:
        """Consider the records of a batch."""
        both = FlowBatch.concat([self.records, batch.take(batch.kind != Kind.EARLY)])
        order = np.lexsort((both.uid, both.start_us, -both.packets))
        self.records = both.take(order[: self._number])


def write_pictures(records: FlowBatch, spec: FlowPicSpec, folder: Path) -> int:
    """Write ``<uid>-<start>.npy`` and ``.png`` for each window, and `INDEX`; return how many.

    Arrays are (channels, R, R) uint16. Raises OutputError if something cannot be written.
    """
    if not len(records):
        return 0
    lines = []
    builder = FlowPicBuilder(spec)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for row in range(len(records)):  # one picture at a time: 1500 x 1500 takes megabytes
            lines += _write_record(records.take([row]), builder, folder)
        with (folder / INDEX).open("w", newline="") as file:
            csv.writer(file).writerows([_COLUMNS, *lines])
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error}; choose another --out") from error
    return len(lines)


_COLUMNS = ("file", "uid", "proto", "orig_h", "orig_p", "resp_h", "resp_p", "start", "packets")


def _write_record(
    record: FlowBatch, builder: FlowPicBuilder, folder: Path
) -> list[tuple[object, ...]]:
    uid, proto = record.uid[0].decode(), protocols(record.proto)[0]
    orig, resp = address_text(record.orig_h[0]), address_text(record.resp_h[0])
    orig_p, resp_p = int(record.orig_p[0]), int(record.resp_p[0])
    spec, pictures = builder.spec, builder.build(record)
    lines: list[tuple[object, ...]] = []
    for image, window in zip(pictures.images, pictures.window.tolist(), strict=True):
        start_us = int(record.start_us[0]) + window * spec.window_us
        name = f"{uid}-{start_us}"
        np.save(folder / f"{name}.npy", image)
        title = f"{proto}  {orig} port {orig_p}  to  {resp} port {resp_p}"
        draw_flowpic(image, spec, folder / f"{name}.png", title)
        start = f"{start_us / 1e6:.6f}"
        lines.append((name, uid, proto, orig, orig_p, resp, resp_p, start, int(image.sum())))
    return lines
