"""What people see of a data set."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from mtc_sensor.training.survey import Survey

_SHOWN_LEAKS = 12
_CLEAR = 0.8


def print_survey(survey: Survey) -> None:
    """Print classes, duplicates and leaks."""
    console = Console(highlight=False)
    console.print(
        f"task {survey.task}: {survey.records:,} records of {len(survey.captures):,} captures\n",
        soft_wrap=True,
    )
    console.print(_classes(survey))
    console.print(_duplicates(survey))
    if survey.leaks:
        console.print(_leaks(survey))
    console.print(f"Fields were judged on {survey.protocol}.", soft_wrap=True)


def _classes(survey: Survey) -> Table:
    splits = sorted({split for one in survey.classes for split in one.records})
    table = _table("", "class", "", "captures", *splits, "unique sizes", "largest capture")
    for one in survey.classes:
        table.add_row(
            one.label,
            "malicious" if one.malicious else "",
            f"{one.captures:,}",
            *(f"{one.records.get(split, 0):,}" for split in splits),
            f"{one.unique:,}",
            f"{one.largest:.0%}",
        )
    return table


def _duplicates(survey: Survey) -> Table:
    table = _table("\nDuplicates", "same", "repeats", "outside of train and in it", "two labels")
    for same, found in survey.duplicates.items():
        table.add_row(same, *(f"{count:,}" for count in found))
    return table


def _leaks(survey: Survey) -> Table:
    table = _table("\nWhat single fields tell", "field", "AUROC", "")
    for leak in survey.leaks[:_SHOWN_LEAKS]:
        warned = leak.shortcut and leak.auroc >= _CLEAR
        table.add_row(leak.field, f"{leak.auroc:.3f}", "shortcut: mask it" if warned else "")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number and column else "left")
    return table
