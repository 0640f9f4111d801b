import subprocess
import sys

import pytest

from mtc_sensor.inference import load_models, settings_for
from mtc_sensor.models.bundle import CARD, CONFIG, TOLERANCE, find_bundles, load_bundle, verify

LISTED = find_bundles()
SHIPPED = LISTED | {
    f"{name}/{path.parent.name}": path.parent
    for name, folder in LISTED.items()
    for path in folder.glob(f"*/{CONFIG}")
}
"""Members in the folders of fusions, too."""


def test_what_ships() -> None:
    assert {"byte-cnn", "flowpic", "malware"} <= LISTED.keys()
    assert {"malware/byte-forest", "malware/payload-forest"} <= SHIPPED.keys() - LISTED.keys()


def test_a_sensor_keeps_as_much_of_packets_as_they_look_at() -> None:
    assert settings_for(load_models(["byte-cnn", "flowpic"])).head_bytes == 80
    assert settings_for(load_models(["malware"])).head_bytes == 146


@pytest.mark.parametrize("name", SHIPPED)
def test_it_loads_and_computes_what_was_measured(name: str) -> None:
    assert verify(SHIPPED[name]) <= TOLERANCE
    config = load_bundle(SHIPPED[name]).config
    assert config.name == name.rpartition("/")[2]
    assert config.scores


@pytest.mark.parametrize("name", SHIPPED)
def test_its_card_says_how_to_make_it_again(name: str) -> None:
    card = (SHIPPED[name] / CARD).read_text()
    assert f"--out models/{name}" in card
    assert "## Limits" in card


def test_they_are_small() -> None:
    files = [file for path in SHIPPED.values() for file in path.iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 5_000_000


def test_loading_the_shipped_models_leaves_the_compiler_of_torch_alone() -> None:
    # it takes seconds to import, at the start of each command
    code = (
        "import sys; from mtc_sensor.inference import load_models\n"
        "from mtc_sensor.models.bundle import find_bundles\n"
        "load_models(list(find_bundles()), 'cpu'); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
