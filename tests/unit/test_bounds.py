"""Machine code reads and writes within its arrays, whatever bytes come: the unit tests once more.

numba looks at no index unless it is told to, before it compiles.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parent


@pytest.mark.long
@pytest.mark.parametrize("folder", ["capture", "features", "models", "wire"])
def test_machine_code_stays_in_its_arrays(folder: str, tmp_path: Path) -> None:
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path), "MTC_LONG": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(UNIT / folder)],
        env=os.environ | checked, cwd=UNIT.parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
