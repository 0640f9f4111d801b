from pathlib import Path

import pytest

from mtc_sensor.errors import ConfigError
from mtc_sensor.training.recipe import read_recipe
from mtc_sensor.training.tasks import TASKS

from .corpus import recipe, write_recipe

SHIPPED = sorted((Path(__file__).parents[3] / "configs" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_are_sound_and_named_as_their_file(path: Path) -> None:
    shipped = read_recipe(path)
    assert shipped.name == path.stem
    assert shipped.task in TASKS
    for space in (shipped.tune, shipped.study):
        for key, values in space.items():
            assert shipped.changed({key: values[0]}).fingerprint() or True
            assert shipped.changed({key: values[-1]}) != shipped.changed({key: values[0]})


def test_all_networks_have_a_recipe() -> None:
    from mtc_sensor.models.forest import FORESTS  # noqa: PLC0415
    from mtc_sensor.models.networks import NETWORKS  # noqa: PLC0415

    assert {read_recipe(path).network.name for path in SHIPPED} == {*NETWORKS, *FORESTS}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "unknown key epoch: did you mean epochs?"),
        ({"network": {"name": "resnet"}}, "network.name: resnet is none of"),
        ({"augment": {"mirror": 0.5}}, "augment: 'mirror' is none of"),
        ({"augment": {"rtt": 0.0}}, "augment.rtt: Input should be greater than 0"),
        ({"input": {"kind": "sizes"}, "augment": {"blur": 0.5}}, "no bytes to change"),
        ({"input": {"kind": "picture"}}, "input"),
        ({"pretrain": 2}, "pretrain: network packet-cnn has no layers"),
        ({"members": ["a"]}, "members: name the bundles of a fusion"),
        ({"patience": -1}, "patience: Input should be greater than or equal to 0"),
        ({"split": "luck"}, "split: Input should be 'manifest'"),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = write_recipe(tmp_path / "r.yaml", **changes)
    with pytest.raises(ConfigError) as refusal:
        read_recipe(path)
    assert str(refusal.value).startswith(f"{path}: line ")
    assert message in str(refusal.value)


def test_dotted_keys_change_a_recipe() -> None:
    changed = recipe().changed({"network.args.channels": 9, "rate": 0.5, "input.packets": 4})
    assert changed.network.args == {"channels": 9, "hidden": 8}
    assert changed.rate == 0.5
    assert changed.input is not None
    assert changed.input.shape == (4, 80)
    with pytest.raises(ConfigError, match=r"input\.byte_matrix\.width"):
        recipe().changed({"input.width": 3})


def test_a_fingerprint_is_of_what_training_depends_on() -> None:
    assert recipe().fingerprint() == recipe(tune={"rate": [0.1, 0.2]}).fingerprint()
    assert recipe().fingerprint() != recipe(seed=2).fingerprint()
