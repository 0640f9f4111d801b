"""Where the kernel writes records, and how they become a `FlowBatch`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline
from mtc_sensor.capture.uid import uids
from mtc_sensor.flow import FlowBatch

_ROWS, _SAMPLES, _HEADS = 1 << 14, 1 << 17, 1 << 15

ROW = np.dtype(
    [
        ("orig_h", "i8", (2,)),
        ("resp_h", "i8", (2,)),
        ("start", "i8"),
        ("connection_start", "i8"),
        ("serial", "i8"),
        ("samples", "i8"),
        ("heads", "i8"),
        ("orig_p", "u2"),
        ("resp_p", "u2"),
        ("kind", "u1"),
        ("proto", "u1"),
    ],
    align=True,
)


HEAD_OUT = np.dtype([("length", "u2"), ("l4", "u2")])


class Output(NamedTuple):
    """Records that became due: rows, and the samples and heads of all rows one after another."""

    used: NDArray[np.int64]  # (3,) rows, samples, heads in use
    reserve: NDArray[np.int64]  # (3,) what one step may need at most
    rows: NDArray[np.void]  # ROW
    samples: NDArray[np.int64]
    heads: NDArray[np.void]  # HEAD_OUT
    head_bytes: NDArray[np.uint8]


@inline
def output_has_room(out: Output) -> bool:
    """Tell whether whatever the next step emits finds room."""
    return bool(
        out.used[0] + out.reserve[0] <= len(out.rows)
        and out.used[1] + out.reserve[1] <= len(out.samples)
        and out.used[2] + out.reserve[2] <= len(out.heads)
    )


def new_output(min_packets: int, max_samples: int, head_packets: int, head_bytes: int) -> Output:
    """Return an empty output that takes several thousand records."""
    reserve = np.array(
        [
            min_packets + 4,
            2 * (max_samples + min_packets + head_packets),
            2 * head_packets,
        ],
        np.int64,
    )
    heads = _HEADS + int(reserve[2])
    return Output(
        used=np.zeros(3, np.int64),
        reserve=reserve,
        rows=np.empty(_ROWS + int(reserve[0]), ROW),
        samples=np.empty(_SAMPLES + int(reserve[1]), np.int64),
        heads=np.empty(heads, HEAD_OUT),
        head_bytes=np.empty((heads, head_bytes), np.uint8),
    )


def flow_batch(output: Output) -> FlowBatch:
    """Return a copy of what the output holds."""
    rows, samples, heads = output.used
    row = output.rows[:rows]
    orig_h, resp_h = (np.array(row[name], order="C") for name in ("orig_h", "resp_h"))
    ends = [
        np.column_stack([words.view(np.uint64), row[port].astype(np.uint64)])
        for words, port in ((orig_h, "orig_p"), (resp_h, "resp_p"))
    ]
    return FlowBatch(
        uid=uids(
            (ends[0], ends[1]),
            row["proto"],
            row["connection_start"].astype(np.uint64),
            row["serial"].astype(np.uint64),
        ),
        kind=row["kind"].copy(),
        proto=row["proto"].copy(),
        orig_h=orig_h.view(np.uint8),
        resp_h=resp_h.view(np.uint8),
        orig_p=row["orig_p"].copy(),
        resp_p=row["resp_p"].copy(),
        start_us=row["start"].copy(),
        samples=output.samples[:samples].copy().view(np.uint64),
        sample_offsets=_offsets(row["samples"]),
        head=output.head_bytes[:heads].copy(),
        head_len=output.heads["length"][:heads].copy(),
        head_l4=output.heads["l4"][:heads].copy(),
        head_offsets=_offsets(row["heads"]),
        tokens=np.empty(0, np.uint8),
        token_offsets=np.zeros(rows + 1, np.int64),
    )


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
