from __future__ import annotations

import io

import pytest
from rich.console import Console

from orrery.measure import record, show
from orrery.measure.record import Row
from orrery.whisk.options import Cold


def test_a_table_has_a_line_for_each_row_and_a_reason_for_the_unstable() -> None:
    rows = [
        Row.of("cold side=target", "cold_client", "ms", [500, 510, 505, 500, 502]),
        Row.of("warm", "overhead", "ms", [1, 1, 1, 9, 9]),
    ]
    made = record.make(Cold("target"), rows, {}, started=record.begin())
    out = io.StringIO()
    show.show(made, Console(file=out, width=140))
    lines = out.getvalue().splitlines()
    assert lines[1].split() == [
        "cold",
        "side=target",
        "cold_client",
        "502",
        "500",
        "510",
        "ms",
        "5",
        "yes",
    ]
    assert lines[2].split() == ["warm", "overhead", "1", "1", "9", "ms", "5", "no"]
    assert lines[3].startswith("overhead is unstable: the middle half spreads over 800%")


def test_a_scenario_that_all_rows_have_is_said_once() -> None:
    rows = [Row.of("cold side=target", metric, "ms", [1, 2, 3, 4, 5]) for metric in ("a", "b")]
    made = record.make(Cold("target"), rows, {}, started=record.begin())
    out = io.StringIO()
    show.show(made, Console(file=out, width=80))
    assert out.getvalue().count("cold side=target") == 1
    assert out.getvalue().splitlines()[0].strip() == "cold side=target"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.01234, "0.0123"), (3.14159, "3.14"), (12345.6, "12,346")]
)
def test_figures_have_the_digits_that_a_reader_can_use(value: float, text: str) -> None:
    assert show.figure(value) == text
