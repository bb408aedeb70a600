"""Settings of moves side by side: a plot for each figure, and all of them as one table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from orrery.measure import record as records
from orrery.report import charts, comparison, pages, timelines
from orrery.report.charts import Lanes
from tests.support.bench_record import bench_record
from tests.support.drill_record import SETTINGS, drill_record

LABELS = [
    "20 MB/s written, pattern byte, downtime limit 100 ms",
    "100 MB/s written, pattern byte, downtime limit 100 ms, does not come to an end",
    "100 MB/s written, pattern byte, downtime limit 100 ms, auto-converge",
    "100 MB/s written, pattern random, downtime limit 2000 ms, zstd",
]


def test_each_figure_has_a_plot_with_a_lane_for_each_setting() -> None:
    found = charts.charts(drill_record())
    assert [one.title for one in found] == [
        "Downtime as QEMU counts it",
        "Longest gap of a program in the guest",
        "Longest silence of packets",
        "Time of the whole migration",
        "Memory moved",
        "Rounds",
    ]
    gap = found[1].plot
    assert isinstance(gap, Lanes)
    ((heading, marks),) = gap.groups
    assert heading == ""
    assert [mark.label for mark in marks] == LABELS
    assert all(mark.low <= mark.median <= mark.high for mark in marks)
    assert len({one.key for one in found}) == len(found)


def test_a_setting_has_the_same_colour_in_every_plot() -> None:
    for chart in charts.charts(drill_record()):
        assert isinstance(chart.plot, Lanes)
        for line, mark in zip(chart.lines, chart.plot.groups[0][1], strict=True):
            names = [one.name for one in SETTINGS]
            assert mark.series == names.index(line.row.scenario)


def test_the_table_has_every_setting_with_medians_and_what_is_missing() -> None:
    table = comparison.table(drill_record())
    assert table is not None
    assert [row.label for row in table.rows] == LABELS
    assert table.columns[:2] == (
        "Downtime as QEMU counts it, ms",
        "Longest gap of a program in the guest, ms",
    )
    assert table.columns[3] == "Time of the whole migration, s"
    assert table.rows[1].cells[0] is None
    cell = table.rows[0].cells[0]
    assert cell is not None
    row = next(one for one in drill_record().rows if one.metric == "qemu_downtime")
    assert float(cell.median) == round(row.median, 1)
    assert cell.spread.endswith("; 3 moves")
    assert "vhost-user" in table.about
    assert "link of 50 MB/s" in table.about


def test_what_has_no_two_settings_is_not_compared() -> None:
    whole = drill_record()
    one = dataclasses.replace(
        whole, rows=tuple(row for row in whole.rows if row.scenario == SETTINGS[0].name)
    )
    assert comparison.table(one) is None
    assert charts.charts(one)[0].title == "Figures in ms"
    assert comparison.table(bench_record()) is None


def test_the_page_shows_the_table_and_what_the_switch_counted(tmp_path: Path) -> None:
    path = records.save(drill_record(), tmp_path)
    text = pages.write(drill_record(), path, tmp_path).read_text(encoding="utf-8")
    assert '<h2 id="comparison">' in text
    for label in LABELS:
        assert label in text
    assert "source (vh-drill-a), from the guest" in text
    assert '10,800<br><span class="muted">1,200 to 12,000</span>' in text
    assert "not counted" in text


def test_a_record_from_before_ports_were_counted_is_drawn_without_them() -> None:
    record = drill_record()
    moves = [
        {key: value for key, value in one.items() if key != "ports"}
        for one in record.summary["timelines"]
    ]
    old = dataclasses.replace(record, summary={**record.summary, "timelines": moves})
    assert [one.ports for one in timelines.drawn(old)] == [(), ()]
