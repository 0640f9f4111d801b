"""`mtc-sensor replay --zeek` with a real Zeek."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mtc_sensor.cli import run
from mtc_sensor.transports import websocket
from mtc_sensor.wire.events import Grant, MtcEvent, VerdictBatch
from tests.unit.models.test_forest import make_forest
from tests.zeek.beside import write_flows

DEMO = Path(__file__).parents[2] / "samples" / "demo.pcap"

pytestmark = pytest.mark.zeek


@pytest.mark.parametrize("transport", ["zeromq", "websocket", "broker"])
def test_every_sample_is_judged(
    transport: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["replay", "--zeek", "--transport", transport, "--json", "--out", str(tmp_path)]
    code = run([*arguments, str(DEMO)])
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    summary = json.loads(captured.out)
    assert summary["exported"] == summary["judged"] > 0
    assert (summary["shed"], summary["lost"], summary["errors"]) == (0, 0, [])
    assert summary["dropped"] == {}
    judged, labels = judged_and_labels(tmp_path)
    assert {uid for uid in labels if labels[uid] != "-"} == judged
    assert len(labels) == summary["flows"] > len(judged)


def test_models_that_read_tokens_get_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["transport:tcp", *(f"word{number}" for number in range(19))]
    spec = {"kind": "tokens", "vocabulary": words, "statistics": False}
    model = make_forest(tmp_path / "words", spec, (20,))
    assert run(["replay", "--zeek", "--json", "--models", str(model), str(DEMO)]) == 0
    summary = json.loads(capsys.readouterr().out)
    early_and_final = summary["records"]["early"] + summary["records"]["final"]
    assert sum(summary["models"]["small"].values()) == early_and_final > 0


def judged_and_labels(logs: Path) -> tuple[set[str], dict[str, str]]:
    """Return the connections in mtc.log, and what conn.log says of all."""
    judged = {uid for (uid,) in columns(logs / "mtc.log", "uid")}
    return judged, dict(columns(logs / "conn.log", "uid", "mtc_label"))


def columns(log: Path, *names: str) -> list[list[str]]:
    """Return columns of one of Zeek's logs."""
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    (fields,) = (line[1:] for line in lines if line[0] == "#fields")
    places = [fields.index(name) for name in names]
    return [[line[place] for place in places] for line in lines if line[0][0] != "#"]


SAME = (
    "files",
    "errors",
    "packets",
    "bytes",
    "flows",
    "records",
    "verdicts",
    "notices",
    "suppressed",
    "top_talkers",
)


def test_the_summary_is_that_of_a_replay_without_zeek(
    capsys: pytest.CaptureFixture[str],
) -> None:
    summaries = []
    for option in ("--zeek", "--force"):
        assert run(["replay", option, "--models", "byte-cnn", "--json", str(DEMO)]) == 0
        summaries.append(json.loads(capsys.readouterr().out))
    with_zeek, without = [{key: summary[key] for key in SAME} for summary in summaries]
    assert with_zeek == without
    assert summaries[0].keys() - summaries[1].keys() == {"exported", "judged", "shed", "lost"}


def test_the_tables_are_those_of_a_replay_without_zeek(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = []
    for option in ("--zeek", "--force"):
        out = str(tmp_path / option)
        assert run(["replay", option, "--models", "byte-cnn", "--out", out, str(DEMO)]) == 0
        tables.append(capsys.readouterr().out.partition("Verdicts")[0::2])
    (counts, with_zeek), (_, without) = tables
    assert "samples: 308 exported, 308 judged, 0 shed, 0 lost" in counts
    assert with_zeek.partition("logs: ")[0] == without.partition("logs: ")[0]
    assert with_zeek.endswith(f"logs: {tmp_path / '--zeek'}\n")


class Leaving(websocket.WebSocket):
    """Leaves the bus with the event that it is told to, and does not come back."""

    last: Callable[[MtcEvent], bool]

    def publish(self, messages: Sequence[tuple[str, MtcEvent]], generation: int) -> list[bool]:
        if any(type(self).last(event) for _, event in messages):
            self._closing.set()
        if self._closing.is_set():
            return [False] * len(messages)
        return super().publish(messages, generation)


@pytest.mark.parametrize(
    ("last", "missing"),
    [
        (
            lambda event: isinstance(event, VerdictBatch) and event.verdicts[-1].seq >= 100,
            r"[1-9]\d*",
        ),
        (lambda event: isinstance(event, Grant) and event.acked == 308, "0"),
    ],
    ids=["in the middle", "before the last grant"],
)
def test_a_sensor_that_has_gone_is_an_error(
    last: Callable[[MtcEvent], bool],
    missing: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Leaving, "last", staticmethod(last), raising=False)
    monkeypatch.setattr(websocket, "WebSocket", Leaving)
    command = ["replay", "--zeek", "--transport", "websocket", "--models", "byte-cnn"]
    assert run([*command, "--out", str(tmp_path), str(DEMO)]) == 1
    error = capsys.readouterr().err
    assert re.search(f"zeek ended before all was settled, {missing} samples not judged: ", error)
    assert "the sensor of shard 0 has gone after sample" in error
    judged, labels = judged_and_labels(tmp_path)
    assert {uid for uid in labels if labels[uid] != "-"} == judged > set()


def test_every_notice_is_raised_if_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["replay", "--zeek", "--models", "byte-cnn", "--json", "--out", str(tmp_path)]
    assert run([*command, "--suppress-for", "0", str(DEMO)]) == 0
    summary = json.loads(capsys.readouterr().out)
    lines = (tmp_path / "notice.log").read_text().splitlines()
    notices = sum("MTC::Malicious_Flow" in line for line in lines)
    assert notices == summary["notices"] == summary["verdicts"]["hancitor"] > 1
    assert summary["suppressed"] == 0


@pytest.mark.parametrize("transport", ["zeromq", pytest.param("websocket", marks=pytest.mark.long)])
def test_the_end_can_be_larger_than_window_and_queue(
    transport: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flows = 3000  # windows sum to 400 samples, the queue holds 2000
    capture = write_flows(tmp_path / "flows.pcap", flows, seconds=10, packets=4)
    command = ["replay", "--zeek", "--transport", transport, "--models", "byte-cnn", "--json"]
    assert run([*command, str(capture)]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["records"] == {"early": 0, "block": 0, "final": flows}
    assert summary["exported"] == summary["judged"] == sum(summary["verdicts"].values()) == flows
    assert (summary["shed"], summary["lost"]) == (0, 0)


def test_what_zeek_says_is_passed_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "local.zeek"
    script.write_text("this is no script\n")
    assert run(["replay", "--zeek", "--zeek-script", str(script), str(DEMO)]) == 1
    error = capsys.readouterr().err
    assert f"{DEMO}: zeek ended with code 1: " in error
    assert f"{script}, line 1" in error


def test_logs_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "conn.log").write_text("mine\n")
    assert run(["replay", "--zeek", "--out", str(tmp_path), str(DEMO)]) == 1
    assert f"{tmp_path / 'conn.log'}: already there" in capsys.readouterr().err
