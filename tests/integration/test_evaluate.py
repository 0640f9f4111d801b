"""`evaluate`, `audit`, `calibrate` and `explain` as a user calls them, on the demo capture."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mtc_sensor.cli import run
from mtc_sensor.training.report import FIGURES, PAGE

from ..conftest import SAMPLE
from ..unit.models.bundles import change_config, make_bundle

KEYS = {
    "bundle", "n", "accuracy", "macro_f1", "auroc", "tpr_at_fpr", "ece", "unknown_rate",
    "per_class", "baselines", "intervals",
}  # fmt: skip
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command in a folder with a manifest; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("a.pcap", "b.pcap"):
        Path(name).write_bytes(SAMPLE.read_bytes())
    Path("one.csv").write_text("path,label\na.pcap,benign\n")
    Path("two.csv").write_text("path,label,split\na.pcap,benign,train\nb.pcap,bad malware,val\n")
    capsys.readouterr()

    def called(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return called


def test_json_has_exactly_its_keys(call: Run) -> None:
    code, out, _ = call("evaluate", "byte-cnn", "--data", "one.csv", "--json")
    assert code == 0
    told = json.loads(out)
    assert told.keys() == KEYS
    assert told["tpr_at_fpr"].keys() == {"0.01", "0.001", "0.0001"}
    assert told["baselines"] is None
    assert told["auroc"] is None
    assert told["n"] > 10
    assert told["per_class"]["benign"].keys() == {"precision", "recall", "f1", "support"}
    assert told["per_class"]["benign"]["support"] == told["n"]


def test_several_bundles_are_beside_each_other_and_in_a_report(call: Run, tmp_path: Path) -> None:
    small = str(make_bundle(tmp_path / "small"))
    arguments = ("byte-cnn", small, "--data", "one.csv", "--json", "--report", "report")
    code, out, _ = call("evaluate", *arguments)
    assert code == 0
    assert json.loads(out)["bundles"].keys() == {"byte-cnn", "small"}
    page = (tmp_path / "report" / PAGE).read_text()
    assert page.count("data:image/png;base64,") >= 4
    assert "http" not in page.replace("http-equiv", "")
    figures = json.loads((tmp_path / "report" / FIGURES).read_text())
    assert figures["bundles"]["small"]["speed"]["us_per_flow"] > 0


def test_what_was_trained_on_is_not_asked_again(call: Run) -> None:
    """Both captures are the same, so that no input of the second is left."""
    code, out, err = call("evaluate", "byte-cnn", "--data", "two.csv")
    assert (code, out) == (1, "")
    assert "no records to ask about" in err
    assert "--split" in err


def test_the_paper_protocol_says_so(call: Run) -> None:
    arguments = ("byte-cnn", "--data", "two.csv", "--protocol", "paper", "--report", "report")
    code, out, _ = call("evaluate", *arguments)
    assert code == 0
    assert "PAPER PROTOCOL" in out
    assert "1-NN" in out
    told = json.loads(Path("report", FIGURES).read_text())["bundles"]["byte-cnn"]
    assert told["protocol"] == "paper"
    assert told["baselines"].keys() == {"nearest_neighbour", "boosted_trees"}


def test_records_as_they_were_early(call: Run, tmp_path: Path) -> None:
    small = str(make_bundle(tmp_path / "small", "flowpic"))
    asked = [
        call("evaluate", small, "--data", "one.csv", "--json", *more)
        for more in ((), ("--first", "1000"), ("--first", "0.05"))
    ]
    whole, long, short = (json.loads(out) for _, out, _ in asked)
    assert whole == long
    assert 0 < short["n"] < whole["n"]  # few have four packets by then
    code, _, err = call("evaluate", "byte-cnn", "--data", "one.csv", "--first", "5")
    assert code == 1
    assert "byte-cnn: --first cuts sizes and times" in err


def test_an_unknown_split_and_task_name_the_remedy(call: Run) -> None:
    code, _, err = call("evaluate", "byte-cnn", "--data", "two.csv", "--split", "tets")
    assert code == 1
    assert "train, val" in err
    code, _, err = call("evaluate", "byte-cnn", "--data", "two.csv", "--task", "malwear")
    assert code == 1
    assert "malware" in err


def test_an_audit_passes_or_fails_by_what_is_masked(call: Run, tmp_path: Path) -> None:
    code, out, _ = call("audit", "byte-cnn")
    assert code == 0
    assert "tcp_window" in out
    path = make_bundle(tmp_path / "open")
    spec = {"kind": "byte_matrix", "packets": 8, "bytes": 80, "masks": []}
    change_config(path, input=spec)
    code, out, err = call("audit", str(path), "--json")
    assert code == 1
    assert json.loads(out)["passes"] is False
    assert "depend on" in err
    assert "addresses" in err


def test_labels_that_a_bundle_does_not_know_are_refused(call: Run) -> None:
    code, _, err = call("audit", "flowpic", "--data", "one.csv", "--task", "label")
    assert code == 1
    assert "knows none of the labels" in err


def test_a_bundle_is_calibrated_into_a_new_folder(call: Run) -> None:
    arguments = ("byte-cnn", "--data", "one.csv", "--alerts-per-day", "5", "--out", "mine")
    code, out, _ = call("calibrate", *arguments, "--flows-per-day", "1e5")
    assert code == 0
    assert "5 alerts in 100000 flows a day" in out
    assert "beyond what they can show" in out
    assert call("models", "verify", "mine")[0] == 0
    code, _, err = call("calibrate", *arguments)
    assert code == 1
    assert "new folder" in err
    assert (
        call("calibrate", "byte-cnn", "--data", "one.csv", "--out", "x", "--flows-per-day", "1")[0]
        == 2
    )


def test_a_verdict_is_explained(call: Run, tmp_path: Path) -> None:
    call("replay", "a.pcap", "--models", "byte-cnn", "--out", "logs")
    lines = (tmp_path / "logs" / "mtc.log").read_text().splitlines()
    rows = [line.split("\t") for line in lines if "decided by" in line]
    uid, detail = rows[0][1], rows[0][-1]
    code, out, _ = call("explain", "byte-cnn", "a.pcap", "--flow", uid, "--out", "why.png")
    assert code == 0
    assert detail[detail.index("decided by") :] in out
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = call("explain", "byte-cnn", "a.pcap", "--flow", uid, "--json")
    parts = json.loads(out.splitlines()[0])["parts"]
    assert parts[0]["log_odds"] >= parts[-1]["log_odds"]


def test_a_flow_that_is_not_there(call: Run) -> None:
    code, _, err = call("explain", "byte-cnn", "a.pcap", "--flow", "Cnothere")
    assert code == 1
    assert "Cnothere" in err
    assert "mtc.log" in err
