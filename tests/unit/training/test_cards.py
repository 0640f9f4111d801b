import pytest

from mtc_sensor.models.bundle import CARD, find_bundles, load_bundle
from mtc_sensor.training.cards import card


@pytest.mark.parametrize("name", ["byte-cnn", "flowpic"])
def test_the_shipped_card_is_its_template_with_the_bundles_figures(name: str) -> None:
    bundle = find_bundles()[name]
    scores = load_bundle(bundle).config.scores
    assert (bundle / CARD).read_text() == card(name, scores)


def test_a_card_needs_every_figure() -> None:
    with pytest.raises(KeyError):
        card("byte-cnn", {"auroc": 1.0})
