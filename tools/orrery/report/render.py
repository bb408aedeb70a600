"""Templates of pages, strict and escaping: what a record says is text, whatever it holds."""

from __future__ import annotations

import functools
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from orrery.measure import quantities
from orrery.measure.record import CHECKOUT
from orrery.report.svg import printable

TEMPLATES = CHECKOUT / "templates" / "report"


def render(template: str, page: Any) -> str:
    """A page as HTML."""
    text = environment().get_template(template).render(page=page)
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()) + "\n"


@functools.cache
def environment() -> Environment:
    """Jinja's environment of all pages."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    made.filters["figure"] = quantities.figure
    return made


def _printable(value: Any) -> Any:
    """What a template prints, with a replacement for what no page can hold."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value
