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
PACKET_BYTES = 1500
"""Bytes of a packet that Deep Packet looks at: those that an Ethernet frame holds."""
STATISTICS = 12
"""Statistics of a flow beside its words; `mtc_sensor.features.tokens` says which."""
MAX_WORDS = 2000
PAYLOAD_STATISTICS = 93
"""Columns of `mtc_sensor.features.payload` beside its 4-grams."""
GRAM_BITS = 18
MAX_GRAMS = 4096
MAX_RESOLUTION = 1500
"""FlowPic's own resolution; a larger one from a bundle could only exhaust memory."""

Mask = Literal[
    "addresses", "ports", "checksums", "ip_id", "ip_options", "ttl", "tcp_seq", "tcp_timestamps",
    "icmp_id",
]  # fmt: skip
MASKS: tuple[Mask, ...] = get_args(Mask)
"""All masks, which are also the default; `mtc_sensor.features.byte_matrix` says what each hides."""

Prefix = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")]
Word = Annotated[str, Field(pattern=r"^[!-~]{1,160}$")]
Gram = Annotated[int, Field(ge=0, lt=1 << (GRAM_BITS + 1))]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @property
    def head_bytes(self) -> int:
        """Bytes of packet heads that records have to hold; 0 where none are looked at."""
        return 0

    @property
    def reads_tokens(self) -> bool:
        """Whether records have to have token documents."""
        return False


class _MaskedSpec(_Spec):
    masks: tuple[Mask, ...] = Field(default=MASKS, strict=False)
    """Fields that are set to 0; kept in the order of `MASKS`, each once."""

    @field_validator("masks")
    @classmethod
    def _in_order(cls, masks: tuple[Mask, ...]) -> tuple[Mask, ...]:
        return tuple(mask for mask in MASKS if mask in masks)


class ByteMatrixSpec(_MaskedSpec):
    """The first bytes of a connection's first packets, some fields hidden."""

    kind: Literal["byte_matrix"] = "byte_matrix"
    packets: int = Field(default=HEAD_PACKETS, ge=1, le=HEAD_PACKETS)
    """Rows: the connection's first packets."""
    bytes: int = Field(default=HEAD_BYTES, ge=1, le=HEAD_BYTES)
    """Columns: each packet's bytes from the IP header on."""

    @property
    def head_bytes(self) -> int:
        """See `_Spec`; masks need the headers, whatever `bytes` says."""
        return HEAD_BYTES

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one input: packets, bytes."""
        return self.packets, self.bytes


class PacketBytesSpec(_MaskedSpec):
    """The bytes of one packet, some fields hidden: an input for each head of a record."""

    kind: Literal["packet_bytes"] = "packet_bytes"
    bytes: int = Field(default=PACKET_BYTES, ge=40, le=PACKET_BYTES)
    """From the IP header on; shorter packets are filled up with zeros."""

    @property
    def head_bytes(self) -> int:
        """See `_Spec`."""
        return max(HEAD_BYTES, self.bytes)

    @property
    def shape(self) -> tuple[int]:
        """Shape of one input: bytes."""
        return (self.bytes,)


class SizesSpec(_Spec):
    """Sizes, directions and gaps of a record's first packets."""

    kind: Literal["sizes"] = "sizes"
    packets: int = Field(default=10, ge=1, le=1000)
    times: bool = True
    """Whether the gaps before the packets are there, too."""
    size: Literal["ip", "payload"] = "ip"
    """What a packet's size is: its IP total length, or its transport payload."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one input: packets, and 2 with `times` or else 1."""
        return self.packets, 2 if self.times else 1


