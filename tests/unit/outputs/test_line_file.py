"""Whole lines or none, and errors that say what to do."""

import subprocess
import sys
from pathlib import Path

import pytest

from mtc_sensor.errors import OutputError
from mtc_sensor.outputs.line_file import LineFile

LIMITED = """
import resource, sys
from pathlib import Path
from mtc_sensor.errors import OutputError
from mtc_sensor.outputs.line_file import LineFile

resource.setrlimit(resource.RLIMIT_FSIZE, (25, 25))
log = LineFile(Path(sys.argv[1]))
log.append(["first", "second"])
for _ in range(2):
    try:
        log.append(["third", "fourth", "fifth"])
    except OutputError as fault:
        print(fault)
log.close()
"""

FULL = [
    *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"),
    'mount -t tmpfs -o size=64k tmpfs /mnt && "$0" -c "$1" && cat /mnt/x.log',
    sys.executable,
    """
from pathlib import Path
from mtc_sensor.errors import OutputError
from mtc_sensor.outputs.line_file import LineFile

log = LineFile(Path("/mnt/x.log"))
try:
    while True:
        log.append(["0123456789"] * 100)
except OutputError as fault:
    print(fault)
""",
]


def test_lines_are_appended_to_an_emptied_file(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("old\n")
    with LineFile(path) as log:
        log.append(["ñ", "b"])
        log.append([])
        log.append(["c"])
        assert log.writable
    log.close()
    assert not log.writable
    assert path.read_bytes() == "ñ\nb\nc\n".encode()


def test_when_room_ends_inside_a_line_the_whole_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    # 13 bytes, then 6 of "third\n" fit into 25, and 6 of the 7 of "fourth\n".
    assert path.read_text() == "first\nsecond\nthird\n"
    message = f"{path}: cannot write: File too large: raise the limit on file sizes (ulimit -f)"
    assert [line.startswith(message) for line in run.stdout.splitlines()] == [True, True]


def test_a_full_disk_names_file_and_remedy() -> None:
    log = LineFile(Path("/dev/full"))
    with pytest.raises(
        OutputError, match=r"^/dev/full: cannot write: No space left on device: free"
    ):
        log.append(["x"])
    assert not log.writable
    log.close()


def test_a_full_file_system_keeps_whole_lines() -> None:
    run = subprocess.run(FULL, capture_output=True, text=True, check=False)
    if "cannot write" not in run.stdout:
        pytest.skip(f"needs user namespaces to mount a small tmpfs: {run.stderr.strip()}")
    fault, *lines = run.stdout.splitlines(keepends=True)
    assert "/x.log: cannot write: No space left on device: free space there" in fault
    assert lines == ["0123456789\n"] * (65536 // 11)


def test_faults_on_opening(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none/x\.log: cannot open: .*: make the folder first"):
        LineFile(tmp_path / "none" / "x.log")
    with pytest.raises(OutputError, match="cannot open: Is a directory: it is a folder"):
        LineFile(tmp_path)
