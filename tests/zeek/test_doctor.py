"""`mtc-sensor doctor` beside a real Zeek: which exporters are there."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mtc_sensor.cli import run
from tests.zeek.beside import wait_for
from tests.zeek.test_standalone import ports, standalone

__all__ = ["ports"]  # a fixture

pytestmark = pytest.mark.zeek
HEARD = "zeek: 0 published, 0 settled, 0 shed"


@pytest.mark.parametrize("kind", ["zeromq", "websocket"])
def test_exporters_are_heard(
    kind: str, ports: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listen(kind, ports, tmp_path, capsys) == HEARD


@pytest.mark.parametrize("kind", ["zeromq", "websocket"])
def test_an_exporter_without_a_sensor_is_asked(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = "redef MTC::sensor_timeout = 0.1sec;\n"
    with standalone(tmp_path, silent) as ports:
        time.sleep(3)
        assert listen(kind, ports, tmp_path, capsys) == HEARD


def listen(
    kind: str, ports: dict[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> str:
    """Return what doctor says of the exporters, as soon as it hears one."""
    here = {name: f"127.0.0.1:{number}" for name, number in ports.items()}
    ways = {
        "kind": kind,
        "zeromq": {"xpub": f"tcp://{here['xpub']}", "xsub": f"tcp://{here['xsub']}"},
        "websocket": {"url": f"ws://{here['websocket']}/v1/messages/json"},
    }
    config = tmp_path / "sensor.yaml"
    config.write_text(json.dumps({"transport": ways}))
    command = ["doctor", "--json", "--config", str(config), "--wait", "2"]

    def hears() -> bool:
        capsys.readouterr()
        return run(command) == 0

    wait_for(hears)  # Zeek has just been started
    found = {each["check"]: each["detail"] for each in json.loads(capsys.readouterr().out)}
    return str(found["exporters of shard 0"])
