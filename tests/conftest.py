"""What all tests share: where the data is, what is skipped without it, how Hypothesis runs."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "samples" / "demo.pcap"

# Small models lose more time to threads that wait for each other than threads save.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The first call of a compiled function takes seconds, and machines are shared.
settings.register_profile("mtc", deadline=None)
settings.load_profile("mtc")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give long tests more time than the others have (`timeout` in pyproject.toml)."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(900))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Keep what the markers say: no Zeek, no test of it; no long test unless asked for."""
    if item.get_closest_marker("zeek") and shutil.which("zeek") is None:
        required = os.environ.get("MTC_REQUIRE_ZEEK") == "1"
        (pytest.fail if required else pytest.skip)("no zeek on the PATH")
    if item.get_closest_marker("long") and os.environ.get("MTC_LONG") != "1":
        pytest.skip("takes minutes; runs with MTC_LONG=1")


@pytest.fixture(autouse=True)
def package_logger() -> Iterator[None]:
    """Leave the package's logger as it was: commands configure it, and caplog hears its root."""
    ours = logging.getLogger("mtc_sensor")
    before = ours.level, ours.propagate, list(ours.handlers)
    yield
    ours.level, ours.propagate, ours.handlers[:] = before


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of labelled captures; skips loudly where there is none."""
    folder = Path(os.environ.get("MTC_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"{folder} holds no labelled captures (set MTC_DATA)")
    return folder
