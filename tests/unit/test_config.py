from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mtc_sensor.config import SensorConfig, load_config
from mtc_sensor.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"


def refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "sensor.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def test_the_short_configuration_loads() -> None:
    assert load_config(CONFIGS / "sensor.yaml").transport.kind == "websocket"


def test_the_full_configuration_is_the_defaults() -> None:
    assert load_config(CONFIGS / "sensor.full.yaml") == SensorConfig()


def test_the_full_configuration_has_every_key() -> None:
    text = (CONFIGS / "sensor.full.yaml").read_text()
    assert keys(SensorConfig().model_dump()) <= keys(yaml.safe_load(text)) | {
        key
        for line in text.splitlines()
        if (key := line.strip(" #").partition(":")[0]).isidentifier()
    }


def keys(tree: object) -> set[str]:
    if not isinstance(tree, dict):
        return set()
    return set(tree) | {key for value in tree.values() for key in keys(value)}


def test_an_unknown_key_is_refused_with_its_line_and_the_nearest_one(tmp_path: Path) -> None:
    text = "name: s1\ntransport:\n  kind: zeromq\n  zeromq:\n    xpup: tcp://127.0.0.1:1\n"
    assert refusal(tmp_path, text) == (
        "line 5: unknown key transport.zeromq.xpup: did you mean xpub?"
    )


def test_a_bad_value_is_refused_with_its_line(tmp_path: Path) -> None:
    assert refusal(tmp_path, "batch:\n  size: 801\n").startswith("line 2: batch.size: ")
    assert refusal(tmp_path, "shards:\n  - 0\n  - -1\n").startswith("line 3: shards.1: ")
    assert refusal(tmp_path, "name: a/b\n").startswith("line 1: name: ")


def test_a_missing_key_is_refused_with_its_section(tmp_path: Path) -> None:
    text = "transport:\n  zeromq:\n    curve: {}\n"
    assert refusal(tmp_path, text).startswith(
        "line 3: key transport.zeromq.curve.server_publickey is missing: add it"
    )


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    assert "each only once" in refusal(tmp_path, "shards: [1, 1]\n")
    assert "need a wss:// url" in refusal(tmp_path, "transport:\n  websocket:\n    ca: ca.pem\n")


@pytest.mark.parametrize(
    "peer", ["127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:27764", ":27764", "a b:1", "a:1:2"]
)
def test_a_peer_that_is_no_address_is_refused(peer: str, tmp_path: Path) -> None:
    text = f"transport:\n  broker:\n    peers:\n      - '127.0.0.1:1'\n      - '{peer}'\n"
    assert refusal(tmp_path, text) == (
        f"line 5: transport.broker.peers: '{peer}': give host and port, such as 127.0.0.1:27764 or "
        "[::1]:27764"
    )


def test_peers_are_different_addresses(tmp_path: Path) -> None:
    text = "transport:\n  broker:\n    peers: {}\n"
    good = ["[::1]:27764", "worker-1.example:27764"]
    (tmp_path / "sensor.yaml").write_text(text.format(json.dumps(good)))
    assert load_config(tmp_path / "sensor.yaml").transport.broker.peers == good
    twice = refusal(tmp_path, text.format(json.dumps(["a:1", "a:1"])))
    assert twice == "line 2: transport.broker.peers: give each only once, not ['a:1', 'a:1']"
    assert "at least 1 item" in refusal(tmp_path, text.format("[]"))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "").startswith("line 1: ")


def test_workers_share_the_shards_and_have_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "sensor.yaml"
    path.write_text(
        "name: s\nshards: [0, 1, 2]\nworkers: 2\nmetrics: {port: 9000}\nverdicts: /v/out.json\n"
    )
    config = load_config(path)
    workers = [config.of_worker(number) for number in (1, 2)]
    assert [worker.shards for worker in workers] == [[0, 2], [1]]
    assert [worker.name for worker in workers] == ["s-1", "s-2"]
    assert [worker.metrics and worker.metrics.port for worker in workers] == [9000, 9001]
    assert [str(worker.verdicts) for worker in workers] == ["/v/out-1.json", "/v/out-2.json"]


def test_what_does_not_fit_together_under_load_is_refused(tmp_path: Path) -> None:
    assert "workers: 2 cannot share 1 shards" in refusal(tmp_path, "workers: 2\n")
    marks = "overload: {skip_at: 300, shed_at: 200}\n"
    assert "overload.shed_at: not below skip_at, 300" in refusal(tmp_path, marks)
    assert refusal(tmp_path, "device: tpu\n").startswith("line 1: device: ")
    assert refusal(tmp_path, "overload:\n  policy: all\n").startswith("line 2: overload.policy: ")
