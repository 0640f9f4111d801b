import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.errors import CaptureError
from mtc_sensor.flow import FlowBatch, address_texts, unpack_samples
from mtc_sensor.training.flow_records import Ends, Packets, records
from mtc_sensor.training.times_sizes import read_arrays, read_joy, read_ode, read_signed_sizes

ANY = FlowSettings(min_packets=1)


def made(
    flow: list[int], time_us: list[int], responder: list[bool], settings: FlowSettings = ANY
) -> FlowBatch:
    size = np.arange(len(flow))
    packets = Packets(np.array(flow), np.array(time_us), np.array(responder), size + 40, size)
    return records(packets, Ends.unknown(max(flow) + 1), settings)


def test_flows_become_blocks_as_in_a_capture() -> None:
    time = [0, 59_999_999, 61_000_000, 62_500_000, 0]
    batch = made([0, 0, 0, 0, 1], time, [False, True, False, True, False])
    assert batch.packets.tolist() == [2, 2, 1]
    assert batch.uid.tolist() == [b"F0", b"F0", b"F1"]
    assert batch.start_us.tolist() == [0, 61_000_000, 0]
    taken = unpack_samples(batch.samples)
    assert taken.offset_us.tolist() == [0, 59_999_999, 0, 1_500_000, 0]
    assert taken.payload.tolist() == [0, 1, 2, 3, 4]
    assert taken.ip_len.tolist() == [40, 41, 42, 43, 44]
    assert taken.responder.tolist() == [False, True, False, True, False]


def test_a_block_holds_five_hundred_packets() -> None:
    batch = made([0] * 1500, list(range(1500)), [False] * 1500)
    assert batch.packets.tolist() == [500]


def test_small_flows_give_nothing() -> None:
    batch = made([0, 0, 0, 1, 1], [0] * 5, [False] * 5, FlowSettings(min_packets=3))
    assert batch.packets.tolist() == [3]
    assert batch.uid.tolist() == [b"F0"]


JOY = {"pr": 6, "sa": "10.0.0.1", "sp": 1234, "da": "2001:db8::1", "dp": 443, "time_start": 7.5}


def joy(folder: Path, lines: list[object]) -> Path:
    with gzip.open(folder / "a.json.gz", "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return folder / "a.json.gz"


def test_joy_lines(tmp_path: Path) -> None:
    packets = [{"b": 41, "ipt": 0, "dir": ">"}, {"b": 456, "ipt": 32, "dir": "<"}]
    udp = JOY | {"pr": 17, "packets": packets[:1]}
    path = joy(tmp_path, [{"version": 1}, {"packets": []}, JOY | {"packets": packets}, udp])
    ((batch, labels),) = read_joy(path, ANY)
    assert labels is None
    assert batch.packets.tolist() == [2, 1]
    taken = unpack_samples(batch.samples)
    assert taken.payload.tolist() == [41, 456, 41]
    assert taken.ip_len.tolist() == [81, 496, 69]
    assert taken.offset_us.tolist() == [0, 32_000, 0]
    assert taken.responder.tolist() == [False, True, False]
    assert address_texts(batch.orig_h) == ["10.0.0.1"] * 2
    assert address_texts(batch.resp_h) == ["2001:db8::1"] * 2
    assert batch.orig_p.tolist() == [1234] * 2
    assert batch.start_us.tolist() == [7_500_000] * 2


@pytest.mark.parametrize(
    "flow",
    [
        [],
        JOY | {"packets": [{"b": 1}]},
        JOY | {"packets": 7},
        JOY | {"packets": [{"b": 1, "ipt": 0, "dir": ">"}], "sa": "nobody"},
        JOY | {"packets": [{"b": 1, "ipt": 0, "dir": ">"}], "sp": 70_000},
        JOY | {"packets": [{"b": 1, "ipt": 0, "dir": ">"}], "pr": "tcp"},
        JOY | {"packets": [{"b": 1, "ipt": 0, "dir": ">"}], "time_start": 1e300},
        JOY | {"packets": [{"b": 1, "ipt": 1e300, "dir": ">"}]},
        JOY | {"packets": [{"b": 10**30, "ipt": 0, "dir": ">"}]},
    ],
)
def test_a_line_that_joy_would_not_write(tmp_path: Path, flow: object) -> None:
    with pytest.raises(CaptureError, match=r"a\.json\.gz: line 2: not a flow as joy writes it"):
        list(read_joy(joy(tmp_path, [{"version": 1}, flow]), ANY))


def test_a_gzip_that_is_cut_off(tmp_path: Path) -> None:
    path = joy(tmp_path, [JOY] * 100)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CaptureError, match="cannot be read to its end"):
        list(read_joy(path, ANY))


