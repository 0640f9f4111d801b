"""The Grafana dashboard asks for metrics that there are, by labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mtc_sensor.metrics import render
from tests.unit.test_metrics import filled

DASHBOARD = Path(__file__).parents[2] / "docker" / "grafana" / "mtc-sensor.json"
DEVICE = {"mtc_sensor_device_memory_bytes": {"device", "kind"}}
"""There is one only on a machine with CUDA."""
_METRIC = re.compile(r"\b(?:mtc_sensor|process)_\w+")
_BY = re.compile(r"\bby \(([^)]*)\)")
_LEGEND = re.compile(r"\{\{(\w+)\}\}")


def exported() -> dict[str, set[str]]:
    """Return the labels of each metric."""
    families = text_string_to_metric_families(render(filled()).decode())
    samples = [sample for family in families for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples} | DEVICE


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def targets() -> list[dict[str, Any]]:
    return [target for panel in dashboard()["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("target", targets(), ids=lambda target: target["expr"][:60])
def test_a_query_names_metrics_and_labels_that_are_exported(target: dict[str, Any]) -> None:
    metrics, query = exported(), target["expr"]
    names = set(_METRIC.findall(query))
    assert names
    assert names <= metrics.keys()
    labels = set.union(*(metrics[name] for name in names)) | {"instance"}
    grouped = {label for found in _BY.findall(query) for label in found.split(", ")}
    assert grouped | set(_LEGEND.findall(target["legendFormat"])) <= labels
    assert query.count("(") == query.count(")")


def test_everything_exported_is_shown() -> None:
    shown = {name for target in targets() for name in _METRIC.findall(target["expr"])}
    bases = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in shown}
    own = {name for name in exported() if name.startswith("mtc_sensor_")}
    assert {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in own} <= bases


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        rows = range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in columns for y in rows}
        assert not cells & taken
        assert max(columns) < 24
        taken |= cells
