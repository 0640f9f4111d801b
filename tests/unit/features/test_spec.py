"""Specs: what they say about an input, and what is refused."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mtc_sensor.errors import BundleError
from mtc_sensor.features.spec import (
    KINDS,
    MASKS,
    ByteMatrixSpec,
    FeatureSpec,
    FlowPicSpec,
    FusionSpec,
    Member,
    PacketBytesSpec,
    PayloadSpec,
    SizesSpec,
    TokensSpec,
    parse_spec,
)

byte_specs = st.builds(
    ByteMatrixSpec,
    packets=st.integers(1, 8),
    bytes=st.integers(1, 80),
    masks=st.lists(st.sampled_from(MASKS)).map(tuple),
)
flowpic_specs = st.builds(
    FlowPicSpec,
    resolution=st.integers(1, 1000),
    window_s=st.floats(0.001, 2147),
    direction=st.booleans(),
    size=st.sampled_from(("ip", "payload")),
    max_size=st.integers(1000, 65535),
)


packet_specs = st.builds(PacketBytesSpec, bytes=st.integers(40, 1500))
size_specs = st.builds(SizesSpec, packets=st.integers(1, 1000), times=st.booleans())
token_specs = st.builds(
    TokensSpec,
    vocabulary=st.lists(st.from_regex(r"[a-h]{1,3}:[!-~]{1,9}", fullmatch=True), unique=True).map(
        tuple
    ),
    hidden=st.just(("port",)),
)
payload_specs = st.builds(
    PayloadSpec,
    bytes=st.integers(80, 1500),
    vocabulary=st.lists(st.integers(0, (1 << 19) - 1), unique=True, max_size=9).map(tuple),
)
fusion_specs = st.builds(
    FusionSpec,
    members=st.lists(
        st.builds(Member, name=st.just("a"), sha256=st.just("0" * 64), values=st.integers(1, 9)),
        min_size=1, max_size=8,
    ).map(tuple),
)  # fmt: skip


def test_defaults_are_the_honest_ones() -> None:
    assert ByteMatrixSpec().masks == MASKS
    assert ByteMatrixSpec().shape == (8, 80)
    assert FlowPicSpec().shape == (2, 32, 32)
    assert FlowPicSpec(direction=False, resolution=1500).shape == (1, 1500, 1500)
    assert FlowPicSpec(window_s=0.25).window_us == 250_000
    assert PacketBytesSpec().masks == MASKS
    assert PacketBytesSpec().shape == (1500,)
    assert PayloadSpec(vocabulary=(5, 7)).shape == (95,)
    assert SizesSpec().shape == (10, 2)
    assert SizesSpec(times=False).shape == (10, 1)
    assert TokensSpec(vocabulary=("a", "b")).shape == (14,)
    assert TokensSpec().hidden == ("ip", "port", "sni")


def test_specs_say_what_records_have_to_hold() -> None:
    needs = {
        spec.kind: (spec.head_bytes, spec.reads_tokens)
        for spec in (
            ByteMatrixSpec(bytes=40),
            FlowPicSpec(),
            PacketBytesSpec(),
            PayloadSpec(),
            SizesSpec(),
            TokensSpec(),
        )
    }
    assert needs == {
        "byte_matrix": (80, False), "flowpic": (0, False), "packet_bytes": (1500, False),
        "payload": (146, False), "sizes": (0, False), "tokens": (0, True),
    }  # fmt: skip


@settings(deadline=None)
@given(
    byte_specs
    | flowpic_specs
    | packet_specs
    | payload_specs
    | size_specs
    | token_specs
    | fusion_specs
)
def test_a_spec_survives_its_bundle(spec: FeatureSpec) -> None:
    stored = yaml.safe_dump(spec.model_dump(mode="json"))
    assert parse_spec(yaml.safe_load(stored)) == spec


def test_masks_have_one_order() -> None:
    spec = parse_spec({"kind": "byte_matrix", "masks": ["ttl", "ports", "ttl"]})
    assert spec == ByteMatrixSpec(masks=("ports", "ttl"))


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {},
            "key kind is missing: it is one of byte_matrix, flowpic, fusion, packet_bytes, payload",
        ),
        ({"kind": "graph"}, "kind: 'graph' is unknown: it is one of byte_matrix, flowpic, fusion"),
        (
            {"kind": "byte_matrix", "packets": 9},
            "packets: should be less than or equal to 8, not 9",
        ),
        ({"kind": "byte_matrix", "bytes": 0}, "bytes: should be greater than or equal to 1, not 0"),
        ({"kind": "byte_matrix", "masks": ["macs"]}, "masks.0: should be 'addresses', 'ports'"),
        ({"kind": "byte_matrix", "window_s": 60}, "unknown key window_s: delete it"),
        ({"kind": "flowpic", "resolution": 4000}, "less than or equal to 1500, not 4000"),
        ({"kind": "flowpic", "resolution": 64, "max_size": 32}, "resolution 64 is finer than"),
        ({"kind": "flowpic", "resolution": 1500, "window_s": 0.001}, "lower the resolution"),
        (
            {"kind": "flowpic", "resolution": True},
            "resolution: should be a valid integer, not True",
        ),
        ({"kind": "flowpic", "window_s": float("nan")}, "window_s: should be a finite number"),
        ({"kind": "flowpic", "window_s": 0}, "window_s: should be greater than or equal to 0.001"),
        ({"kind": "flowpic", "window_s": 4000}, "window_s: should be less than or equal to 2147"),
        (
            {"kind": "flowpic", "direction": "yes"},
            "direction: should be a valid boolean, not 'yes'",
        ),
        ({"kind": "flowpic", "size": "wire"}, "size: should be 'ip' or 'payload', not 'wire'"),
        ({"kind": "flowpic", "max_size": 70000}, "max_size: should be less than or equal to 65535"),
        ({"kind": "packet_bytes", "bytes": 2000}, "bytes: should be less than or equal to 1500"),
        ({"kind": "payload", "bytes": 40}, "bytes: should be greater than or equal to 80, not 40"),
        ({"kind": "payload", "vocabulary": [1 << 19]}, "vocabulary.0: should be less than 524288"),
        ({"kind": "payload", "vocabulary": [-1]}, "vocabulary.0: should be greater than or equal"),
        ({"kind": "payload", "vocabulary": [3, 3]}, "a 4-gram is given twice"),
        ({"kind": "payload", "vocabulary": list(range(4097))}, "at most 4096 items"),
        ({"kind": "sizes", "packets": 0}, "packets: should be greater than or equal to 1, not 0"),
        ({"kind": "tokens", "vocabulary": ["port:53"]}, "'port:53' begins with a hidden prefix"),
        ({"kind": "tokens", "vocabulary": ["a", "a"]}, "a word is given twice"),
        ({"kind": "tokens", "vocabulary": ["a b"]}, "vocabulary.0: String should match pattern"),
        ({"kind": "tokens", "words": 0, "statistics": False}, "leave nothing"),
        ({"kind": "fusion", "members": []}, "members: Tuple should have at least 1 item"),
    ],
)
def test_what_cannot_be_built_is_refused_with_key_value_and_remedy(
    mapping: dict[str, object], message: str
) -> None:
    with pytest.raises(BundleError) as refusal:
        parse_spec(mapping)
    assert message in str(refusal.value)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
keys = st.sampled_from(
    (
        "packets",
        "bytes",
        "masks",
        "resolution",
        "window_s",
        "size",
        "max_size",
        "vocabulary",
        "words",
        "hidden",
        "members",
    )
)


@settings(deadline=None)
@given(st.sampled_from(KINDS), st.dictionaries(keys, json))
def test_any_mapping_gives_a_spec_or_a_short_refusal(kind: str, rest: dict[str, object]) -> None:
    message = ""
    try:
        spec = parse_spec({"kind": kind, **rest})
    except BundleError as refusal:
        message = str(refusal)
    else:
        assert spec.kind == kind
    assert len(message) < 1500
