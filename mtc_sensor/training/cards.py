"""Model cards: prose kept beside this module, figures filled in by the training run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template

TEMPLATES = Path(__file__).parent / "cards"


def card(name: str, scores: Mapping[str, float]) -> str:
    """Return the card of the bundle `name`. Raises KeyError for a figure that was not measured."""
    figures = {key.replace("-", "_").replace(".", "_"): f"{v:g}" for key, v in scores.items()}
    return Template((TEMPLATES / f"{name}.md").read_text()).substitute(figures)
