"""Texts from the templates of this repository that are no pages: domains, and what a VM is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from orrery.errors import ConfigurationError


def rendered(folder: Path, name: str, *, markup: bool, **values: Any) -> str:
    """A template's text.

    Args:
        folder: Where it is.
        name: Of its file.
        markup: Whether what is put in is escaped, as XML needs it.
        values: What it sees.

    Raises:
        ConfigurationError: It is not there, or is none.
    """
    environment = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=markup,  # noqa: S701 (what is no markup goes through `tojson`)
    )
    try:
        return environment.get_template(name).render(values)
    except TemplateError as error:
        raise ConfigurationError(f"{folder / name}: {error}") from error
