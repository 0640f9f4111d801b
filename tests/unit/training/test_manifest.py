from pathlib import Path

import pytest

from mtc_sensor.errors import DataError
from mtc_sensor.training.manifest import Source, read_manifest


def write(folder: Path, text: str) -> Path:
    (folder / "manifest.csv").write_text(text)
    return folder


def test_two_columns_are_enough(tmp_path: Path) -> None:
    write(tmp_path, "label,path,remark\nbenign,a.pcap,x\nmalware,b.pcap,\n")
    for where in (tmp_path, tmp_path / "manifest.csv"):
        manifest = read_manifest(where)
        assert manifest.sources == (Source("a.pcap", "benign"), Source("b.pcap", "malware"))
        assert manifest.sources[0].split == "train"
        assert manifest.path(manifest.sources[0]) == tmp_path / "a.pcap"
    assert len(manifest.sha256) == 64


def test_all_columns_and_some_sets(tmp_path: Path) -> None:
    write(
        tmp_path,
        "path,set,label,family,source,capture_date,split,sha1\n"
        "a.pcap,one,benign,web,o/r,2020-01-02,,0\nb.pcap,two,malware,zeus,o/r,2021-01-02,val,0\n",
    )
    assert read_manifest(tmp_path, ["two"]).sources == (
        Source("b.pcap", "malware", "two", "zeus", "o/r", "2021-01-02", "val"),
    )
    assert read_manifest(tmp_path).sources[0].split == "train"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,family\na.pcap,x\n", "line 1: no column 'label' among 'path, family'"),
        ("", "line 1: no column 'path'"),
        ("path,label\na.pcap,\n", "line 2: column label is empty: fill it in"),
        ("path,label\na,b\n../a.pcap,x\n", "line 3: column path: '../a.pcap' leaves"),
        ("path,label\n", "no line: add one for each file"),
        ('path,label\n"a,b\n', "line 2: unexpected end of data: correct the CSV"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(write(tmp_path, text))
    assert str(tmp_path / "manifest.csv") in str(caught.value)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give a CSV with the columns path and label"):
        read_manifest(tmp_path / "x")
    with pytest.raises(DataError, match="no line of the sets two"):
        read_manifest(write(tmp_path, "path,label,set\na,b,one\n"), ["two"])


def test_what_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(b"path,label\n\xff\xfe,x\n")
    with pytest.raises(DataError, match="byte 11 is not UTF-8"):
        read_manifest(tmp_path)
