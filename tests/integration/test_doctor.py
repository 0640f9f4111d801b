"""`mtc-sensor doctor`: every finding, and the remedy of what is not well."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mtc_sensor import doctor
from mtc_sensor.cli import run
from tests.integration.exporter import ZeroMQBus

MACHINE = {"python", "memory", "torch", "compiled code", "models"}
BESIDE_ZEEK = {"zeek", "zeek scripts", "broker bindings"}


def findings(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, tuple[str, str]]]:
    code = run(["doctor", "--json", *arguments])
    said = json.loads(capsys.readouterr().out)
    return code, {each["check"]: (each["state"], each["detail"]) for each in said}


def test_what_is_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = findings(capsys)
    assert code == 0
    assert found.keys() == MACHINE | BESIDE_ZEEK
    assert {found[check][0] for check in MACHINE} == {"ok"}
    assert "byte-cnn (within " in found["models"][1]


def test_the_table_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [check for check in MACHINE if any(line.startswith(check) for line in lines)]


def test_zeek_is_not_needed_for_everything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, found = findings(capsys)
    assert code == 0
    assert found["zeek"][0] == found["broker bindings"][0] == "absent"
    assert "put the bin folder of your Zeek" in found["zeek"][1]
    assert "use transport.kind: websocket" in found["broker bindings"][1]


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("7.2.1", "absent"),
        ("8.0.0", "ok"),
        ("9.0.0-rc1", "ok"),
        ("10.0.0", "absent"),
        ("", "absent"),
    ],
)
def test_zeek_is_of_a_version_that_is_known(
    version: str, state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    zeek = tmp_path / "zeek"
    zeek.write_text(f"#!/bin/sh\necho zeek version {version}\n")
    zeek.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = doctor.Check("zeek", doctor.zeek_version, needed=False)()
    assert found.state == state
    assert str(zeek) in found.detail


def test_compiled_code_needs_a_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    code, found = findings(capsys)
    assert code == 1
    assert found["compiled code"][0] == "failed"
    assert "set NUMBA_CACHE_DIR" in found["compiled code"][1]


def test_a_configuration_that_is_refused_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "sensor.yaml"
    config.write_text("shard: [0]\n")
    code, found = findings(capsys, "--config", str(config))
    assert code == 1
    assert found["config"][0] == "failed"
    assert f"{config}" in found["config"][1]
    assert "shards" in found["config"][1]
    assert "bus" not in found


def test_a_bus_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "sensor.yaml"
    config.write_text("transport: {zeromq: {xpub: 'ipc:///nowhere/1', xsub: 'ipc:///nowhere/2'}}\n")
    code, found = findings(capsys, "--config", str(config), "--wait", "0.5")
    assert code == 1
    assert found["config"][0] == "ok"
    assert found["bus"][0] == "failed"
    assert "nothing answers at ipc:///nowhere/1" in found["bus"][1]


def test_a_bus_without_exporters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "sensor.yaml"
    with ZeroMQBus([], tmp_path) as bus:
        config.write_text(
            f"shards: [3]\ntransport: {{zeromq: {{xpub: '{bus.xpub}', xsub: '{bus.xsub}'}}}}\n"
        )
        code, found = findings(capsys, "--config", str(config), "--wait", "1")
    assert code == 1
    assert found["bus"] == ("ok", f"{bus.xpub} and {bus.xsub}")
    state, detail = found["exporters of shard 3"]
    assert state == "failed"
    assert "@load mtc-sensor" in detail
    assert "MTC::shards larger than 3" in detail
