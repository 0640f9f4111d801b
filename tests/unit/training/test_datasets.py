import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.errors import CaptureError
from mtc_sensor.flow import FlowBatch, unpack_samples
from mtc_sensor.models.bundle import CARD, find_bundles, load_bundle
from mtc_sensor.training import categories, malware
from mtc_sensor.training.augment_flows import augment_flows
from mtc_sensor.training.cards import card
from mtc_sensor.training.datasets import Source, first_of_each, labelled, read_manifest, read_pcap
from mtc_sensor.training.times_sizes import Packets, read_joy, read_ucdavis, records

HEADER = "path,sha1,source,set,label,family,split\n"


def source(set_: str, path: str = "x", family: str = "x", label: str = "x") -> Source:
    return Source(path, set_, label, family, "somebody/somewhere", "train")


def test_the_manifest_by_sets(tmp_path: Path) -> None:
    lines = "a.pcap,0,o/r,one,benign,web,train\nb.pcap,0,o/r,two,benign,web,val\n"
    (tmp_path / "manifest.csv").write_text(HEADER + lines)
    assert read_manifest(tmp_path, ["two"]) == [
        Source("b.pcap", "two", "benign", "web", "o/r", "val")
    ]
    with pytest.raises(CaptureError, match="give the data folder"):
        read_manifest(tmp_path / "x", ["two"])


def test_a_damaged_capture_gives_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(b"nonsense")
    assert len(read_pcap(tmp_path / "a.pcap")) == 0


def test_labels_leave_records_out() -> None:
    packets = Packets(
        np.array([0, 0, 1, 2]), np.array([0, 5, 0, 0]), np.zeros(4, np.bool_), np.ones(4, np.int64)
    )
    task = labelled(
        Path(),
        [source("a"), source("b")],
        lambda s, flows: np.where(flows.packets > 1, -1, int(s.set == "b")),
        lambda path: records(packets),
    )
    assert task.label.tolist() == [0, 0, 1, 1]
    assert task.of(lambda s: s.set).tolist() == ["a", "a", "b", "b"]
    assert task.flows.packets.tolist() == [1, 1, 1, 1]
    assert task.take(task.label == 1).of(lambda s: s.set).tolist() == ["b", "b"]


def test_each_input_once_and_none_that_was_seen() -> None:
    inputs = np.array([[1, 2], [3, 4], [1, 2], [5, 6]])
    assert first_of_each(inputs, inputs[:0]).tolist() == [0, 1, 3]
    assert first_of_each(inputs, np.array([[3, 4]])).tolist() == [0, 3]


def test_flows_become_blocks_as_in_a_capture() -> None:
    time = np.array([0, 59_999_999, 61_000_000, 62_500_000, 0])
    packets = Packets(
        np.array([0, 0, 0, 0, 1]), time, np.array([0, 1, 0, 1, 0], np.bool_), np.arange(5)
    )
    made = records(packets)
    assert made.packets.tolist() == [2, 2, 1]
    taken = unpack_samples(made.samples)
    assert taken.offset_us.tolist() == [0, 59_999_999, 0, 1_500_000, 0]
    assert taken.payload.tolist() == [0, 1, 2, 3, 4]
    assert taken.responder.tolist() == [False, True, False, True, False]


def test_a_block_holds_a_thousand_packets() -> None:
    many = Packets(
        np.zeros(1500, np.int64), np.arange(1500), np.zeros(1500, np.bool_), np.arange(1500)
    )
    assert records(many).packets.tolist() == [1000]


