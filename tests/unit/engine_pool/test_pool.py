"""The pool's decisions: reuse, memory, order, eviction, pausing, removal, and what goes wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orrery.engine.config import ContainerLimits, EngineConfig
from orrery.engine.invoker import Status
from orrery.engine.pool import ContainerPool, PoolSettings
from orrery.engine.protocol import Verdict, whisk_error
from tests.unit.engine_pool.fake_workers import FakeWorkers, job, until, with_pool


def test_a_second_run_of_the_same_action_is_warm() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        cold = await pool.run(job("a"))
        assert cold.outcome.init_ms is not None
        assert await cold.logs == ["log of a"]
        warm = await pool.run(job("b"))
        assert warm.outcome.init_ms is None
        assert warm.outcome.status is Status.SUCCESS
        assert warm.outcome.result == {"ok": True}
        assert workers.ran == [(1, "a"), (1, "b")]

    with_pool(check)


@pytest.mark.parametrize("change", [{"revision": "r2"}, {"namespace": "other"}])
def test_another_revision_or_namespace_gets_a_container_of_its_own(change: dict[str, str]) -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        await (await pool.run(job("a"))).logs
        await (await pool.run(job("b", **change))).logs  # type: ignore[arg-type]  # texts only
        assert workers.ran == [(1, "a"), (2, "b")]

    with_pool(check)


def test_a_call_right_after_the_answer_waits_for_the_log_instead_of_a_new_container() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        workers.collecting.clear()
        first = await pool.run(job("a"))
        second = asyncio.create_task(pool.run(job("b")))
        await asyncio.sleep(0)
        assert len(workers.made) == 1
        workers.collecting.set()
        await second
        await first.logs
        assert workers.ran == [(1, "a"), (1, "b")]

    with_pool(check)


def test_a_log_that_takes_long_does_not_hold_up_the_next_call() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        workers.collecting.clear()
        await pool.run(job("a"))
        await pool.run(job("b"))
        assert workers.ran == [(1, "a"), (2, "b")]

    with_pool(check)


def test_a_container_that_fails_while_promised_sends_its_waiter_to_a_new_one() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        workers.collecting.clear()
        await pool.run(job("a"))
        second = asyncio.create_task(pool.run(job("b")))
        await asyncio.sleep(0)
        workers.complete = False
        workers.collecting.set()
        await second
        assert workers.ran == [(1, "a"), (2, "b")]
        assert workers.made[0].events[-1] == "remove"

    with_pool(check)


def test_a_full_pool_lets_jobs_wait_in_their_order() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        workers.running.clear()
        tasks = [asyncio.create_task(pool.run(job(name))) for name in "abcde"]
        await until(lambda: len(workers.ran) == 2)
        assert pool.snapshot().waiting == 3
        assert pool.snapshot().used_mb == pool.snapshot().capacity_mb == 512
        workers.running.set()
        await asyncio.gather(*tasks)
        assert [name for _, name in workers.ran] == list("abcde")
        assert len(workers.made) == 2

    with_pool(check)


def test_a_large_job_at_the_head_of_the_queue_is_not_starved_by_small_ones() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        workers.running.clear()
        small = [asyncio.create_task(pool.run(job(name))) for name in "ab"]
        await until(lambda: len(workers.ran) == 2)
        large = asyncio.create_task(pool.run(job("L", path="guest/large", memory_mb=512)))
        await asyncio.sleep(0)
        late = asyncio.create_task(pool.run(job("c")))
        await asyncio.sleep(0)
        workers.running.set()
        await asyncio.gather(*small, large, late)
        assert [name for _, name in workers.ran][2:] == ["L", "c"]

    with_pool(check)


def test_the_oldest_idle_container_of_another_action_makes_room() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        for name in "ab":
            await (await pool.run(job(name, path=f"guest/{name}"))).logs
        await until(lambda: pool.snapshot().warm == 2)
        await (await pool.run(job("c", path="guest/c"))).logs
        assert workers.made[0].events[-1] == "remove"
        assert workers.made[1].events[-1] == "run b"

    with_pool(check)


def test_memory_is_free_only_when_the_container_is_gone() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        workers.removing.clear()
        await (await pool.run(job("a", memory_mb=512))).logs
        await until(lambda: pool.snapshot().warm == 1)
        task = asyncio.create_task(pool.run(job("b", path="guest/b", memory_mb=512)))
        await asyncio.sleep(0)
        assert pool.snapshot().used_mb == 512
        assert len(workers.made) == 1
        workers.removing.set()
        await task
        assert len(workers.made) == 2

    with_pool(check)


def test_a_job_larger_than_the_pool_is_answered_at_once() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        run = await pool.run(job(memory_mb=1024))
        assert run.outcome.status is Status.WHISK_ERROR
        assert run.outcome.result == {
            "error": "The action needs 1024 MB of memory, the pool of the engine has 512 MB."
        }
        assert await run.logs == ()
        assert not workers.made

    with_pool(check)


def test_an_idle_container_is_paused_and_woken() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        await (await pool.run(job("a"))).logs
        await until(lambda: pool.snapshot().paused == 1)
        run = await pool.run(job("b"))
        assert run.outcome.init_ms is None
        assert workers.made[0].events == ["init", "run a", "pause", "unpause", "run b"]
        await until(lambda: pool.snapshot().paused == 1)

    with_pool(check, pause_grace_s=0.01)


def test_a_container_that_cannot_be_woken_is_replaced() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        await (await pool.run(job("a"))).logs
        await until(lambda: pool.snapshot().paused == 1)
        workers.unpause_fails = True
        run = await pool.run(job("b"))
        assert run.outcome.status is Status.SUCCESS
        assert workers.ran == [(1, "a"), (2, "b")]

    with_pool(check, pause_grace_s=0.01)


def test_an_idle_container_is_removed_after_the_idle_timeout() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        await (await pool.run(job("a"))).logs
        await until(lambda: pool.snapshot().used_mb == 0)
        assert workers.made[0].events == ["init", "run a", "pause", "remove"]

    with_pool(check, pause_grace_s=0.01, idle_timeout_s=0.05)


def test_a_forgotten_action_loses_idle_containers_now_and_busy_ones_later() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        await (await pool.run(job("a"))).logs
        await until(lambda: pool.snapshot().warm == 1)
        await pool.forget("guest/hello")
        await until(lambda: pool.snapshot().used_mb == 0)
        workers.running.clear()
        task = asyncio.create_task(pool.run(job("b")))
        await until(lambda: len(workers.ran) == 2)
        await pool.forget("guest/hello")
        assert pool.snapshot().busy == 1
        workers.running.set()
        assert (await task).outcome.status is Status.SUCCESS
        await until(lambda: pool.snapshot().used_mb == 0)

    with_pool(check)


def test_an_application_error_keeps_the_container_and_a_developer_error_does_not() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        workers.verdict = Verdict(Status.APPLICATION_ERROR, {"error": "mine"})
        await (await pool.run(job("a"))).logs
        await until(lambda: pool.snapshot().warm == 1)
        workers.verdict = Verdict(Status.DEVELOPER_ERROR, {"error": "late"}, timed_out=True)
        run = await pool.run(job("b"))
        assert run.outcome.timed_out
        assert await run.logs == ["log of b"]
        await until(lambda: pool.snapshot().used_mb == 0)

    with_pool(check)


def test_a_failed_init_is_the_outcome_and_nothing_is_run() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        workers.init_verdict = Verdict(Status.DEVELOPER_ERROR, {"error": "bad code"})
        run = await pool.run(job())
        assert run.outcome.result == {"error": "bad code"}
        assert run.outcome.init_ms is not None
        assert not workers.ran
        await until(lambda: pool.snapshot().used_mb == 0)

    with_pool(check)


def test_a_container_that_cannot_be_made_is_an_error_and_gives_its_memory_back() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        workers.failure = whisk_error()
        run = await pool.run(job())
        assert run.outcome.status is Status.WHISK_ERROR
        assert run.outcome.result == {"error": "Failed to provision resources to run the action."}
        await until(lambda: pool.snapshot().used_mb == 0)
        workers.failure = None
        assert (await pool.run(job())).outcome.status is Status.SUCCESS

    with_pool(check)


def test_a_refusing_container_is_replaced_and_one_that_always_refuses_is_an_error() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        workers.gone = 1
        assert (await pool.run(job("a"))).outcome.status is Status.SUCCESS
        assert workers.ran == [(1, "a"), (2, "a")]
        workers.gone = 1000
        assert (await pool.run(job("b"))).outcome.status is Status.WHISK_ERROR

    with_pool(check)


def test_an_idle_container_that_dies_is_not_used_again() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        await (await pool.run(job("a"))).logs
        await until(lambda: pool.snapshot().warm == 1)
        workers.made[0].exit()
        await pool.run(job("b"))
        assert workers.ran == [(1, "a"), (2, "b")]

    with_pool(check)


def test_a_cancelled_job_gives_back_its_place_and_its_container() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        workers.running.clear()
        running = asyncio.create_task(pool.run(job("a", memory_mb=512)))
        await until(lambda: len(workers.ran) == 1)
        waiting = asyncio.create_task(pool.run(job("b", memory_mb=512)))
        await until(lambda: pool.snapshot().waiting == 1)
        waiting.cancel()
        running.cancel()
        results = await asyncio.gather(waiting, running, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        workers.running.set()
        assert (await pool.run(job("c", memory_mb=512))).outcome.status is Status.SUCCESS

    with_pool(check)


def test_a_stopping_pool_answers_what_runs_and_what_waits() -> None:
    async def check(pool: ContainerPool, workers: FakeWorkers) -> None:
        workers.verdict = Verdict(Status.DEVELOPER_ERROR, {"error": "connection lost"})
        workers.running.clear()
        workers.creating.clear()
        tasks = [asyncio.create_task(pool.run(job(name, memory_mb=512))) for name in "ab"]
        await asyncio.sleep(0)
        stop = asyncio.create_task(pool.stop())
        await asyncio.sleep(0)
        workers.creating.set()
        workers.running.set()
        await stop
        for run in await asyncio.gather(*tasks):
            assert run.outcome.status is Status.WHISK_ERROR
        assert pool.snapshot().used_mb == 0

    with_pool(check)


def test_a_pool_takes_the_engines_configuration(tmp_path: Path) -> None:
    config = EngineConfig(
        lab_name="t-pool",
        listen=(("127.0.0.1", 3233),),
        database=tmp_path / "engine.db",
        docker_socket=tmp_path / "docker.sock",
        network="net",
        container_prefix="fn",
        api_host="http://127.0.0.1:3233",
        pool_memory_mb=768,
        users=(),
        runtimes={},
        default_kind="python:3.11",
        container_limits=ContainerLimits(pids=7, nofile=8, tmpfs_mb=9),
    )
    settings = PoolSettings.from_config(config)
    assert (settings.pids, settings.nofile, settings.tmpfs_mb) == (7, 8, 9)
    assert ContainerPool(config).snapshot().capacity_mb == 768
