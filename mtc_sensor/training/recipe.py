"""Recipes: all that makes a bundle of a manifest, in one YAML file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mtc_sensor._yaml import load_yaml
from mtc_sensor.errors import ConfigError
from mtc_sensor.features.spec import InputSpec
from mtc_sensor.models.forest import FORESTS
from mtc_sensor.models.networks import NETWORKS
from mtc_sensor.models.schema import Judges, Label, Name, Network, Text
from mtc_sensor.training.augment import BYTES
from mtc_sensor.training.augment_flows import FLOWS
from mtc_sensor.training.splits import By, Same

Share = Annotated[float, Field(gt=0, le=1)]
Value = bool | int | float | str


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Balance(_Strict):
    """How often which records are drawn."""

    classes: Literal["label", "malicious", "none"] = "malicious"
    """What counts the same: each label, malicious and benign, or every record."""
    groups: Literal["family", "path", "none"] = "family"
    """What is weighed down within a class, to the root of its size: malware families (of other
    records their captures), captures, or nothing."""
    sets: dict[str, Share] = Field(default_factory=dict)
    """Set of the manifest -> factor, for sets that are less like what a sensor sees."""


class AlertRate(_Strict):
    """What false alarms the threshold may cost."""

    alerts_per_day: Annotated[float, Field(gt=0)]
    flows_per_day: Annotated[float, Field(gt=0)]


class Recipe(_Strict):
    """How a bundle is trained; the file's keys."""

    name: Name
    """Of the bundle."""
    task: str
    """One of `tasks.TASKS`, or ``label`` or ``family`` for a manifest's column."""
    sets: list[Text] = Field(default_factory=list)
    """Of the manifest; empty for the task's own."""
    input: InputSpec | None = Field(default=None, discriminator="kind")
    """None for a fusion, whose members have theirs."""
    network: Network
    judges: Judges

    protocol: Literal["honest", "paper"] = "honest"
    """``paper``: a stratified random split, to compare with published figures only."""
    split: By = "manifest"
    """What the honest protocol keeps apart."""
    same: list[Same] = ["bytes"]
    """What makes two records duplicates."""
    per_class: Annotated[int, Field(ge=1)] | None = None
    """Training records of each class, at most; drawn at random."""
    leave_out: list[Label] = Field(default_factory=list)
    """Labels that are not trained on, to see whether they are told as unknown."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Each draws as many records as there are; with augmentation a forest sees so many draws at
    once, else each record once, by its weight."""
    batch: Annotated[int, Field(ge=2, le=65_536)] = 256
    rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    """Peak learning rate."""
    decay: Annotated[float, Field(ge=0, le=1)] = 1e-4
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Label smoothing: labels are per capture, and a capture holds other flows, too."""
    pretrain: Annotated[int, Field(ge=0, le=1000)] = 0
    """Epochs of reconstruction for each layer of an autoencoder."""
    augment: dict[str, Share] = Field(default_factory=dict)
    """Augmentation -> share of the records that it changes."""
    balance: Balance = Balance()
    patience: Annotated[int, Field(ge=0)] = 0
    """Epochs without a better `measure` after which training ends; 0 for never. The weights of the
    best epoch are kept if it is set, else those of the last."""
    measure: Literal["macro_f1", "auroc", "accuracy"] = "macro_f1"
    """Of the validation records, what is to be best."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    budget: AlertRate | None = None
    """None leaves the threshold of malicious verdicts at 0.5."""

    members: list[str] = Field(default_factory=list, max_length=8)
    """Of a fusion: names of bundles in its folder or beside it, or shipped ones."""
    equal: bool = False
    """Whether a fusion adds its members' log odds up as they are, instead of fitting weights."""
    notes: str = ""
    """Markdown for the card: what figures alone do not say."""
    tune: dict[str, list[Value]] = Field(default_factory=dict)
    """Dotted key -> [low, high] of numbers, or choices, for ``--tune``."""
    study: dict[str, list[Value]] = Field(default_factory=dict)
    """Dotted key -> values: one bundle for each combination."""

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        known = {*NETWORKS, *FORESTS}
        if self.network.name not in known:
            raise ValueError(f"network.name: {self.network.name} is none of {sorted(known)}")
        if strange := self.augment.keys() - {*FLOWS, *BYTES}:
            raise ValueError(f"augment: {min(strange)!r} is none of {sorted({*FLOWS, *BYTES})}")
        if self.augment.keys() & BYTES.keys() and not (self.input and self.input.head_bytes):
            raise ValueError("augment: such an input has no bytes to change")
        if self.pretrain and self.network.name != "autoencoder":
            raise ValueError(f"pretrain: network {self.network.name} has no layers to pre-train")
        if (self.network.name == "fusion") != bool(self.members):
            raise ValueError("members: name the bundles of a fusion, and only of one")
        if self.equal and not self.members:
            raise ValueError("equal: only a fusion adds up members")
        if (self.input is None) != bool(self.members):
            raise ValueError("input: give one, except to a fusion, whose members have theirs")
        return self

    @property
    def is_forest(self) -> bool:
        """Whether scikit-learn trains it."""
        return self.network.name in FORESTS

    def fingerprint(self) -> str:
        """Return a hash of all keys that a trained network depends on."""
        kept = self.model_dump(mode="json", exclude={"tune", "study", "budget", "notes"})
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    def changed(self, changes: Mapping[str, Value]) -> Recipe:
        """Return the recipe with other values of dotted keys.

        Raises ConfigError for a key or a value that there is not.
        """
        settings = self.model_dump(mode="json")
        for key, value in changes.items():
            _set(settings, key.split("."), value)
        try:
            return Recipe.model_validate(settings)
        except ValidationError as fault:
            problem = fault.errors(include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise ConfigError(f"{dict(changes)}: {where}: {problem['msg']}: correct it") from fault


def read_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises ConfigError naming file, line, key and remedy."""
    return load_yaml(path, Recipe, ConfigError)


def _set(settings: dict[str, Any], keys: list[str], value: Value) -> None:
    for key in keys[:-1]:
        settings = settings[key] if isinstance(settings.get(key), dict) else {}
    settings[keys[-1]] = value
