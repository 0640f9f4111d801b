import numpy as np
import pytest

from mtc_sensor.errors import ConfigError
from mtc_sensor.features.payload import grams, payload
from mtc_sensor.features.spec import PAYLOAD_STATISTICS, PayloadSpec
from mtc_sensor.training.grams import with_grams
from mtc_sensor.training.manifest import Source
from mtc_sensor.training.tasks import Labelled

from ..features.build import Head, batch_of, packets

SPEC = PayloadSpec(grams=3, least_groups=2)


def corpus(texts: list[tuple[bytes, str, str]]) -> Labelled:
    """A record of one UDP packet for each text, label and family."""
    heads = [
        [Head(b"\x45\0\0\x64".ljust(20, b"\0") + bytes(8) + text.ljust(72), 20)]
        for text, *_ in texts
    ]
    flows = batch_of([packets([0], [100])] * len(texts), heads, 17, width=146)
    sources = tuple(
        Source(path=f"{i}.pcap", label=label, family=family)
        for i, (_, label, family) in enumerate(texts)
    )
    label = np.array([label == "malware" for _, label, _ in texts], np.int64)
    return Labelled(flows, label, np.arange(len(texts)), sources)


def chosen(made: Labelled, spec: PayloadSpec = SPEC) -> PayloadSpec:
    return with_grams(spec, made, made.label == 1, np.ones(len(made)))


BAD = [(b"evil", "malware", "a"), (b"evil", "malware", "b")]
GOOD = [(b"good", "benign", "x"), (b"fine", "benign", "y")]


def test_the_4_grams_of_one_class_are_chosen() -> None:
    spec = chosen(corpus(BAD + GOOD))
    found = payload(corpus(BAD + GOOD).flows, spec)[:, PAYLOAD_STATISTICS:]
    assert len(spec.vocabulary) == 3
    assert list(spec.vocabulary) == sorted(spec.vocabulary)
    assert found[:2].all()
    assert not found[2:].any()


def test_what_one_family_alone_has_is_not_learned() -> None:
    one = [(b"evil", "malware", "a")] * 2
    known = set(chosen(corpus(one + GOOD), of_size(4096)).vocabulary)
    assert not known & own(b"evil")
    assert own(b"evil") <= set(chosen(corpus(BAD + GOOD), of_size(4096)).vocabulary)


def test_applications_are_groups_by_the_first_part_of_their_names() -> None:
    same = [(b"good", "benign", "x_1"), (b"good", "benign", "x-2")]
    assert not set(chosen(corpus(BAD + same), of_size(4096)).vocabulary) & own(b"good")


def test_without_two_classes_there_is_nothing_to_tell_apart() -> None:
    with pytest.raises(ConfigError, match="malicious and benign"):
        chosen(corpus(BAD))


def of_size(count: int) -> PayloadSpec:
    return SPEC.model_copy(update={"grams": count})


def own(text: bytes) -> set[int]:
    """The 4-grams that a record of this text has and one of another has not."""
    flows = corpus([(text, "benign", "x"), (b"????", "benign", "y")]).flows
    row, number = grams(flows, SPEC.bytes)
    return set(number[row == 0].tolist()) - set(number[row == 1].tolist())


def test_a_record_counts_by_its_weight() -> None:
    made = corpus([*BAD, *GOOD, (b"evil", "benign", "z")])
    weights = np.array([1, 1, 1, 1, 1e-6])
    light = with_grams(SPEC, made, made.label == 1, weights)
    assert set(light.vocabulary) <= own(b"evil")
