"""The command line as a user meets it: what it prints, writes and returns."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from mtc_sensor.cli import run
from mtc_sensor.models.bundle import bundle_path
from tests.conftest import SAMPLE
from tests.unit.capture.build import block, pcap_bytes, pcap_header, pcapng_bytes

PACKETS = 5918
FLOWS = 228


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.fixture(scope="module")
def summary() -> dict[str, object]:
    with redirect_stdout(io.StringIO()) as out:
        assert run(["replay", str(SAMPLE), "--json"]) == 0
    found = json.loads(out.getvalue())
    assert isinstance(found, dict)
    return found


class TestReplay:
    def test_json_is_one_object_with_everything(self, summary: dict[str, object]) -> None:
        assert summary["packets"] == PACKETS
        assert summary["flows"] == FLOWS
        assert summary["bytes"] == SAMPLE.stat().st_size - 24 - 16 * PACKETS
        assert set(summary["records"]) == {"early", "block", "final"}  # type: ignore[call-overload]
        assert summary["errors"] == []
        assert summary["notices"] == 2

    def test_each_record_that_a_model_judges_has_a_verdict(
        self, summary: dict[str, object], tmp_path: Path
    ) -> None:
        assert run(["replay", str(SAMPLE), "--out", str(tmp_path)]) == 0
        rows = [line for line in lines(tmp_path / "mtc.log") if not line.startswith("#")]
        assert len(rows) == sum(summary["verdicts"].values())  # type: ignore[attr-defined]

    def test_the_emulated_beacon_is_the_notice(self, tmp_path: Path) -> None:
        assert run(["replay", str(SAMPLE), "--out", str(tmp_path), "--json-logs"]) == 0
        notices = [json.loads(line) for line in lines(tmp_path / "notice.log")]
        assert sorted(notice["msg"].split()[9] for notice in notices) == ["byte-cnn", "malware"]
        for notice in notices:
            assert notice["note"] == "MTC::Malicious_Flow"
            assert (notice["src"], notice["dst"]) == ("10.20.0.66", "203.0.113.77")
            assert notice["suppress_for"] == 3600.0

    def test_the_summary_shows_verdicts_notices_and_talkers(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["replay", str(SAMPLE)]) == 0
        shown = capsys.readouterr().out
        for expected in ("5,918 packets", "228 flows", "Verdicts", "Top talkers", "Notices: 2,"):
            assert expected in shown

    def test_suppression_can_be_turned_off(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["replay", str(SAMPLE), "--json", "--suppress-for", "0"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["suppressed"] == 0
        assert found["notices"] >= 10

    def test_logs_are_not_overwritten_unless_forced(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "mtc.log").write_text("precious")
        assert run(["replay", str(SAMPLE), "--out", str(tmp_path)]) == 1
        assert "mtc.log: already there" in capsys.readouterr().err
        assert (tmp_path / "mtc.log").read_text() == "precious"
        assert run(["replay", str(SAMPLE), "--out", str(tmp_path), "--force"]) == 0
        assert lines(tmp_path / "mtc.log")[-1].startswith("#close")

    def test_ecs_lines_are_written_on_request(self, tmp_path: Path) -> None:
        assert run(["replay", str(SAMPLE), "--out", str(tmp_path), "--ecs"]) == 0
        events = [json.loads(line) for line in lines(tmp_path / "ecs.ndjson")]
        assert any(event["event"]["kind"] == "alert" for event in events)

    @pytest.mark.slow
    def test_workers_change_nothing(self, tmp_path: Path) -> None:
        for name in ("a", "b", "c"):
            shutil.copy(SAMPLE, tmp_path / f"{name}.pcap")
        for workers in ("1", "2"):
            out = str(tmp_path / workers)
            command = ["replay", str(tmp_path), "--models", "byte-cnn", "--out", out]
            assert run([*command, "--workers", workers]) == 0
        for name in ("mtc.log", "notice.log"):
            one, two = (
                [line for line in lines(tmp_path / workers / name) if not line.startswith("#")]
                for workers in ("1", "2")
            )
            assert one == two

    def test_compressed_from_standard_input(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        readable, writable = os.pipe()

        def write() -> None:
            with os.fdopen(writable, "wb") as pipe:
                pipe.write(gzip.compress(SAMPLE.read_bytes(), 1))

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        with os.fdopen(readable) as pipe:
            monkeypatch.setattr(sys, "stdin", pipe)
            assert run(["replay", "-", "--json"]) == 0
        thread.join(60)
        shown = capsys.readouterr()
        assert json.loads(shown.out)["packets"] == PACKETS
        assert shown.err == ""


FRAME = bytes(12) + b"\x08\x00" + bytes(46)
ONE = [(1_000_000, FRAME)]

BAD_FILES = {
    "empty": (b"", "empty"),
    "text": (b"hello, this is no capture\n", "hello"),
    "cut inside a record": (pcap_bytes(ONE * 3)[:-10], "2 packets"),
    "a huge record": (pcap_bytes(ONE) + struct.pack("<IIII", 1, 0, 2**32 - 1, 60), "4294967295"),
    "cut inside a block": (pcapng_bytes(ONE * 3)[:-10], "inside a block"),
    "an unknown link type": (pcap_header(link=250) + pcap_bytes(ONE)[24:], "link type 250"),
    "a bad block length": (
        pcapng_bytes(ONE) + block(6, b"")[:4] + struct.pack("<I", 7) + bytes(24),
        "7",
    ),
}


class TestBadInput:
    @pytest.mark.parametrize("name", BAD_FILES)
    def test_a_bad_file_is_named_and_explained(
        self, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        content, expected = BAD_FILES[name]
        path = tmp_path / "bad.pcap"
        path.write_bytes(content)
        assert run(["replay", str(path)]) == 1
        error = capsys.readouterr().err
        assert str(path) in error
        assert expected in error
        assert "Traceback" not in error

    def test_what_was_before_the_damage_is_judged_and_logged(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "cut.pcap"
        path.write_bytes(SAMPLE.read_bytes()[:1_000_000])
        assert run(["replay", str(path), "--out", str(tmp_path / "out"), "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert found["packets"] > 1000
        log = lines(tmp_path / "out" / "mtc.log")
        assert log[-1].startswith("#close")
        assert len([x for x in log if not x.startswith("#")]) == sum(found["verdicts"].values())

    def test_one_bad_file_does_not_stop_the_others(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "bad.pcap").write_bytes(BAD_FILES["a huge record"][0])
        shutil.copy(SAMPLE, tmp_path / "good.pcap")
        assert run(["replay", str(tmp_path), "--json"]) == 1
        shown = capsys.readouterr()
        assert json.loads(shown.out)["flows"] == FLOWS
        assert "bad.pcap" in shown.err

    def test_a_folder_without_captures(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "notes.txt").write_text("nothing here")
        assert run(["replay", str(tmp_path)]) == 1
        assert str(tmp_path) in capsys.readouterr().err

    def test_a_missing_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["replay", str(tmp_path / "none.pcap")]) == 1
        assert "none.pcap" in capsys.readouterr().err

    def test_a_flipped_byte_in_a_bundle(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bundle = tmp_path / "bundle"
        shutil.copytree(bundle_path("byte-cnn"), bundle)
        weights = bytearray((bundle / "weights.safetensors").read_bytes())
        weights[-1] ^= 1
        (bundle / "weights.safetensors").write_bytes(weights)
        assert run(["replay", str(SAMPLE), "--models", str(bundle)]) == 1
        assert "weights_sha256" in capsys.readouterr().err

    def test_a_pickle_in_a_bundle(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        bundle = tmp_path / "bundle"
        shutil.copytree(bundle_path("byte-cnn"), bundle)
        (bundle / "weights.pkl").write_bytes(b"\x80\x04N.")
        assert run(["replay", str(SAMPLE), "--models", str(bundle)]) == 1
        assert "pickle" in capsys.readouterr().err

    def test_an_unknown_model(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["replay", str(SAMPLE), "--models", "byte-cmm"]) == 1
        assert "byte-cnn" in capsys.readouterr().err

    def test_a_full_disk_leaves_whole_lines(self, tmp_path: Path) -> None:
        script = (
            "import resource, signal, sys\n"
            "from mtc_sensor.cli import run\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
            "sys.exit(run(sys.argv[1:]))\n"
        )
        arguments = ["replay", str(SAMPLE), "--models", "byte-cnn"]
        arguments += ["--out", str(tmp_path / "out")]
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "mtc.log: cannot write" in done.stderr
        log = (tmp_path / "out" / "mtc.log").read_text()
        assert log.endswith("\n")
        assert len({line.count("\t") for line in log.splitlines()[8:]}) == 1

    def test_wrong_usage_is_2(self) -> None:
        assert run(["replay"]) == 2
        assert run(["nonsense"]) == 2


class TestExports:
    def test_flows_as_parquet(self, tmp_path: Path) -> None:
        out = tmp_path / "flows.parquet"
        assert run(["flows", str(SAMPLE), "--out", str(out)]) == 0
        table = pyarrow.parquet.read_table(out).to_pandas()
        assert len(table) == FLOWS
        assert table.orig_packets.sum() + table.resp_packets.sum() == PACKETS
        row = table.iloc[0]
        assert len(row.time_s) == len(row.ip_len) == row.orig_packets + row.resp_packets
        assert row.time_s[-1] == pytest.approx(row.duration_s)
        sent = row.ip_len[np.asarray(row.responder) == 0]
        assert sent.sum() == row.orig_ip_bytes

    def test_flows_as_csv_say_the_same(self, tmp_path: Path) -> None:
        for name in ("f.csv", "f.parquet"):
            assert run(["flows", str(SAMPLE), "--out", str(tmp_path / name)]) == 0
        with (tmp_path / "f.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        table = pyarrow.parquet.read_table(tmp_path / "f.parquet").to_pylist()
        assert [row["uid"] for row in rows] == [row["uid"] for row in table]
        assert rows[3]["ip_len"] == " ".join(map(str, table[3]["ip_len"]))

    def test_one_row_per_packet(self, tmp_path: Path) -> None:
        out = tmp_path / "packets.csv"
        assert run(["flows", str(SAMPLE), "--out", str(out), "--packets"]) == 0
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == PACKETS
        assert set(rows[0]) >= {"timestamp", "time_s", "responder", "orig_h", "resp_p", "ip_len"}

    def test_an_unknown_suffix(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["flows", str(SAMPLE), "--out", str(tmp_path / "f.xls")]) == 1
        assert ".parquet or .csv" in capsys.readouterr().err

    def test_flowpics_as_arrays_and_pictures(self, tmp_path: Path) -> None:
        arguments = ["flowpic", str(SAMPLE), "--out", str(tmp_path), "--top", "2"]
        assert run([*arguments, "--resolution", "32"]) == 0
        with (tmp_path / "index.csv").open(newline="") as file:
            index = list(csv.DictReader(file))
        assert len(index) >= 2
        image = np.load(tmp_path / f"{index[0]['file']}.npy")
        assert image.shape == (2, 32, 32)
        assert image.sum() == int(index[0]["packets"])
        picture = (tmp_path / f"{index[0]['file']}.png").read_bytes()
        assert picture.startswith(b"\x89PNG\r\n")


class TestModels:
    def test_list_show_verify(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["models", "list", "--json"]) == 0
        names = [row["name"] for row in json.loads(capsys.readouterr().out)]
        assert names == ["byte-cnn", "flowpic", "malware"]
        assert run(["models", "show", "byte-cnn"]) == 0
        assert "labels" in capsys.readouterr().out
        assert run(["models", "verify"]) == 0
        assert capsys.readouterr().out.count(": ok") == 3