def test_joy_lines(tmp_path: Path) -> None:
    packets = [{"b": 41, "ipt": 0, "dir": ">"}, {"b": 456, "ipt": 32, "dir": "<"}]
    lines = [{"version": 1}, {"packets": []}, {"packets": packets}, {"packets": packets[:1]}]
    with gzip.open(tmp_path / "a.json.gz", "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    made = read_joy(tmp_path / "a.json.gz")
    assert made.packets.tolist() == [2, 1]
    taken = unpack_samples(made.samples)
    assert taken.payload.tolist() == [41, 456, 41]
    assert taken.offset_us.tolist() == [0, 32_000, 0]
    assert taken.responder.tolist() == [False, True, False]


def test_ucdavis_arrays(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        name=np.array(["f", "g"]),
        off=np.array([0, 2, 3]),
        t=np.array([0.0, 0.25, 0.0], np.float32),
        size=np.array([-1412, 1412, -74], np.int16),
    )
    taken = unpack_samples(read_ucdavis(tmp_path / "a.npz").samples)
    assert taken.payload.tolist() == [1350, 1350, 12]
    assert taken.offset_us.tolist() == [0, 250_000, 0]
    assert taken.responder.tolist() == [False, True, False]


def flows(packets: int) -> FlowBatch:
    rng = np.random.default_rng(1)
    time = np.sort(rng.integers(0, 59_000_000, (20, packets)), axis=1).ravel()
    flow = np.repeat(np.arange(20), packets)
    return records(
        Packets(flow, time, rng.random(len(flow)) < 0.5, rng.integers(1, 1400, len(flow)))
    )


def test_augmented_flows_keep_their_first_packets() -> None:
    before = flows(100)
    after = augment_flows(before, 10, np.random.default_rng(2))
    assert (after.packets >= 10).all()
    assert (after.packets <= before.packets).all()
    assert 5 < (after.packets < 85).sum() < 20
    first = [batch.sample_offsets[:-1] for batch in (before, after)]
    assert np.array_equal(
        unpack_samples(before.samples[first[0]]).payload,
        unpack_samples(after.samples[first[1]]).payload,
    )
    again = augment_flows(before, 10, np.random.default_rng(2))
    assert np.array_equal(after.samples, again.samples)


@pytest.mark.parametrize(
    ("where", "label"),
    [
        (source("malware", family="cerber"), "cerber"),
        (source("malware", family="rig-ek"), "exploit-kit"),
        (source("malware", family="emotet"), "other-malware"),
        (source("benign", family="chrome"), "benign"),
        (source("ustc-tfc2016", "ustc-tfc2016/Zeus.val.pcap"), "other-malware"),
        (source("ustc-tfc2016", "ustc-tfc2016/Gmail.pcap"), "benign"),
        (source("iscx-vpn", "iscx-vpn/vpn_chat.pcap"), "benign"),
    ],
)
def test_malware_labels(where: Source, label: str) -> None:
    assert malware.label_of(where) == label


def test_attacks_are_not_malware() -> None:
    assert malware.is_attack(source("malware", family="zerologon"))
    assert not malware.is_attack(source("malware", family="cerber"))
    assert not malware.is_attack(source("benign", family="scanner"))


@pytest.mark.parametrize(
    ("where", "label"),
    [
        (source("iscx-joy", label="novpn_email"), "messaging"),
        (source("iscx-joy", label="vpn_skype_files"), "file"),
        (source("iscx-joy", label="novpn_hangouts_audio"), "voip"),
        (source("ucdavis-quic", "ucdavis-quic/Youtube.val.npz"), "streaming"),
        (source("benign", family="zoom"), "voip"),
        (source("benign", family="dns"), "other"),
        (source("benign", family="something-else"), None),
    ],
)
def test_categories(where: Source, label: str | None) -> None:
    assert categories.label_of(where) == label


@pytest.mark.parametrize("name", ["byte-cnn", "flowpic"])
def test_the_shipped_card_is_its_template_with_the_bundles_figures(name: str) -> None:
    bundle = find_bundles()[name]
    scores = load_bundle(bundle).config.scores
    assert (bundle / CARD).read_text() == card(name, scores)


def test_a_card_needs_every_figure() -> None:
    with pytest.raises(KeyError):
        card("byte-cnn", {"auroc": 1.0})
