"""A record of a drill, made by hand: settings that are compared, and a timeline with its ports."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from orrery.drill.scenario import DrillScenario, Help
from orrery.drill.suite import SuiteScenario
from orrery.measure.record import Record, Row, make
from tests.support.bench_record import HOST

BUSY = DrillScenario(
    dirty_mb=64, dirty_mbps=100, pattern="byte", bandwidth_mbps=50, downtime_ms=100
)
SETTINGS = (
    replace(BUSY, dirty_mbps=20),
    replace(BUSY, converges=False),
    replace(BUSY, help=Help.AUTO_CONVERGE),
    replace(BUSY, pattern="random", downtime_ms=2000, help=Help.ZSTD),
)
FIGURES = {
    "qemu_downtime": ("ms", 90.0, True),
    "guest_gap": ("ms", 180.0, True),
    "network_gap": ("ms", 260.0, True),
    "total": ("ms", 4200.0, False),
    "memory": ("MB", 210.0, False),
    "rounds": ("", 5.0, True),
    "clock_shift": ("ms", 80.0, False),
    "switch_dropped": ("", 40.0, False),
}
# A migration that was cancelled has none of these.
ONLY_MOVED = ("qemu_downtime", "network_gap")


def timeline(number: int) -> dict[str, Any]:
    """One move, the later ones with longer silences."""
    counts = {"rx_packets": 1200, "rx_bytes": 86_400, "rx_dropped": 0, "tx_packets": 980}
    added = {name: value * 9 for name, value in counts.items()}
    after = {name: value * 10 for name, value in counts.items()}
    ports = [
        {"side": side, "port": port, "before": counts, "after": after, "added": added}
        for side, port in (("source", "vh-drill-a"), ("destination", "vh-drill-b"))
    ]
    return {
        "scenario": SETTINGS[0].name,
        "source": "drill-a",
        "target": "drill-b",
        "outcome": "moved",
        "why": "",
        "start_ms": -1000.0,
        "end_ms": 5700.0,
        "phases": [
            {"name": "setup", "start_ms": 0.0, "end_ms": 20.0},
            {"name": "memory", "start_ms": 20.0, "end_ms": 4100.0},
            {"name": "switch-over", "start_ms": 4100.0, "end_ms": 4200.0},
        ],
        "rounds": [1200.0, 2600.0],
        "announced": [4204.0],
        "paused": [4105.0, 4195.0],
        "clocks": [
            {"name": "program in the guest", "gaps": [[4100.0, 120.0]]},
            {"name": "packets to the guest", "gaps": [[4100.0, 150.0 + 30 * number]]},
        ],
        "stream": {"step_ms": 50.0, "mbit_per_s": [6.5] * 100 + [0.0] * 6 + [6.5] * 28},
        "samples": [],
        "ports": ports,
    }


def drill_record() -> Record:
    """All of it; the same at every call."""
    chance = random.Random(7)
    rows = []
    for number, scenario in enumerate(SETTINGS, start=1):
        for metric, (unit, middle, listed) in FIGURES.items():
            if scenario.converges is False and metric in ONLY_MOVED:
                continue
            trials = [middle * number * chance.uniform(0.9, 1.1) for _ in range(2 + number)]
            rows.append(Row.of(scenario, metric, unit, trials, listed=listed))
    return make(
        SuiteScenario("convergence", 3),
        rows,
        {"about": "Which guests can be moved?", "timelines": [timeline(one) for one in range(3)]},
        started="2026-11-26T04:05:06.789+00:00",
        versions={"qemu": "10.0.2", "ovs": "3.1.0"},
        accel="tcg",
        host=HOST,
        scenarios=SETTINGS,
    )
