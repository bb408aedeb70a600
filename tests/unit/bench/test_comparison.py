"""A suite becomes plans, and outcomes become one record with rows, ratios and a summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orrery.bench import comparison
from orrery.bench import suite as suites
from orrery.bench.comparison import Where
from orrery.bench.subject import equal_offloads
from orrery.errors import OrreryError
from orrery.measure import host, record
from orrery.measure.journal import Journal
from orrery.measure.runner import TrialError
from orrery.network.backends import Backend
from orrery.network.scenario import NetScenario, Offloads

TEXT = """
about: two backends
most_trials: 6
groups:
  - title: TCP
    with: {path: guest-guest, traffic: tcp, streams: 1}
    variants:
      - {backend: vhost-user}
      - {backend: virtio-net-ovs}
      - {backend: virtio-net, offloads: native}
      - {backend: vhost-net}
    ratios:
      - {of: {backend: vhost-user}, over: {backend: virtio-net-ovs}}
      - {of: {backend: vhost-user}, over: {backend: virtio-net, offloads: native}}
  - title: Requests
    with: {path: guest-guest, traffic: latency}
    variants: [{backend: vhost-user}, {backend: virtio-net-ovs}]
    metrics: [p50, p99]
    ratios:
      - {of: {backend: vhost-user}, over: {backend: virtio-net-ovs}}
"""
OFF = {"tso": False, "gso": False, "tx_checksum": False, "gro": False, "lro": False}
THROUGHPUT = {"vhost-user": 900.0, "virtio-net-ovs": 500.0, "virtio-net": 2000.0}


class Fake:
    """Stands for `Bench`: fixed figures, some disturbance."""

    def __init__(self, *, restless: bool = False, dying: int = 0) -> None:
        self.kept: list[int] = []
        self.restless = restless
        self.dying = dying
        self.count = 0

    def keep(self, scenarios: tuple[NetScenario, ...]) -> None:
        self.kept.append(len(scenarios))

    def missing(self, scenario: NetScenario) -> str:
        return "there is no /dev/vhost-net" if scenario.backend is Backend.VHOST_NET else ""

    def prepare(self, scenario: NetScenario) -> None:
        pass

    def trial(self, scenario: NetScenario) -> Mapping[str, float]:
        self.count += 1
        if self.dying and scenario.backend is Backend.VHOST_USER:
            self.dying -= 1
            raise TrialError("guest bench1-a: it has ended")
        if scenario.traffic == "latency":
            return {"p50": 100.0, "p90": 150.0, "p99": 200.0 + self.count, "p99.9": 900.0}
        wobble = 1 + (self.count % 7) * (0.2 if self.restless else 0.001)
        return {"throughput": THROUGHPUT[scenario.backend] * wobble, "host_cpu": 0.5}

    def mend(self, scenario: NetScenario, error: OrreryError) -> None:
        pass

    def conditions(self, scenario: NetScenario) -> Mapping[str, Any]:
        native = scenario.offloads is Offloads.NATIVE
        state = {**OFF, "tso": native, "vnet_hdr": native or None}
        return {"offloads": {"eth0 in guest a": state}}


def measured(tmp_path: Path, fake: Fake) -> tuple[record.Record, list[Where]]:
    suite, seen = suites.parse(TEXT, "two"), list[Where]()
    header = comparison.header(suite)
    with Journal.create(tmp_path / "two.jsonl", header) as journal:
        outcomes = comparison.measure(suite, fake, journal, seen.append)  # type: ignore[arg-type] # stands for Bench
    made = comparison.record(
        suite, outcomes, started=record.begin(), host=host.describe(), accel="tcg", versions={}
    )
    return made, seen


def test_a_suite_gives_rows_ratios_and_a_summary(tmp_path: Path) -> None:
    made, seen = measured(tmp_path, Fake())
    answer = comparison.listed(made)
    assert [(row["metric"], row["median"] > 0) for row in answer["rows"]] == [
        *[("throughput", True)] * 3,
        *[("p50", True), ("p99", True)] * 2,
    ]
    assert {"scenario", "metric", "unit", "median", "low", "high", "trials", "stable"} <= set(
        answer["rows"][0]
    )
    first, second = answer["ratios"][:2]
    assert first["ratio"] == pytest.approx(1.8, rel=0.01)
    assert (first["equal_offloads"], second["equal_offloads"]) == (True, False)
    assert [ratio["metric"] for ratio in answer["ratios"]] == ["throughput"] * 2 + ["p50", "p99"]
    assert made.summary == {
        "suite": "two",
        "about": "two backends",
        "row_count": 7,
        "unstable": 0,
        "skipped": 1,
        "dropped": 0,
        "failed": 0,
        "growth_trials": 0,
        "growth_s": 0.0,
        "resumed": False,
        "seconds": made.summary["seconds"],
    }
    path = record.save(made, tmp_path)
    assert record.load(path).ratios == made.ratios
    assert [where.total for where in seen] == [25] * len(seen)
    assert seen[-1].done == 24


def test_what_takes_processor_time_is_in_the_record_and_not_in_the_list(tmp_path: Path) -> None:
    made, _ = measured(tmp_path, Fake())
    assert {row.metric for row in made.rows} - {row.metric for row in made.rows if row.listed} == {
        "host_cpu",
        "p90",
        "p99.9",
    }


def test_guests_are_kept_for_what_can_run_in_a_group(tmp_path: Path) -> None:
    fake = Fake()
    measured(tmp_path, fake)
    assert fake.kept == [3, 2]


def test_what_spreads_grows_with_what_it_is_compared_with(tmp_path: Path) -> None:
    made, seen = measured(tmp_path, Fake(restless=True))
    assert made.summary["growth_trials"] == 3
    assert {len(row.trials) for row in made.rows if row.metric == "throughput"} == {6}
    assert any(where.step.phase == "growth" for where in seen)


def test_a_dropped_trial_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    made, _ = measured(tmp_path, Fake(dying=1))
    assert [(drop["block"], drop["reason"]) for drop in made.dropped] == [
        (1, "guest bench1-a: it has ended")
    ]
    assert made.summary["dropped"] == 1
    # Four trials are too few, so that one more block of what is compared makes up for it.
    assert made.summary["growth_trials"] == 3
    assert made.ratios[0].pairs == 5


def test_another_suite_does_not_go_on_from_a_journal(tmp_path: Path) -> None:
    one = comparison.header(suites.parse(TEXT, "two"))
    other = comparison.header(suites.parse(TEXT.replace("most_trials: 6", ""), "two"))
    assert one["plan"] != other["plan"]


def test_offloads_of_an_engine_are_none_and_equal_to_those_of_a_path_without() -> None:
    engine = {"offloads": "none"}
    path = {"offloads": {"eth0 in guest a": {**OFF, "vnet_hdr": True}}}
    assert equal_offloads(engine, path) is True
    assert equal_offloads(engine, {}) is None
    native = {"offloads": {"a": {**OFF, "tso": True, "vnet_hdr": True}, "b": OFF}}
    assert equal_offloads(path, native) is False
