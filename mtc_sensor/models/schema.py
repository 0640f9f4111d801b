"""What `bundle.yaml` says, as strict types: the one place where its keys are declared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mtc_sensor import verdict

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(pattern=r"^[ -~]{1,200}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Network(_Strict):
    """Which network the weights belong to."""

    name: Name
    """A key of `NETWORKS`, or one of `FORESTS`."""
    args: dict[Name, int | float] = Field(default_factory=dict, max_length=16)
    """Constructor arguments beyond the input's shape and the number of labels."""


class Judges(_Strict):
    """Which records the model is asked about."""

    kinds: Annotated[list[Literal["early", "block", "final"]], Field(min_length=1, max_length=3)]
    min_packets: Annotated[int, Field(ge=1, le=1000)]
    """Fewest samples in a record."""


class Calibration(_Strict):
    """A record's probabilities p, corrected: softmax(log p * exp(gain - fade * novelty) + bias)."""

    gain: Annotated[float, Field(ge=-100, le=100)]
    """Logarithm of an inverse temperature."""
    fade: Annotated[float, Field(ge=0, le=1e6)]
    """How fast confidence falls with the distance from what the model was trained on."""
    bias: Annotated[list[Number], Field(max_length=1000)]
    """One per label."""


class Novelty(_Strict):
    """How far a record is from those that the model was trained on; `models.novelty` says how."""

    k: Annotated[int, Field(ge=1, le=100)]
    """The distance is that to the k-th nearest neighbour."""
    neighbours_sha256: Sha256


class Budget(_Strict):
    """Where the threshold comes from."""

    alerts_per_day: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """False alarms that may be raised in a day."""
    flows_per_day: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Benign flows that the model judges in a day."""
    negatives: Annotated[int, Field(ge=0)]
    """Benign records that the threshold was fitted on."""
    extrapolated: bool
    """Whether it lies beyond what so many records can show, on a fitted tail."""


class Policy(_Strict):
    """How probabilities become a verdict."""

    threshold: Probability | None
    """Summed probability of the malicious labels that makes a verdict malicious; null without."""
    unknown_below: Probability
    """Below this probability of the best label the verdict is ``unknown``."""
    unknown_above: Annotated[float, Field(ge=0, le=2)] | None = None
    """Above this novelty a verdict that is not malicious is ``unknown``; null for never."""
    budget: Budget | None = None


class Data(_Strict):
    """What the weights were trained on."""

    manifest_sha256: Sha256
    sets: Annotated[list[Text], Field(min_length=1, max_length=64)]
    protocol: Text


class BundleConfig(_Strict):
    """`bundle.yaml`."""

    format: Literal[1]
    name: Name
    version: Text
    network: Network
    input: dict[str, object]
    """The spec of `mtc_sensor.features.spec`, as a mapping."""
    labels: Annotated[list[Label], Field(min_length=2, max_length=1000)]
    malicious: Annotated[list[Label], Field(max_length=1000)]
    """The labels that are malicious; empty for a model of applications or categories."""
    temperature: Annotated[float, Field(gt=0, le=100)]
    """Logits are divided by it before the softmax."""
    calibration: Calibration | None = None
    novelty: Novelty | None = None
    judges: Judges
    policy: Policy
    data: Data
    scores: Annotated[dict[Name, Number], Field(max_length=64)]
    """Measured figures, by name; card.md says how."""
    weights_sha256: Sha256
    reference_sha256: Sha256

    def verdict_policy(self) -> verdict.Policy:
        """Return what of the bundle decides. Raises ValueError for parts that do not fit."""
        return verdict.Policy(
            labels=tuple(self.labels),
            malicious=frozenset(self.malicious),
            threshold=self.policy.threshold,
            unknown_below=self.policy.unknown_below,
            unknown_above=self.policy.unknown_above,
        )

    @property
    def evidence_width(self) -> int:
        """How many numbers the bundle gives to a fusion."""
        return 1 if self.malicious else len(self.labels)

    @model_validator(mode="after")
    def _consistent(self) -> BundleConfig:
        self.verdict_policy()
        if self.calibration and len(self.calibration.bias) != len(self.labels):
            raise ValueError("calibration.bias: give one number per label")
        needs = self.policy.unknown_above is not None or (
            self.calibration and self.calibration.fade
        )
        if needs and self.novelty is None:
            raise ValueError("policy.unknown_above and calibration.fade need novelty")
        return self
