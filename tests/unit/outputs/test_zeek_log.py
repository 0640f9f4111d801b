"""`mtc.log` and `notice.log`: literal files, and what other people's readers make of them."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from zat.log_to_dataframe import LogToDataFrame
from zat.zeek_log_reader import ZeekLogReader

from mtc_sensor.errors import OutputError
from mtc_sensor.outputs.notice import notice_columns
from mtc_sensor.outputs.zeek_log import (
    MTC_LOG,
    NOTICE_LOG,
    ZeekLog,
    verdict_columns,
    verdict_json,
)
from mtc_sensor.verdict import Verdicts
from tests.unit.outputs.conftest import Make

OPENED = time.mktime((2024, 2, 29, 23, 59, 58, 0, 0, -1))

MTC = (
    "#separator \\x09\n"
    "#set_separator\t,\n"
    "#empty_field\t(empty)\n"
    "#unset_field\t-\n"
    "#path\tmtc\n"
    "#open\t2024-02-29-23-59-58\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tmodel\tlabel\tscore"
    "\tmalicious\tunknown\tkind\tpackets\tlatency\tdetail\n"
    "#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tstring\tdouble"
    "\tbool\tbool\tstring\tcount\tinterval\tstring\n"
    "1700000001.250000\tCHhAvVGS1DHFjwGM9\t10.0.0.5\t49152\t192.0.2.80\t443\ttcp\tbyte-cnn"
    "\ttrickbot\t0.9375\tT\tF\tearly\t8\t-\ttrickbot=0.938\n"
    "1700000001.250000\tCHhAvVGS1DHFjwGM9\t2001:db8::5\t135\t2001:db8::6\t136\ticmp\tbyte-cnn"
    "\tunknown\t0.333333\tF\tT\tearly\t8\t0.000250\tunknown=0.333\n"
    "#close\t2024-02-29-23-59-58\n"
)

NOTICE_HEADER = (
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tfuid\tfile_mime_type\tfile_desc"
    "\tproto\tnote\tmsg\tsub\tsrc\tdst\tp\tn\tpeer_descr\tactions\temail_dest\tsuppress_for"
    "\tremote_location.country_code\tremote_location.region\tremote_location.city"
    "\tremote_location.latitude\tremote_location.longitude\n"
    "#types\ttime\tstring\taddr\tport\taddr\tport\tstring\tstring\tstring"
    "\tenum\tenum\tstring\tstring\taddr\taddr\tport\tcount\tstring\tset[enum]\tset[string]\tinterval"
    "\tstring\tstring\tstring\tdouble\tdouble\n"
)


def two(make: Make) -> Verdicts:
    other = make(
        orig="2001:db8::5",
        resp="2001:db8::6",
        orig_p=135,
        resp_p=136,
        proto=58,
        label="unknown",
        score=1 / 3,
        malicious=False,
        unknown=True,
        latency_us=250,
    )
    return Verdicts.concat([make(), other])


def write_verdicts(path: Path, verdicts: Verdicts) -> None:
    with ZeekLog(path, MTC_LOG, clock=lambda: OPENED) as log:
        log.write(verdict_columns(verdicts))


def test_mtc_log_to_the_byte(tmp_path: Path, make: Make) -> None:
    write_verdicts(tmp_path / "mtc.log", two(make))
    assert (tmp_path / "mtc.log").read_text() == MTC


def test_json_lines_to_the_byte(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "mtc.log"
    with ZeekLog(path, MTC_LOG, json=True) as log:
        log.write(verdict_columns(two(make)))
    first, second = path.read_text().splitlines()
    assert first == (
        '{"ts":1700000001.25,"uid":"CHhAvVGS1DHFjwGM9","id.orig_h":"10.0.0.5","id.orig_p":49152,'
        '"id.resp_h":"192.0.2.80","id.resp_p":443,"proto":"tcp","model":"byte-cnn",'
        '"label":"trickbot","score":0.9375,"malicious":true,"unknown":false,"kind":"early",'
        '"packets":8,"detail":"trickbot=0.938"}'
    )
    assert json.loads(second)["latency"] == 0.00025
    assert verdict_json(two(make)) == [first, second]


def test_notice_log_to_the_byte(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "notice.log"
    with ZeekLog(path, NOTICE_LOG) as log:
        log.write(notice_columns(make()))
    lines = path.read_text().splitlines(keepends=True)
    assert "".join(lines[6:8]) == NOTICE_HEADER
    assert lines[4] == "#path\tnotice\n"
    assert lines[8] == (
        "1700000001.250000\tCHhAvVGS1DHFjwGM9\t10.0.0.5\t49152\t192.0.2.80\t443\t-\t-\t-"
        "\ttcp\tMTC::Malicious_Flow"
        "\t10.0.0.5 talks to 192.0.2.80 port 443/tcp like trickbot: model byte-cnn gives malicious "
        "traffic a probability of 0.938"
        "\tearly record, 8 packets in 1.250 s: trickbot=0.938"
        "\t10.0.0.5\t192.0.2.80\t443\t-\t-\tNotice::ACTION_LOG\t(empty)\t3600.000000\t-\t-\t-\t-\t-\n"
    )


def test_without_rows_a_log_is_header_and_footer(tmp_path: Path) -> None:
    with ZeekLog(tmp_path / "mtc.log", MTC_LOG, clock=lambda: OPENED):
        pass
    lines = MTC.splitlines(keepends=True)
    assert (tmp_path / "mtc.log").read_text() == "".join([*lines[:8], lines[-1]])


def test_zat_reads_types_and_values(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "mtc.log"
    write_verdicts(path, two(make))
    frame = LogToDataFrame().create_dataframe(str(path), ts_index=False)
    assert frame["uid"].tolist() == ["CHhAvVGS1DHFjwGM9"] * 2
    assert frame["score"].tolist() == [0.9375, 0.333333]
    assert frame["malicious"].tolist() == ["T", "F"]
    assert frame["ts"].tolist()[0].timestamp() == 1700000001.25
    rows = list(ZeekLogReader(str(path)).readrows())
    assert [row["label"] for row in rows] == ["trickbot", "unknown"]
    assert [row["packets"] for row in rows] == [8, 8]
    assert rows[1]["latency"].total_seconds() == 0.00025


def test_zat_reads_notices(tmp_path: Path, make: Make) -> None:
    with ZeekLog(tmp_path / "notice.log", NOTICE_LOG) as log:
        log.write(notice_columns(make()))
    row = next(iter(ZeekLogReader(str(tmp_path / "notice.log"), strict=True).readrows()))
    assert row["note"] == "MTC::Malicious_Flow"
    assert (row["p"], row["suppress_for"].total_seconds()) == (443, 3600)


def test_zeek_cut_reads_it(tmp_path: Path, make: Make) -> None:
    if shutil.which("zeek-cut") is None:
        pytest.skip("zeek-cut is not on the PATH: what it makes of mtc.log is not shown")
    write_verdicts(tmp_path / "mtc.log", two(make))
    cut = subprocess.run(
        ["zeek-cut", "id.orig_h", "label", "latency"],
        input=(tmp_path / "mtc.log").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert cut.stdout == b"10.0.0.5\ttrickbot\t-\n2001:db8::5\tunknown\t0.000250\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_full_disk_is_one_error_and_closing_is_quiet(make: Make, as_json: bool) -> None:
    with (
        pytest.raises(OutputError, match="/dev/full: cannot write: No space left"),
        ZeekLog(Path("/dev/full"), MTC_LOG, json=as_json) as log,
    ):
        log.write(verdict_columns(make()))
