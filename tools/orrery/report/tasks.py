"""The task `./lab report`.

What it needs is imported when it runs: `./lab --list` does not wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orrery import params
from orrery.errors import UsageError
from orrery.lab.command import lab, lab_task, write_json


@lab_task
def report(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    also: str = "",
) -> None:
    """Make pages from all records; nothing is measured again."""
    from rich.console import Console

    from orrery.report import pages

    other = [params.path("also", also, exists=True)] if also else []
    if other and not other[0].is_dir():
        raise UsageError(f"--also {other[0]}: is a file; a folder of records is needed")
    settings = lab(inventory, extra).settings
    made = pages.write_all([settings.records, *other], settings.checkout / ".lab" / "report")
    console = Console(highlight=False)
    for one in made.skipped:
        console.print(f"skipped {one.path}: {one.reason}", soft_wrap=True, markup=False)
    if not made.pages:
        console.print(
            f"{settings.records} holds no record. Measure something (./lab guest.cpu takes half a "
            "minute), or add the records that came along: ./lab report --also docs/results",
            soft_wrap=True,
        )
    console.print(f"{len(made.pages)} pages: {made.index}", soft_wrap=True, markup=False)
    write_json(
        json,
        {
            "pages": [str(page) for page in made.pages],
            "index": str(made.index),
            "skipped": [{"path": str(one.path), "reason": one.reason} for one in made.skipped],
        },
    )


# Invoke reads it when it parses the command line.
report.help = {"also": "Another folder of records, such as docs/results"}
