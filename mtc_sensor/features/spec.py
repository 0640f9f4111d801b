"""What a model's input is, exactly: frozen specs that are stored with its weights.

A spec with the records of a `FlowBatch` defines the input completely; training and serving build it
with the same code. ``spec.model_dump(mode="json")`` is the plain mapping that `parse_spec` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from mtc_sensor.errors import BundleError
from mtc_sensor.flow import MAX_LENGTH, MAX_OFFSET_US

HEAD_PACKETS = 8
"""Packets of a connection whose first bytes a record holds."""
HEAD_BYTES = 80
"""Bytes of each, from the IP header on."""
MAX_RESOLUTION = 1500
"""FlowPic's own resolution; a larger one from a bundle could only exhaust memory."""

Mask = Literal[
    "addresses",
    "ports",
    "checksums",
    "ip_id",
    "ip_options",
    "ttl",
    "tcp_seq",
    "tcp_timestamps",
    "icmp_id",
]
MASKS: tuple[Mask, ...] = get_args(Mask)
"""All masks, which are also the default; `mtc_sensor.features.byte_matrix` says what each hides."""


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ByteMatrixSpec(_Spec):
    """The first bytes of a connection's first packets, some fields hidden."""

    kind: Literal["byte_matrix"] = "byte_matrix"
    packets: int = Field(default=HEAD_PACKETS, ge=1, le=HEAD_PACKETS)
    """Rows: the connection's first packets."""
    bytes: int = Field(default=HEAD_BYTES, ge=1, le=HEAD_BYTES)
    """Columns: each packet's bytes from the IP header on."""
    masks: tuple[Mask, ...] = Field(default=MASKS, strict=False)
    """Fields that are set to 0; kept in the order of `MASKS`, each once."""

    @field_validator("masks")
    @classmethod
    def _in_order(cls, masks: tuple[Mask, ...]) -> tuple[Mask, ...]:
        return tuple(mask for mask in MASKS if mask in masks)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one input: packets, bytes."""
        return self.packets, self.bytes


class FlowPicSpec(_Spec):
    """A two-dimensional histogram of packet sizes over arrival times."""

    kind: Literal["flowpic"] = "flowpic"
    resolution: int = Field(default=32, ge=1, le=MAX_RESOLUTION)
    """Bins of either axis."""
    window_s: float = Field(
        default=60.0, ge=0.001, le=MAX_OFFSET_US // 1_000_000, allow_inf_nan=False
    )
    """Seconds that one picture covers; taken to the microsecond."""
    direction: bool = True
    """Whether originator and responder have a channel each, or share one."""
    size: Literal["ip", "payload"] = "ip"
    """What a packet's size is: its IP total length, or its transport payload."""
    max_size: int = Field(default=1500, ge=1, le=MAX_LENGTH)
    """Bytes at which the size axis ends; packets of this size and above are left out."""

    @model_validator(mode="after")
    def _no_empty_bins(self) -> FlowPicSpec:
        if self.resolution > min(self.max_size, self.window_us):
            raise ValueError(
                f"resolution {self.resolution} is finer than max_size {self.max_size} bytes or "
                f"window_s {self.window_s} s can fill: lower the resolution"
            )
        return self

    @property
    def window_us(self) -> int:
        """`window_s` in microseconds."""
        return round(self.window_s * 1_000_000)

    @property
    def channels(self) -> int:
        """2 with `direction` (originator, responder), else 1."""
        return 2 if self.direction else 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one input: channels, size bins, time bins."""
        return self.channels, self.resolution, self.resolution


FeatureSpec = Annotated[ByteMatrixSpec | FlowPicSpec, Field(discriminator="kind")]

_ADAPTER: TypeAdapter[FeatureSpec] = TypeAdapter(FeatureSpec)


def parse_spec(mapping: Mapping[str, object]) -> FeatureSpec:
    """Read a spec from the plain mapping of a bundle.

    Raises BundleError, naming key, value and remedy, for whatever this version cannot build; the
    caller names the file.
    """
    try:
        return _ADAPTER.validate_python(mapping)
    except ValidationError as fault:
        problems = "; ".join(_explain(item) for item in fault.errors(include_url=False)[:5])
        raise BundleError(
            f"{problems}. Correct the spec, or use the mtc-sensor version that made it"
        ) from fault


def _explain(item: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"][1:]) or "kind"
    value = f"{item['input']!r:.60}"
    if item["type"] == "union_tag_not_found":
        return "key kind is missing: it is one of byte_matrix, flowpic"
    if item["type"] == "union_tag_invalid":
        return f"kind: {item['ctx']['tag']!r:.60} is unknown: it is one of byte_matrix, flowpic"
    if item["type"] == "extra_forbidden":
        return f"unknown key {key:.60}: delete it"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    return f"{key}: {item['msg'].removeprefix('Input ')}, not {value}"
