"""From trials to rows and summary of a benchmark's record. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orrery.measure import stats
from orrery.measure.record import Row
from orrery.whisk.load import Tally, WarmTrial
from orrery.whisk.options import (
    STORED_REFERENCE,
    BenchOptions,
    Cold,
    Floor,
    Memory,
    Stored,
    Throughput,
    Warm,
)

TARGET = "target"
BASELINE = "baseline"


@dataclass
class Trials:
    """What one host showed, trial by trial."""

    label: str
    warm: list[WarmTrial] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)
    cold_ms: list[float] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)


@dataclass
class StoredTrials:
    """Client's p50 of each trial [ms], with a short and with a long store."""

    reference_ms: list[float] = field(default_factory=list)
    filled_ms: list[float] = field(default_factory=list)


@dataclass
class Found:
    """Everything a benchmark measured.

    Attributes:
        floor_ms: Client's p50 of each trial against a server that does nothing [ms].
        rss_mb: The engine's memory; None where it cannot be seen.
        rss_after: Activations that it had served by then.
        notes: What could not be measured, and why.
    """

    floor_ms: list[float] = field(default_factory=list)
    hosts: list[Trials] = field(default_factory=list)
    rss_mb: float | None = None
    rss_after: int = 0
    stored: StoredTrials | None = None
    notes: list[str] = field(default_factory=list)


def rows(options: BenchOptions, found: Found) -> list[Row]:
    """One row per figure, with its trials."""
    floor = Floor(options.warm_calls)
    made = [Row.of(floor, "client_floor_p50", "ms", found.floor_ms)]
    for host in found.hosts:
        made += _host_rows(options, host)
    if found.rss_mb is not None:
        # One reading: memory is no distribution, and a second one needs a second engine.
        made.append(Row.of(Memory(found.rss_after), "rss", "MB", [found.rss_mb], needed=1))
    if found.stored is not None and options.stored is not None:
        for count, trials in (
            (STORED_REFERENCE, found.stored.reference_ms),
            (options.stored, found.stored.filled_ms),
        ):
            scenario = Stored(count, options.warm_calls)
            made.append(Row.of(scenario, "stored_client_p50", "ms", trials))
    return made


def summary(options: BenchOptions, found: Found, made: Sequence[Row]) -> dict[str, Any]:
    """The stable keys of `--json`, and what belongs to them."""
    keys: dict[str, Any] = {
        **_host_summary(found.hosts[0]),
        "rss_mb": None if found.rss_mb is None else round(found.rss_mb, 1),
        "rss_after": found.rss_after,
        "client_floor_ms": _ms(stats.median(found.floor_ms)),
        "stable": all(row.stable for row in made),
        "unstable": [f"{row.metric} ({row.scenario}): {row.reason}" for row in _unstable(made)],
        "notes": list(found.notes),
    }
    if found.stored is not None:
        keys["stored"] = _stored_summary(options, found.stored)
    if len(found.hosts) > 1:
        keys["baseline"] = _against(keys, _host_summary(found.hosts[1]))
    return keys


def _host_rows(options: BenchOptions, host: Trials) -> list[Row]:
    warm = Warm(host.label, options.warm_calls)
    loaded = Throughput(host.label, options.connections, options.seconds)
    columns = {
        "warm_overhead_p50": [trial.overhead_p50 for trial in host.warm],
        "warm_overhead_p99": [trial.overhead_p99 for trial in host.warm],
        "warm_client_p50": [trial.client_p50 for trial in host.warm],
        "warm_client_p99": [trial.client_p99 for trial in host.warm],
    }
    made = [Row.of(warm, metric, "ms", trials) for metric, trials in columns.items()]
    made.append(Row.of(loaded, "throughput", "1/s", host.per_s))
    made.append(Row.of(Cold(host.label), "cold_client", "ms", host.cold_ms))
    return made


def _host_summary(host: Trials) -> dict[str, Any]:
    return {
        "warm_overhead_ms": {
            "p50": _ms(stats.median(trial.overhead_p50 for trial in host.warm)),
            "p99": _ms(stats.median(trial.overhead_p99 for trial in host.warm)),
        },
        "warm_client_ms": {
            "p50": _ms(stats.median(trial.client_p50 for trial in host.warm)),
            "p99": _ms(stats.median(trial.client_p99 for trial in host.warm)),
        },
        "throughput_per_s": round(stats.median(host.per_s), 1),
        "cold_ms": {"p50": _ms(stats.median(host.cold_ms))},
        "cold_among_warm": host.tally.cold_seen,
    }


def _stored_summary(options: BenchOptions, trials: StoredTrials) -> dict[str, Any]:
    reference, filled = stats.median(trials.reference_ms), stats.median(trials.filled_ms)
    return {
        "rows": options.stored,
        "p50_ms": _ms(filled),
        "reference_rows": STORED_REFERENCE,
        "reference_p50_ms": _ms(reference),
        "ratio": round(stats.ratio(filled, reference), 3),
    }


def _against(target: Mapping[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
    """The baseline's figures, and the target's over them."""
    pairs = {
        "warm_client_ms": (target["warm_client_ms"]["p50"], baseline["warm_client_ms"]["p50"]),
        "throughput_per_s": (target["throughput_per_s"], baseline["throughput_per_s"]),
        "cold_ms": (target["cold_ms"]["p50"], baseline["cold_ms"]["p50"]),
    }
    ratios = {key: round(stats.ratio(ours, theirs), 3) for key, (ours, theirs) in pairs.items()}
    return {**baseline, "ratios": ratios}


def _unstable(made: Sequence[Row]) -> list[Row]:
    return [row for row in made if not row.stable]


def _ms(value: float) -> float:
    return round(value, 3)
