"""Verdicts as a table for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from orrery.whisk.conformance.run import Verdict


def table(verdicts: Sequence[Verdict]) -> Table:
    """One line per fact; what was found stands below a fact that does not hold."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("area", no_wrap=True)
    shown.add_column("fact", overflow="fold")
    shown.add_column("holds", no_wrap=True)
    for verdict in verdicts:
        text = escape(verdict.fact.text)
        if not verdict.passed:
            text = f"{text}\n  [red]{escape(verdict.detail)}[/red]"
        shown.add_row(verdict.fact.area, text, "yes" if verdict.passed else "[red]no[/red]")
    return shown


def as_mapping(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The stable keys of `--json`."""
    passed = sum(verdict.passed for verdict in verdicts)
    facts = [
        {
            "area": verdict.fact.area,
            "fact": verdict.fact.text,
            "passed": verdict.passed,
            "detail": verdict.detail,
        }
        for verdict in verdicts
    ]
    return {"passed": passed, "failed": len(verdicts) - passed, "facts": facts}
