"""How long scenarios will take, before one of them has run. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from orrery.network.scenario import NetScenario, Traffic
from orrery.network.traffic.latency import SOCKPERF_EXTRA_S

AROUND_S = 0.8
"""What a trial costs beside the time that it sends: servers, counters [s]."""
STEPS = 18
"""Of a search for the highest load."""
START_S = 3.0
"""For each scenario: its guests, or its share of them, and a warm-up [s]."""


def trial_s(scenario: NetScenario) -> float:
    """About how long a trial takes [s]."""
    one = scenario.seconds + AROUND_S
    if scenario.traffic is Traffic.RFC2544:
        return STEPS * one
    return one + (SOCKPERF_EXTRA_S if scenario.traffic is Traffic.LATENCY else 0.0)


def whole_s(scenarios: Iterable[NetScenario], trials: int) -> float:
    """About how long so many trials of each take, starts included [s]."""
    return sum(START_S + trial_s(one) * trials for one in scenarios)
