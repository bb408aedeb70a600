from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from orrery.measure import compare, record
from orrery.measure.record import Record, Row
from orrery.measure.scenario import Scenario


@dataclass(frozen=True)
class Example(Scenario):
    kind: ClassVar[str] = "example"

    size: int = 3


STEADY = [10.0, 10.1, 9.9, 10.0, 10.2]


def made(*trials: tuple[int, Sequence[float]], **changes: Any) -> Record:
    rows = [Row.of(Example(size), "time", "ms", values) for size, values in trials]
    found = record.make(Example(), rows, {}, started="2026-02-03T04:05:06.000+00:00")
    return dataclasses.replace(found, **changes)


def test_equal_records_show_no_difference_and_overlap() -> None:
    one = made((1, STEADY), (2, STEADY), git="a" * 40)
    rows = compare.compare(one, one)
    assert [(row.ratio, row.shown, row.overlap) for row in rows] == [(1.0, False, True)] * 2
    assert {row.why for row in rows} == {"no difference shown"}
    assert compare.overlap_share(rows) == 1.0
    assert compare.differences(one, one) == []


def test_a_difference_is_that_of_the_second_over_the_first() -> None:
    (row,) = compare.compare(made((1, STEADY)), made((1, [2 * value for value in STEADY])))
    assert (row.ratio, row.shown, row.overlap, row.why) == (2.0, True, False, "")
    assert row.low is not None
    assert row.high is not None
    assert 1.9 < row.low < 2.0 < row.high < 2.1


def test_rows_that_only_one_has_are_said() -> None:
    rows = compare.compare(made((1, STEADY), (2, STEADY)), made((2, STEADY), (3, STEADY)))
    assert [(row.scenario, row.why) for row in rows] == [
        ("example size=1", "only a has it"),
        ("example size=2", "no difference shown"),
        ("example size=3", "only b has it"),
    ]
    assert (rows[0].b, rows[2].a) == (None, None)
    assert compare.overlap_share(rows) == 1.0
    assert compare.overlap_share(rows[:1]) is None


def test_few_trials_show_no_difference() -> None:
    (row,) = compare.compare(made((1, STEADY)), made((1, [30.0, 30.0])))
    assert not row.shown
    assert row.why == "no difference shown: 2 trials, 5 needed"


def test_what_has_no_ratio_says_why() -> None:
    (row,) = compare.compare(made((1, [0.0] * 5)), made((1, STEADY)))
    assert (row.ratio, row.overlap) == (None, False)
    assert row.why == "no ratio: a ratio to a figure that is zero means nothing"
    other = dataclasses.replace(made((1, STEADY)).rows[0], unit="s")
    (row,) = compare.compare(made((1, STEADY)), made(rows=(other,)))
    assert row.why == "the units differ: 'ms' in a, 's' in b"


def test_what_else_differs_is_said_in_words() -> None:
    one = made(
        (1, STEADY), git="a", versions={"qemu": "7.2"}, conditions={"x": {"mtu": 1500, "tso": True}}
    )
    other = dataclasses.replace(
        one,
        host={**one.host, "cpu_model": "Other", "load_average": [9, 9, 9]},
        accel="kvm",
        git="b",
        versions={"qemu": "10.0", "ovs": "3.1"},
        conditions={"x": {"mtu": 9000, "tso": True}},
        scenario=record.make(Example(4), [], {}, started=record.begin()).scenario,
    )
    assert compare.differences(one, other) == [
        f"The CPU differs: {one.host['cpu_model']} in a, Other in b.",
        "The accelerator differs: none in a, kvm in b.",
        "The version of qemu differs: 7.2 in a, 10.0 in b.",
        "The version of ovs differs: unknown in a, 3.1 in b.",
        "The commit differs: a in a, b in b.",
        "What was asked for differs: example size=3 in a, example size=4 in b.",
        "The condition mtu of 1 scenario differs: 1500 in a, 9000 in b.",
    ]


def test_rows_that_no_table_lists_can_be_left_out() -> None:
    hidden = dataclasses.replace(made((2, STEADY)).rows[0], listed=False)
    one = made((1, STEADY))
    one = dataclasses.replace(one, rows=(*one.rows, hidden))
    assert len(compare.comparison(one, one).rows) == 1
    assert len(compare.comparison(one, one, listed=False).rows) == 2


def test_a_host_that_was_not_quiet_is_named_and_one_that_nobody_asked_is_not() -> None:
    quiet, restless, unknown = (
        dataclasses.replace(one, host={**one.host, **said})
        for one, said in (
            (made((1, STEADY)), {"work": {"quiet": True}}),
            (made((1, STEADY)), {"work": {"quiet": False}}),
            (made((1, STEADY)), {}),
        )
    )
    assert "The machine was not quiet in b." in compare.differences(quiet, restless)
    assert "The machine was not quiet in a and b." in compare.differences(restless, restless)
    assert not [one for one in compare.differences(quiet, unknown) if "quiet" in one]