class TokensSpec(_Spec):
    """How often a record's document has each word of a vocabulary, and statistics of the flow."""

    kind: Literal["tokens"] = "tokens"
    words: int = Field(default=500, ge=0, le=MAX_WORDS)
    """Most words of the vocabulary, which training chooses."""
    vocabulary: tuple[Word, ...] = Field(default=(), strict=False, max_length=MAX_WORDS)
    """Words that are counted; all others are passed over."""
    hidden: tuple[Prefix, ...] = Field(default=("ip", "port", "sni"), strict=False, max_length=64)
    """Words ``prefix:...`` that must not count."""
    statistics: bool = True
    """Whether the flow's statistics are there, too."""
    packets: int = Field(default=20, ge=1, le=1000)
    """First packets that the statistics are of."""

    @model_validator(mode="after")
    def _sound(self) -> TokensSpec:
        shown = [word for word in self.vocabulary if word.partition(":")[0] in self.hidden]
        if shown:
            raise ValueError(f"vocabulary: {shown[0]!r} begins with a hidden prefix: leave it out")
        if len(set(self.vocabulary)) < len(self.vocabulary):
            raise ValueError("vocabulary: a word is given twice: leave one out")
        if not (self.words or self.statistics):
            raise ValueError("words: 0 and no statistics leave nothing: give either")
        return self

    @property
    def reads_tokens(self) -> bool:
        """See `_Spec`."""
        return True

    @property
    def shape(self) -> tuple[int]:
        """Shape of one input: words, then statistics."""
        return (len(self.vocabulary) + STATISTICS * self.statistics,)


class PayloadSpec(_Spec):
    """Sizes and gaps of a connection's first packets, and what either side said first."""

    kind: Literal["payload"] = "payload"
    bytes: int = Field(default=146, ge=HEAD_BYTES, le=PACKET_BYTES)
    """Of each packet, from the IP header on; Zeek's 160 with an Ethernet header leave so many."""
    grams: int = Field(default=1500, ge=0, le=MAX_GRAMS)
    """Most 4-grams of the vocabulary, which training chooses."""
    least_groups: int = Field(default=4, ge=1, le=1000)
    """Families or captures that a 4-gram has to be in, so that names in one are not learned."""
    vocabulary: tuple[Gram, ...] = Field(default=(), strict=False, max_length=MAX_GRAMS)
    """Hashed 4-grams that are looked for."""

    @model_validator(mode="after")
    def _each_once(self) -> PayloadSpec:
        if len(set(self.vocabulary)) < len(self.vocabulary):
            raise ValueError("vocabulary: a 4-gram is given twice: leave one out")
        return self

    @property
    def head_bytes(self) -> int:
        """See `_Spec`."""
        return self.bytes

    @property
    def shape(self) -> tuple[int]:
        """Shape of one input: statistics, then 4-grams."""
        return (PAYLOAD_STATISTICS + len(self.vocabulary),)


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


class Member(_Spec):
    """A bundle that a fusion asks."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    """Of a bundle in the fusion's folder or beside it, or of a shipped one."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of its bundle.yaml, which holds the hashes of its other files."""
    values: int = Field(ge=1, le=1000)
    """Numbers that it gives: 1 (the log odds of malice), or one for each label without malice."""


class FusionSpec(_Spec):
    """What other bundles say of a record."""

    kind: Literal["fusion"] = "fusion"
    members: tuple[Member, ...] = Field(strict=False, min_length=1, max_length=8)

    @property
    def shape(self) -> tuple[int]:
        """Shape of one input: of each member whether it was asked, then its numbers."""
        return (sum(1 + member.values for member in self.members),)


InputSpec = ByteMatrixSpec | FlowPicSpec | PacketBytesSpec | PayloadSpec | SizesSpec | TokensSpec
"""Specs of inputs that are built from records."""
FeatureSpec = Annotated[InputSpec | FusionSpec, Field(discriminator="kind")]
KINDS = tuple(
    sorted(spec.model_fields["kind"].default for spec in (*get_args(InputSpec), FusionSpec))
)

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
        return f"key kind is missing: it is one of {', '.join(KINDS)}"
    if item["type"] == "union_tag_invalid":
        return f"kind: {item['ctx']['tag']!r:.60} is unknown: it is one of {', '.join(KINDS)}"
    if item["type"] == "extra_forbidden":
        return f"unknown key {key:.60}: delete it"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    return f"{key}: {item['msg'].removeprefix('Input ')}, not {value}"
