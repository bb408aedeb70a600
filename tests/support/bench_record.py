"""A record of a comparison on the network, made by hand: every kind of row, ratio and fault."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

from orrery.bench.suite import SuiteScenario, scenario_of
from orrery.measure import stats
from orrery.measure.host import Host
from orrery.measure.record import Ratio, Record, Row, make
from orrery.network.backends import PATHS, Backend
from orrery.network.offloads import OffloadState
from orrery.network.scenario import NetScenario, Traffic
from orrery.network.scenario import Path as Route

HOST = Host(
    "Intel(R) Xeon(R) Processor", 2, 24105, "6.18.44", "Debian GNU/Linux 12", (0.1, 0.2, 0.1)
)
FACTORS = {
    "vhost-user": 1.0,
    "virtio-net-ovs": 0.55,
    "virtio-net": 0.62,
    "vhost-net": 0.98,
    "engine-vhost-user": 1.0,
    "engine-af-packet-ovs": 0.02,
    "engine-bridge": 0.05,
}
GUESTS = ("vhost-user", "virtio-net-ovs", "virtio-net")
FRAMES = ("64", "256", "512", "1024", "1518", "imix")


class Maker:
    """Collects rows and ratios of made-up trials."""

    def __init__(self) -> None:
        self.random = random.Random(7)
        self.rows: list[Row] = []
        self.ratios: list[Ratio] = []
        self.conditions: dict[str, dict[str, Any]] = {}

    def row(
        self,
        values: dict[str, Any],
        metric: str,
        unit: str,
        middle: float,
        spread: float = 0.03,
        listed: bool = True,
    ) -> NetScenario:
        """A row around a value, and the conditions of its scenario."""
        scenario = scenario_of({"path": "guest-guest", **values}, "made by hand")
        trials = [middle * self.random.uniform(1 - spread, 1 + spread) for _ in range(5)]
        self.rows.append(Row.of(scenario, metric, unit, trials, listed=listed))
        on = values.get("offloads") == "native"
        tap = None if scenario.backend is Backend.VHOST_USER else PATHS[scenario.backend].vnet_hdr
        side = OffloadState(on, on, on, on, lro=False, vnet_hdr=tap).as_mapping()
        if scenario.path is not Route.ENGINE:
            ends = {"mtu": values.get("mtu", 1500), "cpus": None, "packed": False}
            self.conditions[scenario.name] = {
                "near": ends,
                "far": ends,
                "switch": {"pmd_sleep_us": 0, "pmd_cpus": [1]},
                "offloads": {"near": side, "far": side},
            }
        return scenario

    def ratio(self, a: NetScenario, b: NetScenario, metric: str) -> None:
        """The ratio of two rows that are there."""
        sides = [
            next(row for row in self.rows if (row.scenario, row.metric) == (one.name, metric))
            for one in (a, b)
        ]
        equal = None if a.path is Route.ENGINE else a.offloads == b.offloads
        found = stats.paired_ratio(sides[0].trials, sides[1].trials)
        self.ratios.append(Ratio.of(a.name, b.name, metric, found, equal))


def bench_record(extra_rows: Sequence[Row] = ()) -> Record:
    """All of it; the same at every call."""
    maker = Maker()
    _tcp(maker)
    _udp(maker)
    _latency(maker)
    _engine(maker)
    _queues(maker)
    first, second = maker.rows[0].scenario, maker.rows[1].scenario
    return make(
        SuiteScenario(suite="standard", trials=5, most_trials=9, spread=0.15),
        [*maker.rows, *extra_rows],
        {"about": "What does vhost-user bring? The same traffic over each path.", "seconds": 214.2},
        started="2026-11-25T04:05:06.789+00:00",
        versions={"qemu": "10.0.2", "ovs": "3.1.0", "dpdk": "22.11.7"},
        accel="tcg",
        host=HOST,
        ratios=maker.ratios,
        conditions=maker.conditions,
        skipped=[
            {
                "scenario": scenario_of(
                    {"backend": "vhost-net", "path": "guest-guest", "traffic": "latency"}, "-"
                ).name,
                "reason": "there is no /dev/vhost-net: load the kernel module vhost_net",
            }
        ],
        dropped=[
            {"scenario": first, "block": 2, "reason": "guest b died: qemu ended with code 1"},
            {"scenario": second, "block": 4, "reason": "no packet arrived: is the link down?"},
        ],
        failed=[{"scenario": "net backend=virtio-net-kernel-ovs", "reason": "3 trials in a row"}],
    )


def _tcp(maker: Maker) -> None:
    common = {"traffic": Traffic.TCP.value, "streams": 1}
    equal = []
    for backend in (*GUESTS, "vhost-net"):
        values = {**common, "backend": backend}
        spread = 0.5 if backend == "vhost-net" else 0.03
        equal.append(maker.row(values, "throughput", "Mbit/s", 1180 * FACTORS[backend], spread))
        for metric, cost in (("host_cpu", 1.9), ("near_cpu", 0.8), ("far_cpu", 1.1)):
            value = cost / FACTORS[backend]
            maker.row(values, metric, "s/Gbit", value, listed=False)
    native = maker.row(
        {**common, "backend": "virtio-net", "offloads": "native"}, "throughput", "Mbit/s", 3600
    )
    for other in (equal[1], equal[2], equal[3], native):
        maker.ratio(equal[0], other, "throughput")
    both = [
        maker.row(
            {**common, "streams": 30, "direction": "both", "backend": backend},
            "throughput",
            "Mbit/s",
            1500 * FACTORS[backend],
        )
        for backend in GUESTS
    ]
    maker.ratio(both[0], both[1], "throughput")


def _udp(maker: Maker) -> None:
    for frame in FRAMES:
        sides = [
            maker.row(
                {"traffic": "udp", "frame": frame, "backend": backend},
                "rate",
                "packets/s",
                (210_000 if frame == "64" else 190_000) * FACTORS[backend] ** 1.7,
            )
            for backend in GUESTS
        ]
        for other in sides[1:]:
            maker.ratio(sides[0], other, "rate")


def _latency(maker: Maker) -> None:
    times = {"p50": 95.0, "p99": 260.0, "p99.9": 4200.0}
    for (metric, value), backend in itertools.product(times.items(), GUESTS):
        maker.row(
            {"traffic": "latency", "backend": backend}, metric, "us", value / FACTORS[backend], 0.1
        )
    one, *others = (
        scenario_of({"path": "guest-guest", "traffic": "latency", "backend": backend}, "-")
        for backend in GUESTS
    )
    for other in others:
        maker.ratio(one, other, "p50")
        maker.ratio(one, other, "p99")


def _engine(maker: Maker) -> None:
    sides = [
        maker.row(
            {"path": "engine", "traffic": "forward", "frame": "64", "backend": backend},
            "rate",
            "packets/s",
            17.2e6 * FACTORS[backend],
        )
        for backend in ("engine-vhost-user", "engine-af-packet-ovs", "engine-bridge")
    ]
    for other in sides[1:]:
        maker.ratio(sides[0], other, "rate")


def _queues(maker: Maker) -> None:
    sides = [
        maker.row(
            {
                "path": "guest-host",
                "traffic": "tcp",
                "streams": 4,
                "backend": "vhost-user",
                "queues": queues,
            },
            "throughput",
            "Mbit/s",
            1300,
            0.05,
        )
        for queues in (1, 2)
    ]
    maker.ratio(sides[1], sides[0], "throughput")
