import pytest

from mtc_sensor.models.bundle import CARD, TOLERANCE, find_bundles, load_bundle, verify

SHIPPED = find_bundles()


def test_what_ships() -> None:
    assert {"byte-cnn", "flowpic"} <= SHIPPED.keys()


@pytest.mark.parametrize("name", SHIPPED)
def test_it_loads_and_computes_what_was_measured(name: str) -> None:
    assert verify(SHIPPED[name]) <= TOLERANCE
    config = load_bundle(SHIPPED[name]).config
    assert config.name == name
    assert config.scores


@pytest.mark.parametrize("name", SHIPPED)
def test_its_card_says_how_to_make_it_again(name: str) -> None:
    card = (SHIPPED[name] / CARD).read_text()
    assert f"--out models/{name}" in card
    assert "## Limits" in card


def test_they_are_small() -> None:
    files = [file for path in SHIPPED.values() for file in path.iterdir()]
    assert sum(file.stat().st_size for file in files) < 5_000_000
