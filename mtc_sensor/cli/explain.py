"""`mtc-sensor explain`: why a model says what it says of one connection."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("bundle")
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("--flow", "uid", metavar="UID", required=True, help="As in mtc.log or conn.log.")
@click.option("--out", type=click.Path(path_type=Path), help="Picture to write, a PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per record.")
def explain(bundle: str, capture: Path, uid: str, out: Path | None, as_json: bool) -> int:
    """Show what of a connection decided its verdicts.

    BUNDLE is a shipped bundle's name or a folder, CAPTURE a pcap or pcapng. Parts of the model's
    input are taken away in turn; what the verdict loses without a part is what the part counts for.
    The picture is of the first malicious record, or of the first.
    """
    from mtc_sensor.inference import load_models  # noqa: PLC0415 - loads torch
    from mtc_sensor.training.explain import draw_evidence, explain_flow  # noqa: PLC0415

    found = explain_flow(load_models([bundle])[0], capture, uid)
    for one in found:
        name, effect = one.evidence.parts.name, one.evidence.effect
        parts = [(effect[at], name(at)) for at in (-effect).argsort(kind="stable").tolist()]
        if as_json:
            told = {
                "model": one.model,
                "uid": uid,
                "label": str(one.verdict.label[0]),
                "score": round(float(one.verdict.score[0]), 6),
                "for": one.label,
                "parts": [{"part": part, "log_odds": round(float(v), 4)} for v, part in parts],
            }
            click.echo(json.dumps(told))
            continue
        click.echo(one.title)
        click.echo(f"  {one.line or 'nothing decided it by itself'}")
        for value, part in parts[:10]:
            click.echo(f"  {value:+7.2f}  {part}")
    if out is not None:
        draw_evidence(next((one for one in found if one.verdict.malicious[0]), found[0]), out)
        click.echo(f"picture: {out}", err=True)
    return 0
