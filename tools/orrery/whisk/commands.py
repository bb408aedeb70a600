"""What the tasks do: run, show, and return the keys that `--json` writes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from orrery.errors import FunctionError
from orrery.measure import record as records
from orrery.measure.show import show
from orrery.whisk import bench as whisk_bench
from orrery.whisk.access import Access
from orrery.whisk.conformance import run as facts
from orrery.whisk.conformance.run import Verdict
from orrery.whisk.conformance.show import as_mapping, table
from orrery.whisk.options import BenchOptions

CONNECTIONS = 20


def bench(
    chosen: BenchOptions, target: Access, baseline: Access | None, console: Console | None = None
) -> dict[str, Any]:
    """Measure, save the record, print it."""
    out = console or Console()
    with out.status("starting") as status:
        found = whisk_bench.run(whisk_bench.measure(chosen, target, baseline, status.update))
    path = records.save(found)
    show(found, out, title=f"{chosen.apihost}, {found.started}")
    floor = found.summary["client_floor_ms"]
    out.print(f"client floor: {floor} ms of every call are the client's own (p50)")
    for note in found.summary["notes"]:
        out.print(note, highlight=False)
    out.print(f"record: {path}", soft_wrap=True, highlight=False)
    return {**found.summary, "record": str(path)}


def conformance(target: Access, console: Console | None = None) -> dict[str, Any]:
    """Check all facts and print what holds."""
    out = console or Console()
    verdicts = _check(target, out)
    out.print(table(verdicts))
    result = as_mapping(verdicts)
    out.print(f"{result['passed']} facts hold, {result['failed']} do not")
    return result


def require_all(target: Access, result: Mapping[str, Any]) -> None:
    """End as a failure where a fact does not hold.

    Raises:
        FunctionError: One does not.
    """
    failed, count = int(result["failed"]), len(result["facts"])
    if failed:
        raise FunctionError(f"{target.apihost}: {failed} of {count} facts do not hold")


def _check(target: Access, out: Console) -> list[Verdict]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        bar = progress.add_task("facts", total=len(facts.FACTS))

        async def check() -> list[Verdict]:
            async with target.client(CONNECTIONS) as client:
                return await facts.check_all(client, tell=lambda _: progress.advance(bar))

        return asyncio.run(check())
