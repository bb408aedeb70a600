"""Which plots a record gets, and how they are drawn."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ElementTree

import pytest
from matplotlib import font_manager

from orrery.bench.suite import load, names
from orrery.measure.record import Record, Row
from orrery.report import charts, layout, plots, svg
from orrery.report.charts import Chart, Curves, Lanes, Mark
from tests.support.bench_record import bench_record


def titled(record: Record, words: str) -> list[Chart]:
    return [one for one in charts.charts(record) if words in one.title]


def test_each_kind_of_traffic_has_a_plot_of_its_own() -> None:
    assert [one.title for one in charts.charts(bench_record())] == [
        "TCP, guest to guest: throughput",
        "TCP, guest to guest: processor time of the host",
        "UDP packets, guest to guest: packet rate",
        "Request and response, guest to guest: round-trip time",
        "Forwarding, the switch without a guest: packet rate",
        "TCP, guest to host: throughput",
    ]


def test_every_listed_row_is_in_exactly_one_plot() -> None:
    record = bench_record()
    drawn = [id(line.row) for one in charts.charts(record) for line in one.lines]
    assert len(drawn) == len(set(drawn))
    assert {id(row) for row in record.rows if row.listed} <= set(drawn)


def test_packet_rates_of_several_frame_sizes_are_curves() -> None:
    (chart,) = titled(bench_record(), "UDP")
    assert isinstance(chart.plot, Curves)
    assert chart.plot.places == ("64", "256", "512", "1024", "1518", "imix")
    assert [name for name, _ in chart.plot.series] == ["vhost-user", "virtio-net-ovs", "virtio-net"]


def test_values_that_differ_by_decades_get_a_logarithmic_axis_that_says_so() -> None:
    (engine,) = titled(bench_record(), "Forwarding")
    assert isinstance(engine.plot, Lanes)
    assert engine.plot.log
    assert engine.plot.axis == "Mpackets/s, logarithmic scale"
    (tcp,) = titled(bench_record(), "guest to host")
    assert not tcp.plot.log
    assert tcp.plot.axis == "Gbit/s"


def test_percentiles_stand_below_headings() -> None:
    (latency,) = titled(bench_record(), "round-trip")
    assert isinstance(latency.plot, Lanes)
    assert [name for name, _ in latency.plot.groups] == ["p50", "p99", "p99.9"]


def test_what_all_have_in_common_is_said_once_above_the_plot() -> None:
    (chart,) = titled(bench_record(), "guest to host")
    assert chart.about == "vhost-user, 2 s trials, 4 streams, no offloads"
    assert [line.label for line in chart.lines] == ["1 queue pair", "2 queue pairs"]


def test_an_unstable_figure_is_marked_by_word_and_by_shape() -> None:
    row = Row.of("one", "time", "s", [1, 2, 3, 9, 20])
    (chart,) = charts.charts(dataclasses.replace(bench_record(), rows=(row,), ratios=()))
    assert isinstance(chart.plot, Lanes)
    (mark,) = chart.plot.groups[0][1]
    assert (mark.note, mark.filled) == ("unstable", False)


def test_too_many_figures_are_spread_over_several_plots() -> None:
    rows = tuple(Row.of("one", f"figure {n}", "s", [1, 2, 3, 2, 2]) for n in range(30))
    made = charts.charts(dataclasses.replace(bench_record(), rows=rows))
    assert [len(one.lines) for one in made] == [12, 12, 6]
    assert len({one.key for one in made}) == 3


@pytest.mark.parametrize("suite", names())
def test_every_suite_that_comes_along_can_be_drawn_without_equal_labels(suite: str) -> None:
    rows: list[Row] = []
    scenarios = {}
    for group in load(suite).groups:
        for number, scenario in enumerate(group.scenarios):
            scenarios[scenario.name] = scenario.parameters()
            rows += [
                Row.of(scenario.name, metric, "Mbit/s", [100.0 + number] * 5)
                for metric in group.metrics or ("throughput",)
            ]
    record = dataclasses.replace(
        bench_record(), rows=tuple(rows), scenarios=scenarios, ratios=(), conditions={}
    )
    made = charts.charts(record)
    assert sum(len(one.lines) for one in made) == len(rows)
    for one in made:
        labels = [line.label for line in one.lines]
        assert len(set(labels)) == len(labels), one.title
        assert plots.draw(one.plot, one.key, one.finding).startswith("<svg ")


def draw(plot: Lanes | Curves, key: str = "p") -> str:
    return plots.draw(plot, key, "what it shows")


def lanes(*marks: Mark) -> Lanes:
    return Lanes((("", marks),), "s", log=False)


def mark(label: str = "one", value: float = 1.0, note: str = "") -> Mark:
    return Mark(label, f"{value:g} s", 0, value, value * 0.9, value * 1.1, (value,), note)


def test_a_plot_is_the_same_text_every_time() -> None:
    for chart in charts.charts(bench_record()):
        assert draw(chart.plot, chart.key) == draw(chart.plot, chart.key)


def test_a_plot_has_the_colours_and_fonts_of_the_page_and_none_of_its_own() -> None:
    text = "".join(draw(chart.plot, chart.key) for chart in charts.charts(bench_record()))
    assert not re.findall(r"#[0-9a-f]{6}", text)
    assert "font-family" not in text
    assert "var(--series-0)" in text
    assert "var(--muted)" in text


def test_a_plot_says_what_it_shows_and_has_nothing_from_outside() -> None:
    text = draw(lanes(mark()))
    assert 'role="img"' in text
    assert 'aria-label="what it shows"' in text
    for foreign in ("http", "<style", "<metadata", "<script", "xlink"):
        assert foreign not in text


def test_names_inside_plots_of_one_page_do_not_meet() -> None:
    texts = [draw(lanes(mark()), key) for key in ("a", "b")]
    found = [set(re.findall(r' id="([^"]+)"', text)) for text in texts]
    assert found[0]
    assert not found[0] & found[1]
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', texts[0]))
    assert used == found[0]


@pytest.mark.parametrize(
    "label",
    ["$\\frac", "<b>&\"'", "\x00\x1b[31m\ud800", "\u202e\u2028", "x" * 300, "", "\u9f8d" * 40],
)
def test_no_label_can_break_a_plot(label: str) -> None:
    root = ElementTree.fromstring(draw(lanes(mark(label, note=label))))
    said = "".join("".join(one.itertext()) for one in root.iter("text"))
    assert label[:1].isspace() or svg.printable(label)[:5].strip() in said


@pytest.mark.parametrize("values", [(0.0,), (0.0, 0.0), (-3.0, 5.0), (1e-300,), (1e99, 1.0)])
def test_no_value_can_break_a_plot(values: tuple[float, ...]) -> None:
    marks = [mark(f"m{number}", value) for number, value in enumerate(values)]
    assert draw(lanes(*marks)).startswith("<svg ")


@pytest.mark.parametrize("bold", [False, True])
@pytest.mark.parametrize("size", [11.0, 12.5])
def test_a_width_is_what_matplotlib_makes_of_the_whole_text(size: float, bold: bool) -> None:
    text = "throughput, both directions at once, 30 streams; equal offloads: 1,234.5 Mbit/s"
    place = font_manager.FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    font = font_manager.get_font(font_manager.findfont(place))
    font.set_size(size, 72)
    font.set_text(text, 0.0)
    whole = font.get_width_height()[0] / 64
    # Not less, or text runs over an edge; more by kerning and what follows the last letter.
    assert whole - 1 <= layout.width(text, size, bold=bold) <= whole * 1.03


def test_long_labels_are_wrapped_to_the_width_of_a_plot() -> None:
    lines = layout.wrap("a label of many words " * 5 + "x" * 200, 12.5, 200)
    assert len(lines) > 4
    assert all(layout.width(line, 12.5) <= 200 for line in lines)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 3.7), (0.0, 9e6), (-4, 12), (0.94, 1.03), (0, 1e-9)]
)
def test_ticks_of_an_axis_are_few_and_round(low: float, high: float) -> None:
    ticks = layout.linear_ticks(low, high)
    assert 2 <= len(ticks) <= layout.MOST_TICKS
    assert low - 1e-12 <= ticks[0] < ticks[-1] <= high + 1e-12


@pytest.mark.parametrize(
    ("low", "high"), [(0.3, 20), (0.8, 1.25), (1, 1e9), (0.31, 1.9), (1e-4, 10)]
)
def test_ticks_of_a_logarithmic_axis_are_few_and_inside(low: float, high: float) -> None:
    ticks = layout.log_ticks(low, high)
    assert 2 <= len(ticks) <= layout.MOST_TICKS
    assert all(low <= tick <= high for tick in ticks)


def test_names_of_curves_are_moved_apart_as_little_as_needed() -> None:
    assert layout.spread([10, 50], [15, 15], 0, 100) == [10, 50]
    assert layout.spread([10, 12, 14], [15, 15, 15], 0, 100) == [10, 25, 40]
    assert layout.spread([90, 95], [15, 15], 0, 100) == [70, 85]
