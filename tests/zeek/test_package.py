"""The zkg package: what zkg reads, and that Zeek loads it the way zkg installs it."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from pathlib import Path

import pytest

from mtc_sensor.zeek import scripts
from tests.conftest import ROOT


@pytest.fixture
def package() -> configparser.SectionProxy:
    """What zkg reads; it uses the same parser."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "zkg.meta")
    assert parser.sections() == ["package"]
    return parser["package"]


def test_zkg_finds_what_it_reads(package: configparser.SectionProxy) -> None:
    assert package.keys() == {
        "description", "tags", "credits", "aliases", "script_dir", "depends", "test_command"
    }  # fmt: skip
    assert (ROOT / package["script_dir"] / "__load__.zeek").is_file()
    assert ROOT / package["script_dir"] == scripts()
    assert package["aliases"] == "mtc-sensor"  # it is loaded by that, whatever its folder is called
    assert len(package["description"].split()) > 5
    assert all(re.fullmatch(r"[a-z0-9 -]+", tag) for tag in package["tags"].split(", "))


def test_it_depends_on_versions_that_zkg_understands(package: configparser.SectionProxy) -> None:
    names_and_versions = package["depends"].split()
    assert dict(zip(names_and_versions[::2], names_and_versions[1::2], strict=True)) == {
        "zeek": ">=8.0.0"
    }


def test_its_tests_are_where_it_says(package: configparser.SectionProxy) -> None:
    folder, command = package["test_command"].removeprefix("cd ").split(" && ")
    assert (ROOT / folder / "btest.cfg").is_file()
    assert command.split()[0] == "btest"


@pytest.mark.zeek
@pytest.mark.parametrize("options", [[], ["-b"]])
def test_zeek_loads_the_folder_that_zkg_links(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "mtc-sensor").symlink_to(scripts())
    (tmp_path / "packages" / "__load__.zeek").write_text("@load ./mtc-sensor\n")
    found = subprocess.run(
        ["zeek-config", "--zeekpath"], capture_output=True, text=True, check=True
    )
    path = f"{tmp_path}:{tmp_path / 'packages'}:{found.stdout.strip()}"
    for load in ("packages", "mtc-sensor"):
        done = subprocess.run(
            ["zeek", *options, load, "-e", "print MTC::version;"],
            cwd=tmp_path,
            env=os.environ | {"ZEEKPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
