"""A whole drill: its groups one after the other, what came out, and the record of it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from orrery.drill import felt
from orrery.drill.scenario import DrillScenario
from orrery.drill.suite import Group, Suite, SuiteScenario
from orrery.measure import journal as journals
from orrery.measure import record as records
from orrery.measure import stats
from orrery.measure.host import Host
from orrery.measure.plan import Outcome, Plan
from orrery.measure.record import Record, Row

PRIMARY = "seconds"
"""Every move has it, whatever becomes of it."""
SUMMED_UP = {
    "qemu_downtime_ms": "qemu_downtime",
    "guest_gap_ms": "guest_gap",
    "network_gap_ms": "network_gap",
}
TIMELINES = "timelines"
LOSSES = 3


def plan(suite: Suite, group: Group) -> Plan[DrillScenario]:
    """The plan of one group: as many moves of each, by turns, and no more."""
    return Plan(
        scenarios=group.scenarios,
        groups=(),
        primary={one.name: PRIMARY for one in group.scenarios},
        trials=suite.moves,
        most_trials=suite.moves,
        losses=LOSSES,
    )


def header(suite: Suite) -> dict[str, str]:
    """What a journal of this drill on this host begins with."""
    plans = [plan(suite, group).fingerprint() for group in suite.groups]
    fingerprint = hashlib.sha256(json.dumps(plans).encode()).hexdigest()[:16]
    return {"drill": suite.name, **journals.header(fingerprint)}


def record(
    suite: Suite,
    outcomes: Sequence[Outcome[DrillScenario]],
    *,
    started: str,
    host: Host,
    accel: str,
    versions: Mapping[str, str],
    leaks: Sequence[str],
    timelines: Mapping[str, Sequence[Mapping[str, Any]]],
    asked_as: str = "",
) -> Record:
    """The record of a drill.

    Args:
        suite: What was done.
        outcomes: Of its groups.
        started: When, as `record.begin` says it.
        host: As it was before.
        accel: What ran the guest.
        versions: By program.
        leaks: What was left behind.
        timelines: Of the moves, by scenario.
        asked_as: Path of a suite of the user's own; empty for one that came along.

    Raises:
        MeasurementError: A figure is none.
    """
    rows: list[Row] = []
    for group, outcome in zip(suite.groups, outcomes, strict=True):

        def listed(_: DrillScenario, metric: str, group: Group = group) -> bool:
            return metric in group.metrics

        rows += outcome.rows(felt.UNITS, listed)
    dropped = [one for found in outcomes for one in found.dropped]
    failed = [one for found in outcomes for one in found.failed]
    summary = summed_up(rows, len(dropped), leaks)
    summary |= {
        "suite": suite.name,
        "about": suite.about,
        "seconds": round(sum(one.seconds for one in outcomes), 1),
        TIMELINES: [
            {"scenario": name, **one} for name, found in timelines.items() for one in found
        ],
    }
    if asked_as:
        summary["asked_as"] = asked_as
    return records.make(
        SuiteScenario(suite.name, suite.moves),
        rows,
        summary,
        started=started,
        versions=versions,
        accel=accel,
        host=host,
        scenarios=suite.scenarios,
        conditions={name: one for found in outcomes for name, one in found.conditions.items()},
        skipped=[one for found in outcomes for one in found.skipped],
        dropped=dropped,
        failed=failed,
    )


def summed_up(rows: Sequence[Row], failed: int, leaks: Sequence[str]) -> dict[str, Any]:
    """The stable keys of `drill --json`, over all moves of all scenarios.

    Returns:
        moves, {qemu_downtime,guest_gap,network_gap}_ms with median and max (None where no move
        has the figure), lost_packets, lost_bytes, leaks, failed.
    """
    moves = sum(len(row.trials) for row in rows if row.metric == PRIMARY)
    found: dict[str, Any] = {"moves": moves + failed}
    for key, metric in SUMMED_UP.items():
        values = _values(rows, metric)
        found[key] = {
            "median": round(stats.median(values), 3) if values else None,
            "max": round(max(values), 3) if values else None,
        }
    return {
        **found,
        "lost_packets": int(sum(_values(rows, "lost_packets"))),
        "lost_bytes": int(sum(_values(rows, "lost_bytes"))),
        "leaks": len(leaks),
        "left_behind": list(leaks),
        "failed": failed,
    }


def _values(rows: Sequence[Row], metric: str) -> list[float]:
    return [value for row in rows if row.metric == metric for value in row.trials]