def test_ucdavis_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(
        path,
        name=np.array(["f", "g"]),
        start=np.array([10.0, 20.0]),
        off=np.array([0, 2, 3]),
        t=np.array([0.0, 0.25, 0.0], np.float32),
        size=np.array([-1412, 1412, -74], np.int16),
    )
    ((batch, _),) = read_arrays(path, ANY)
    taken = unpack_samples(batch.samples)
    assert taken.payload.tolist() == [1350, 1350, 12]
    assert taken.ip_len.tolist() == [1398, 1398, 60]
    assert taken.offset_us.tolist() == [0, 250_000, 0]
    assert taken.responder.tolist() == [False, True, False]
    assert batch.start_us.tolist() == [10_000_000, 20_000_000]


@pytest.mark.parametrize(
    "arrays",
    [
        {"off": [0, 2], "t": [0.0], "size": [1], "start": [0.0]},
        {"off": [0, 1], "t": [0.0], "size": [1], "start": [0.0, 1.0]},
        {"off": [0, 1, 0, 1], "t": [0.0], "size": [1], "start": [0.0] * 3},
        {"off": [0, 1], "t": [np.nan], "size": [1], "start": [0.0]},
        {"off": [0, 1], "t": ["x"], "size": [1], "start": [0.0]},
        {"off": [0, 1], "t": [[0.0]], "size": [1], "start": [0.0]},
        {"off": [], "t": [], "size": [], "start": []},
        {"off": [0, 1], "t": [None], "size": [1], "start": [0.0]},
        {"off": [0, 1]},
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, list[object]]) -> None:
    path = tmp_path / "a.npz"
    columns: dict[str, Any] = {name: np.array(values) for name, values in arrays.items()}
    np.savez(path, **columns)
    with pytest.raises(CaptureError, match=r"a\.npz: "):
        list(read_arrays(path, ANY))


def test_nonsense_for_arrays(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"nonsense")
    with pytest.raises(CaptureError, match=r"a\.npz: "):
        list(read_arrays(tmp_path / "a.npz", ANY))


def signed_sizes(folder: Path, rows: Sequence[tuple[object, ...]]) -> Path:
    with (folder / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("flow", "block", "arrival_ms", "signed_size"), *rows])
    return folder / "a.csv"


def test_signed_sizes(tmp_path: Path) -> None:
    one, two = "9_10.0.0.1_1234_10.0.0.2_443_TCP", "10_10.0.0.1_9_10.0.0.3_443_UDP"
    rows = [(one, 1, 5000, -52), (one, 1, 5003, 1480), (two, 1, 9000, -40), (one, 2, 5004, -40)]
    ((batch, _),) = read_signed_sizes(signed_sizes(tmp_path, rows), ANY)
    by_port = batch.take(np.argsort(batch.orig_p))
    assert by_port.proto.tolist() == [17, 6]
    assert by_port.start_us.tolist() == [9_000_000, 5_000_000]
    taken = unpack_samples(by_port.samples)
    assert taken.ip_len.tolist() == [40, 52, 1480, 40]
    assert taken.payload.tolist() == [12, 12, 1440, 0]
    assert taken.offset_us.tolist() == [0, 0, 3000, 4000]
    assert taken.responder.tolist() == [False, False, True, False]
    assert address_texts(by_port.resp_h) == ["10.0.0.3", "10.0.0.2"]


@pytest.mark.parametrize("row", [("x", 1, 2, 3), ("9_a_1_b_2_TCP", 1, 2, 3), ("x", 1), ()])
def test_rows_of_something_else(tmp_path: Path, row: tuple[object, ...]) -> None:
    with pytest.raises(CaptureError, match=r"a\.csv: line \d+: not flow, arrival_ms"):
        list(read_signed_sizes(signed_sizes(tmp_path, [row, ("y", 1, "z", 1)]), ANY))


def test_ode_flows_and_the_classes_beside_them(tmp_path: Path) -> None:
    x = np.zeros((2, 2, 20))
    x[0, :, :3] = np.array([[40, 1500, 40], [2.5, 2.75, 3.5]])
    x[1, 0, 0] = 60
    np.save(tmp_path / "x_train.npy", x)
    np.save(tmp_path / "y_train.npy", np.array([4.0, 1.0]))
    ((batch, labels),) = read_ode(tmp_path / "x_train.npy", ANY)
    assert batch.packets.tolist() == [3, 1]
    assert unpack_samples(batch.samples).offset_us.tolist() == [0, 250_000, 1_000_000, 0]
    assert labels is not None
    assert labels.tolist() == ["4", "1"]
    np.save(tmp_path / "y_train.npy", np.array([4.0]))
    with pytest.raises(CaptureError, match="one class each"):
        list(read_ode(tmp_path / "x_train.npy", ANY))
