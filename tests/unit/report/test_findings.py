"""What ratios say in plain words."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from orrery.bench.suite import scenario_of
from orrery.measure.record import Ratio, Record
from orrery.report import charts, findings
from orrery.report.findings import Finding
from tests.support.bench_record import bench_record


def only(ratio: float, low: float, high: float, **more: Any) -> Record:
    """A record with one ratio, TCP over vhost-user and another backend."""
    other = {"backend": "virtio-net-ovs", **more.pop("other", {})}
    common = {"path": "guest-guest", "traffic": "tcp", "streams": 1}
    a = scenario_of({**common, "backend": "vhost-user"}, "-")
    b = scenario_of({**common, **other}, "-")
    fields = {"pairs": 5, "equal_offloads": True, "shown": not low <= 1 <= high, **more}
    made = Ratio(a.name, b.name, "throughput", ratio, low, high, **fields)
    scenarios = {one.name: one.parameters() for one in (a, b)}
    return dataclasses.replace(bench_record(), ratios=(made,), scenarios=scenarios)


def said(record: Record) -> str:
    return findings.answer(record, findings.findings(record))


def test_a_shown_ratio_is_one_plain_sentence() -> None:
    assert said(only(1.82, 1.71, 1.93)) == (
        "On the same switch with equal offloads vhost-user moves 1.8 times the TCP bytes of "
        "virtio-net-ovs between guests (95 % interval 1.7 to 1.9)."
    )


def test_an_interval_that_holds_one_shows_no_difference() -> None:
    assert said(only(1.02, 0.95, 1.08)) == (
        "On the same switch with equal offloads no difference shown between vhost-user and "
        "virtio-net-ovs in the TCP bytes between guests (ratio 1.02, 95 % interval 0.95 to 1.08)."
    )


def test_too_few_pairs_show_no_difference_and_say_why() -> None:
    record = only(1.8, 1.7, 1.9, shown=False, pairs=2, why="2 trials, 5 needed")
    assert "no difference shown" in said(record)
    assert "2 trials, 5 needed" in said(record)


def test_unequal_offloads_are_labelled_in_words_and_in_the_plot() -> None:
    other = {"backend": "virtio-net", "offloads": "native"}
    record = only(0.33, 0.31, 0.34, equal_offloads=False, other=other)
    assert said(record) == (
        "On different switches with unequal offloads vhost-user with no offloads moves 0.33 times "
        "the TCP bytes of virtio-net with native offloads between guests "
        "(95 % interval 0.31 to 0.34)."
    )
    (forest,) = charts.forests(findings.findings(record))
    (mark,) = forest.plot.groups[0][1]
    assert "unequal offloads" in mark.note
    assert (mark.filled, mark.series) == (False, 1)


def test_offloads_that_were_not_read_back_are_said_to_be_unknown() -> None:
    record = only(1.8, 1.7, 1.9, equal_offloads=None)
    (one,) = findings.findings(record)
    assert one.offloads == "not read back"
    assert "equal offloads" not in one.sentence
    (forest,) = charts.forests([one])
    assert "offloads not read back" in forest.plot.groups[0][1][0].note


def test_the_answer_has_the_fair_comparison_first_and_the_unfair_one_at_the_end() -> None:
    record = bench_record()
    text = said(record)
    fair, unfair = text.index("with equal offloads"), text.index("with unequal offloads")
    assert fair < unfair
    assert text.endswith("ratios, 22 show a difference, and 1 compares unequal offloads.")


def test_a_record_without_ratios_says_that_it_compares_nothing() -> None:
    record = dataclasses.replace(bench_record(), ratios=())
    assert said(record).startswith("This record compares nothing")


def test_ratios_of_scenarios_that_nobody_knows_are_told_by_their_names() -> None:
    record = dataclasses.replace(only(1.8, 1.7, 1.9), scenarios={})
    sentence = said(record)
    assert "net backend=vhost-user" in sentence
    assert "has 1.8 times the throughput of" in sentence


@pytest.mark.parametrize(
    ("traffic", "metric", "better"),
    [
        ("tcp", "throughput", "larger"),
        ("tcp", "host_cpu", "smaller"),
        ("latency", "p99", "smaller"),
        ("ping", "avg", "smaller"),
        ("udp", "loss", "smaller"),
        ("netperf", "transactions", "larger"),
    ],
)
def test_it_is_said_whether_larger_is_better(traffic: str, metric: str, better: str) -> None:
    assert findings.smaller_is_better(traffic, metric) == (better == "smaller")


def test_every_ratio_is_in_exactly_one_plot() -> None:
    found = findings.findings(bench_record())
    drawn: list[Finding] = [one for forest in charts.forests(found) for one in forest.found]
    assert sorted(map(id, drawn)) == sorted(map(id, found))


def test_costs_are_not_drawn_among_gains() -> None:
    for forest in charts.forests(findings.findings(bench_record())):
        assert len({one.better for one in forest.found}) == 1
