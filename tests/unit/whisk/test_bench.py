from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console

from orrery.errors import ConfigurationError, FunctionError, MeasurementError, UsageError
from orrery.measure import record
from orrery.whisk import bench, commands, figures, floor, load, options, probe
from orrery.whisk.access import Access
from orrery.whisk.client import WhiskClient
from orrery.whisk.figures import Found, StoredTrials, Trials
from orrery.whisk.load import WarmTrial
from orrery.whisk.probe import Call
from tests.unit.whisk.engine_in_process import Engine

SHORT = {
    "trials": "2",
    "warm_calls": "5",
    "connections": "2",
    "seconds": "50ms",
    "cold_trials": "2",
    "rss_after": "60",
}


def bench_actions(engine: Engine) -> list[str]:
    async def go() -> list[str]:
        async with WhiskClient(engine.url, engine.auth) as whisk:
            return [action["name"] for action in await whisk.list_actions(limit=200)]

    return [name for name in asyncio.run(go()) if name.startswith(probe.PREFIX)]


def test_a_benchmark_makes_a_valid_record_and_removes_what_it_deployed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "CHECKOUT", tmp_path)
    access = Access(engine.url, engine.auth)
    chosen = options.between(options.parse("", **SHORT), engine.url, engine.url)
    out = io.StringIO()
    result = commands.bench(chosen, access, access, Console(file=out, width=200))
    made = record.load(Path(result["record"]))
    assert Path(result["record"]).parent == tmp_path / ".lab" / "records"
    assert set(result["warm_overhead_ms"]) == {"p50", "p99"}
    assert 0 < result["warm_overhead_ms"]["p50"] <= result["warm_client_ms"]["p50"]
    assert result["throughput_per_s"] > 0
    assert result["cold_ms"]["p50"] > 0
    assert result["rss_mb"] > 1
    assert result["rss_after"] >= 60
    assert set(result["baseline"]["ratios"]) == {"warm_client_ms", "throughput_per_s", "cold_ms"}
    assert result["stable"] is False
    assert made.row("warm_overhead_p50", "warm side=target").reason == "2 trials, 5 needed"
    assert made.row("client_floor_p50").median == pytest.approx(result["client_floor_ms"], abs=1e-3)
    assert "client floor:" in out.getvalue()
    assert bench_actions(engine) == []


def test_throttles_that_are_too_small_are_refused_before_anything_is_deployed(
    small_engine: Engine,
) -> None:
    access = Access(small_engine.url, small_engine.auth)
    chosen = options.parse(small_engine.url)
    with pytest.raises(ConfigurationError, match="60 activations a minute, 37574 needed"):
        bench.run(bench.measure(chosen, access, tell=lambda _: None))
    few = options.parse(
        small_engine.url, trials="1", warm_calls="1", seconds="1ms", rss_after="0", connections="3"
    )
    with pytest.raises(ConfigurationError, match="2 activations in flight, 3 needed"):
        bench.run(bench.measure(few, access, tell=lambda _: None))
    assert bench_actions(small_engine) == []


def test_an_interrupted_benchmark_removes_what_it_deployed(engine: Engine) -> None:
    async def go() -> None:
        chosen = options.parse(engine.url, **{**SHORT, "seconds": "60"})
        measuring = asyncio.Event()

        def tell(text: str) -> None:
            if "throughput" in text:
                measuring.set()

        work = asyncio.create_task(
            bench.measure(chosen, Access(engine.url, engine.auth), tell=tell)
        )
        await asyncio.wait_for(measuring.wait(), 60)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(go())
    assert bench_actions(engine) == []


def test_a_second_engine_needs_the_embedded_one(engine: Engine) -> None:
    chosen = options.parse(engine.url, **SHORT, stored="2000")
    with pytest.raises(ConfigurationError, match="--stored starts a second engine like that of"):
        bench.run(bench.measure(chosen, Access(engine.url, engine.auth), tell=lambda _: None))
    assert bench_actions(engine) == []


