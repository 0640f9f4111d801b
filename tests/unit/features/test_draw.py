"""Pictures of FlowPics: what is in the file, and what is said when there can be none."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mtc_sensor.errors import MtcError, OutputError
from mtc_sensor.features.draw import PIXELS, draw_flowpic
from mtc_sensor.features.spec import FlowPicSpec

image = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")


def picture(spec: FlowPicSpec, *cells: tuple[int, int, int]) -> NDArray[np.uint16]:
    """Make a picture with one packet in each of `cells`."""
    counts = np.zeros(spec.shape, np.uint16)
    for cell in cells:
        counts[cell] += 1
    return counts


def dots(path: Path, orange: bool, lower: bool) -> int:
    """Count the coloured pixels in a half of the plot's area, without legend and colour bars."""
    pixels = image.imread(path)[:, :, :3]
    half = pixels[360:640, 80:950] if lower else pixels[70:350, 80:950]
    red, blue = half[..., 0], half[..., 2]
    return int(((red - blue if orange else blue - red) > 0.2).sum())


@pytest.mark.parametrize("resolution", [1, 32, 1500])
@pytest.mark.parametrize("direction", [False, True])
def test_a_png_of_the_size_that_is_promised(
    tmp_path: Path, resolution: int, direction: bool
) -> None:
    spec = FlowPicSpec(resolution=resolution, direction=direction)
    path = tmp_path / "flow.png"
    draw_flowpic(picture(spec), spec, path, "empty, and $not_math")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert image.imread(path).shape == (PIXELS[1], PIXELS[0], 4)
    assert [file.name for file in tmp_path.iterdir()] == ["flow.png"]


@pytest.mark.parametrize("resolution", [32, 1500])
def test_a_single_packet_is_seen_in_its_directions_colour(tmp_path: Path, resolution: int) -> None:
    spec = FlowPicSpec(resolution=resolution)
    path = tmp_path / "flow.png"
    middle = resolution // 2
    for channel in (0, 1):
        draw_flowpic(picture(spec, (channel, middle, middle)), spec, path, "one packet")
        own = dots(path, orange=channel == 1, lower=channel == 1)
        assert own >= 9, "a mark has at least 3 x 3 pixels"
        assert dots(path, orange=channel == 0, lower=channel == 0) == 0


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    spec = FlowPicSpec()
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    for path in (
        tmp_path / "missing" / "flow.png",
        tmp_path / "file" / "flow.png",
        tmp_path / "folder.png",
    ):
        with pytest.raises(OutputError, match=r"cannot be written: .*: choose a folder") as refusal:
            draw_flowpic(picture(spec), spec, path, "")
        assert str(path) in str(refusal.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder.png"]


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "mtc_sensor.features._figure", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    with pytest.raises(MtcError, match=r"pip install 'mtc-sensor\[plot\]'"):
        draw_flowpic(picture(FlowPicSpec()), FlowPicSpec(), tmp_path / "flow.png", "")
