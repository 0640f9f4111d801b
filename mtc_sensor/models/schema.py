"""What `bundle.yaml` says, as strict types: the one place where its keys are declared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mtc_sensor import verdict

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(pattern=r"^[ -~]{1,200}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Network(_Strict):
    """Which network the weights belong to."""

    name: Name
    """A key of `NETWORKS`."""
    args: dict[Name, int | float] = Field(default_factory=dict, max_length=16)
    """Constructor arguments beyond the input's shape and the number of labels."""


class Judges(_Strict):
    """Which records the model is asked about."""

    kinds: Annotated[list[Literal["early", "block", "final"]], Field(min_length=1, max_length=3)]
    min_packets: Annotated[int, Field(ge=1, le=1000)]
    """Fewest samples in a record."""


class Policy(_Strict):
    """How probabilities become a verdict."""

    threshold: Probability | None
    """Summed probability of the malicious labels that makes a verdict malicious; null without."""
    unknown_below: Probability
    """Below this probability of the best label the verdict is ``unknown``."""


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
    labels: Annotated[list[Name], Field(min_length=2, max_length=1000)]
    malicious: Annotated[list[Name], Field(max_length=1000)]
    """The labels that are malicious; empty for a model of applications or categories."""
    temperature: Annotated[float, Field(gt=0, le=100)]
    """Logits are divided by it before the softmax."""
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
        )

    @model_validator(mode="after")
    def _consistent(self) -> BundleConfig:
        self.verdict_policy()
        return self
