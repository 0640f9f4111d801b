"""`mtc-sensor models`: which bundles there are, what is in one, whether it is sound."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.table import Table

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.group()
def models() -> None:
    """List, show and verify model bundles."""


@models.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List the shipped bundles."""
    from mtc_sensor.models.bundle import find_bundles, load_bundle  # noqa: PLC0415 - loads torch

    bundles = [load_bundle(path) for path in find_bundles().values()]
    rows = [
        {
            "name": bundle.config.name,
            "version": bundle.config.version,
            "input": str(bundle.config.input["kind"]),
            "labels": len(bundle.config.labels),
            "malicious": len(bundle.config.malicious),
            "parameters": sum(tensor.numel() for tensor in bundle.network.parameters()),
            "path": str(bundle.path),
        }
        for bundle in bundles
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table(*list(rows[0])[:-1] if rows else [], box=None, pad_edge=False)
    for row in rows:
        table.add_row(*[str(value) for value in list(row.values())[:-1]])
    Console().print(table)


@models.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show a bundle's settings and its card. NAME is a shipped bundle's name or a folder."""
    from mtc_sensor.models.bundle import CARD, bundle_path, load_bundle  # noqa: PLC0415

    bundle = load_bundle(bundle_path(name))
    settings = bundle.config.model_dump(mode="json")
    if as_json:
        click.echo(json.dumps(settings))
        return
    card = bundle.path / CARD
    click.echo(card.read_text() if card.is_file() else f"{bundle.path}: has no {CARD}")
    for key, value in settings.items():
        click.echo(f"{key}: {json.dumps(value)}")


@models.command()
@click.argument("names", nargs=-1)
def verify(names: tuple[str, ...]) -> None:
    """Check bundles: hashes, shapes, and that this machine computes the stored reference."""
    from mtc_sensor.models.bundle import bundle_path, find_bundles, verify  # noqa: PLC0415

    for path in [bundle_path(name) for name in names] or list(find_bundles().values()):
        difference = verify(path)
        click.echo(f"{path}: ok, reference reproduced within {difference:.1g}")
