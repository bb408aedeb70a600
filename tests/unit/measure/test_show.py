from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from typing import ClassVar

from rich.console import Console

from orrery.measure import compare, record, show, stats
from orrery.measure.record import Drop, Left, Ratio, Record, Row
from orrery.measure.scenario import Scenario
from orrery.whisk.options import Cold


@dataclass(frozen=True)
class Net(Scenario):
    kind: ClassVar[str] = "net"

    backend: str
    path: str
    traffic: str
    streams: int | None = None
    frame: str | None = None
    seconds: int = 2
    offloads: str = "none"


BACKENDS = ("vhost-user", "virtio-net-ovs", "virtio-net-kernel-ovs")
SCENARIOS = [
    Net(backend, path, traffic, streams, frame)
    for path in ("guest-guest", "guest-host")
    for traffic, streams, frame in (("tcp", 1, None), ("tcp", 30, None), ("udp", None, "64"))
    for backend in BACKENDS
]


def twenty_rows() -> Record:
    rows = [
        Row.of(one, "throughput", "Mbit/s", [1e6 + number, 1e6, 1e6, 1e6, 1e6])
        for number, one in enumerate(SCENARIOS)
    ]
    a, b, c = (one.name for one in SCENARIOS[:3])
    sides = [10.0, 10.1, 10.2, 9.9, 10.0], [5.0, 5.1, 5.0, 5.0, 5.1]
    clear, none = stats.paired_ratio(*sides), stats.paired_ratio([9, 11, 10, 12, 8], [10.0] * 5)
    away = Net("vhost-net", "guest-guest", "tcp", 1), Net("vhost-net", "guest-host", "tcp", 1)
    return record.make(
        Cold("x"),
        [*rows, Row.of(SCENARIOS[0], "host_cpu", "s/Gbit", [1.0], listed=False)],
        {},
        started=record.begin(),
        scenarios=away,
        ratios=[
            Ratio.of(a, b, "throughput", clear, equal_offloads=True),
            Ratio.of(a, c, "throughput", none, equal_offloads=False),
        ],
        skipped=[Left(scenario=one.name, reason="there is no /dev/vhost-net") for one in away],
        dropped=[Drop(scenario=a, block=2, reason="[bold]no packet[/bold] arrived")],
        failed=[Left(scenario=c, reason="given up after 3 lost trials in a row: gone")],
    )


def printed(made: Record, width: int = 100) -> list[str]:
    out = io.StringIO()
    show.show(made, Console(file=out, width=width))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_table_of_twenty_rows_fits_a_hundred_columns_line_by_line() -> None:
    lines = printed(twenty_rows())
    assert lines[0] == "net seconds=2 offloads=none"
    assert lines[1].split()[:3] == ["scenario", "metric", "median"]
    body = lines[2 : lines.index("")]
    assert body[0] == "guest-guest tcp streams=1"
    assert body[1].split() == [
        *("vhost-user", "throughput", "1,000,000", "1,000,000", "1,000,000"),
        *("Mbit/s", "5", "yes"),
    ]
    assert len(body) == len(SCENARIOS) + 6
    assert all(len(line) <= 100 for line in body)


def test_rows_that_are_not_listed_are_not_shown() -> None:
    assert not any("host_cpu" in line for line in printed(twenty_rows()))


def test_ratios_say_what_they_compare_and_whether_it_shows() -> None:
    lines = [" ".join(line.split()) for line in printed(twenty_rows(), 140)]
    start = lines.index("")
    assert lines[start + 1 : start + 4] == [
        "guest-guest tcp streams=1",
        "vhost-user / virtio-net-ovs throughput 1.98 (1.96 to 2.04)",
        "vhost-user / virtio-net-kernel-ovs throughput 1.00 (0.80 to 1.20) "
        "no difference shown; offloads differ",
    ]


def test_what_has_no_figure_is_said_in_plain_lines() -> None:
    assert printed(twenty_rows())[-3:] == [
        "skipped: guest-guest tcp streams=1 vhost-net; guest-host tcp streams=1 vhost-net: "
        "there is no /dev/vhost-net",
        "failed: guest-guest tcp streams=1 virtio-net-kernel-ovs: "
        "given up after 3 lost trials in a row: gone",
        "dropped: guest-guest tcp streams=1 vhost-user, block 2: [bold]no packet[/bold] arrived",
    ]


def test_two_records_are_shown_side_by_side() -> None:
    one = twenty_rows()
    fast = Row.of(SCENARIOS[0], "throughput", "Mbit/s", [2e6, 2e6, 2e6, 2e6, 2e6])
    other = dataclasses.replace(one, rows=(fast, *one.rows[2:]), accel="tcg")
    out = io.StringIO()
    show.show_compared(compare.comparison(one, other), Console(file=out, width=100))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert lines[0] == "The accelerator differs: none in a, tcg in b."
    assert "vhost-user throughput Mbit/s 1,000,000 2,000,000 2.0 (2.0 to 2.0) yes" in lines
    assert lines[-2] == "guest-guest tcp streams=1 virtio-net-ovs, throughput: only a has it"
    assert lines[-1] == "intervals overlap on 94% of 17 rows that both have"


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
    assert lines[2].split() == ["warm", "overhead", "1.00", "1.00", "9.00", "ms", "5", "no"]
    assert lines[3].startswith("warm, overhead is unstable: the middle half spreads over 800%")


def test_a_scenario_that_all_rows_have_is_said_once() -> None:
    rows = [Row.of("cold side=target", metric, "ms", [1, 2, 3, 4, 5]) for metric in ("a", "b")]
    made = record.make(Cold("target"), rows, {}, started=record.begin())
    out = io.StringIO()
    show.show(made, Console(file=out, width=80))
    assert out.getvalue().count("cold side=target") == 1
    assert out.getvalue().splitlines()[0].strip() == "cold side=target"