def test_a_failed_call_ends_the_measurement_with_its_reason(
    host: Callable[..., Any],
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": "no more", "code": "x"}, status=429)

    async def go() -> None:
        async with host(refuse) as url, WhiskClient(url, "a:b") as whisk:
            await load.throughput(whisk, "x", 4, 5.0, load.Tally())

    with pytest.raises(FunctionError, match="throttles the user: no more"):
        asyncio.run(go())


def test_the_floor_is_measured_against_a_server_that_does_nothing() -> None:
    async def go() -> WarmTrial:
        async with floor.server() as url, WhiskClient(url, "a:b") as whisk:
            tally = load.Tally()
            trial = await load.warm(whisk, "floor", 5, tally)
            assert (tally.activations, tally.cold_seen) == (5, 0)
            return trial

    assert asyncio.run(go()).client_p50 > 0


def test_the_floor_answers_requests_that_come_in_pieces() -> None:
    written: list[bytes] = []

    class Transport(asyncio.Transport):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            written.append(bytes(data))

    protocol = floor.Nothing()
    protocol.connection_made(Transport())
    protocol.data_received(b"POST / HTTP/1.1\r\nContent-")
    protocol.data_received(b"Length: 2\r\n\r\n{")
    assert written == []
    protocol.data_received(b"}GET / HTTP/1.1\r\n\r\n")
    assert len(written) == 2


def test_cold_calls_among_warm_ones_do_not_count() -> None:
    made = [Call(900.0, 1.0, cold=True), *(Call(float(n), 0.5, cold=False) for n in (2, 3, 4))]
    found = load.summarise(made, "http://x")
    assert (found.client_p50, found.overhead_p50) == (3.0, 2.5)


def test_a_host_that_keeps_nothing_warm_is_told() -> None:
    with pytest.raises(MeasurementError, match="each of 1 calls in a row was a cold start"):
        load.summarise([Call(900.0, 1.0, cold=True)], "http://x")


def test_an_answer_without_run_us_is_no_measurement() -> None:
    with pytest.raises(MeasurementError, match="answered without run_us"):
        probe.read({"response": {"result": {}}}, 1.0, "http://x")


def test_the_action_returns_what_it_measured() -> None:
    names: dict[str, Any] = {}
    exec(probe.SOURCE, names)
    found = names["main"]({"n": 3})
    assert found["echo"] == 3
    assert 0 < found["run_us"] < 1e6


def test_the_summary_relates_a_long_store_to_a_short_one() -> None:
    trial = WarmTrial(1.0, 2.0, 1.5, 2.5)
    host = Trials("target", [trial] * 5, [300.0] * 5, [500.0] * 5)
    found = Found([0.4] * 5, [host], 80.0, 10_000, StoredTrials([2.0] * 5, [2.2] * 5))
    chosen = options.parse("http://x", stored="100000")
    rows = figures.rows(chosen, found)
    summary = figures.summary(chosen, found, rows)
    assert summary["stored"] == {
        "rows": 100_000,
        "p50_ms": 2.2,
        "reference_rows": 1000,
        "reference_p50_ms": 2.0,
        "ratio": 1.1,
    }
    assert summary["stable"] is True
    assert [row.scenario for row in rows][-1] == "stored rows=100000 calls=500"


def test_options_become_a_scenario_with_a_name() -> None:
    chosen = options.parse("http://x", trials="5", seconds="2s", stored="0")
    assert chosen.name == (
        "whisk-bench apihost=http://x trials=5 warm_calls=500 connections=8 seconds=2 "
        "cold_trials=10 rss_after=10000"
    )
    assert chosen.per_minute == 2500 + 64 + 10_000 + 10 + 10_000


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("trials", "four", "--trials takes a whole number, not 'four'"),
        ("warm_calls", "0", "--warm-calls takes 1 or more, not 0"),
        ("seconds", "soon", "--seconds takes a duration such as 250ms, 10s or 2m, not 'soon'"),
        ("connections", "201", "--connections takes at most 200, not 201"),
    ],
)
def test_options_that_cannot_be_read_are_named(option: str, text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        options.parse("http://x", **{option: text})
    assert str(error.value) == message
