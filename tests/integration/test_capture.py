"""`mtc-sensor capture` on the loopback interface, with real packets."""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtc_sensor.cli import run


def _may_capture() -> bool:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    except PermissionError:
        return False
    return True


privileged = pytest.mark.skipif(not _may_capture(), reason="needs the privilege CAP_NET_RAW")


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server on the loopback that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(4096):
                    connection.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(timeout=5)


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start a capture and wait until it listens."""
    command = [sys.executable, "-m", "mtc_sensor", "capture", "-i", "lo", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stderr is not None
    assert select.select([process.stderr], [], [], 90)[0], "does not start to listen"
    assert process.stderr.readline() == "listening on lo; ^C ends\n"
    return process


def talk(port: int, rounds: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        for _ in range(rounds):
            client.sendall(b"x" * 300)
            client.recv(4096)


@privileged
def test_verdicts_come_as_json_lines_and_sigterm_ends_cleanly(echo: int, tmp_path: Path) -> None:
    out = tmp_path / "logs"
    process = start("--filter", f"tcp port {echo}", "--out", str(out))
    talk(echo, 10)
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 60)[0], "no verdict"
    first = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.readlines()  # communicate() would lose what readline() has buffered
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    verdicts = [first, *map(json.loads, rest)]
    assert {v["id.resp_p"] for v in verdicts} == {echo}
    early = next(v for v in verdicts if v["kind"] == "early")
    assert early["packets"] == 8
    assert 0 <= early["latency"] < 60
    assert any(v["kind"] == "final" for v in verdicts)
    rows = [x for x in (out / "mtc.log").read_text().splitlines() if not x.startswith("#")]
    assert len(rows) == len(verdicts)
    assert "0 packets dropped by the kernel" in errors


@privileged
def test_a_short_flow_is_judged_after_5_s_of_silence(echo: int) -> None:
    process = start("--filter", f"tcp port {echo}", "--models", "byte-cnn", "--duration", "60")
    with socket.create_connection(("127.0.0.1", echo)) as client:
        client.sendall(b"x" * 300)
        client.recv(4096)
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 60)[0], "no verdict"
        verdict = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert verdict["kind"] == "early"
    assert 4 <= verdict["packets"] < 8
    assert 5 <= verdict["latency"] < 60


def test_an_unknown_interface_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["capture", "-i", "nope0"]) == 1
    error = capsys.readouterr().err
    assert "nope0: no such interface" in error
    assert "lo" in error


@privileged
def test_a_filter_that_does_not_compile_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["capture", "-i", "lo", "--filter", "tcp prot 80"]) == 1
    assert "tcp prot 80" in capsys.readouterr().err


def test_without_the_privilege_it_says_what_to_do() -> None:
    script = (
        "import os, sys\n"
        "from mtc_sensor.capture.live import Interface\n"
        "from mtc_sensor.errors import CaptureError\n"
        "import scapy.arch.linux\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(int(sys.argv[1])); "
        "os.setuid(int(sys.argv[1]))\n"
        "try:\n    Interface('lo')\n"
        "except CaptureError as error:\n    print(error)\n"
    )
    if os.getuid() != 0 and _may_capture():
        pytest.skip("this user may capture, and cannot give the privilege up")
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    command = [sys.executable, "-c", script, nobody]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("lo: not permitted to capture; run as root or grant CAP_NET_RAW")
