"""The tasks `./lab whisk.*`: measure and check any OpenWhisk.

What they need is imported when they run: `./lab --list` does not wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orrery.lab.command import lab, lab_task, write_json

HELP = {
    "apihost": "URL of any OpenWhisk; the lab's own engine without it",
    "auth": "uuid:key, or a file that holds it; the lab's own without it",
    "ca_file": "Certificates to trust besides the system's",
    "trials": "Trials of every figure",
    "warm_calls": "Calls of a warm trial, one after the other",
    "connections": "Connections of a throughput trial",
    "seconds": "Length of a throughput trial",
    "cold_trials": "Cold starts, each of a fresh action",
    "rss_after": "Activations before the engine's memory is read; 0 leaves it out",
    "stored": "Compare an engine with so many stored activations to one with 1,000; 0: do not",
    "baseline": "URL of another OpenWhisk, measured by turns",
    "baseline_auth": "uuid:key of a user of the baseline, or a file that holds it",
}


@lab_task
def bench(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    apihost: str = "",
    auth: str = "",
    ca_file: str = "",
    trials: str = "5",
    warm_calls: str = "500",
    connections: str = "8",
    seconds: str = "5",
    cold_trials: str = "10",
    rss_after: str = "10000",
    stored: str = "0",
    baseline: str = "",
    baseline_auth: str = "",
) -> None:
    """Measure an OpenWhisk: cost of a call, throughput, cold start, memory."""
    from orrery.whisk import access, commands, options

    # First what is typed, then what is looked for: a typo is a typo also where there is no lab.
    asked = options.parse(
        apihost,
        trials=trials,
        warm_calls=warm_calls,
        connections=connections,
        seconds=seconds,
        cold_trials=cold_trials,
        rss_after=rss_after,
        stored=stored,
    )
    target = access.find(lab(inventory, extra), apihost, auth, ca_file)
    other = access.other("baseline", baseline, baseline_auth, target.ca_file) if baseline else None
    chosen = options.between(asked, target.apihost, other.apihost if other else None)
    write_json(json, commands.bench(chosen, target, other))


@lab_task
def conformance(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    apihost: str = "",
    auth: str = "",
    ca_file: str = "",
) -> None:
    """Check facts about the API against an OpenWhisk."""
    from orrery.whisk import access, commands

    target = access.find(lab(inventory, extra), apihost, auth, ca_file)
    result = commands.conformance(target)
    write_json(json, result)
    commands.require_all(target, result)


# Invoke reads it when it parses the command line.
bench.help = dict(HELP)
conformance.help = {name: HELP[name] for name in ("apihost", "auth", "ca_file")}
