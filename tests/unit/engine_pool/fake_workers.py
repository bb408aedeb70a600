"""Containers that are not there, for tests of the pool's decisions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from orrery.engine.container import GoneError, ProvisionError, Worker
from orrery.engine.docker import DockerError
from orrery.engine.invoker import Executable, Job, Revision, Status
from orrery.engine.pool import ContainerPool, PoolSettings
from orrery.engine.protocol import Verdict

PATIENCE_S = 10.0


class FakeWorker:
    """A container whose every step waits for the test where the test says so."""

    def __init__(self, number: int, workers: FakeWorkers, on_exit: Callable[[], None]) -> None:
        self.number = number
        self.alive = True
        self.events: list[str] = []
        self.on_exit = on_exit
        self._workers = workers

    async def init(self, job: Job) -> Verdict | None:
        self.events.append("init")
        return self._workers.init_verdict

    async def run(self, job: Job) -> Verdict:
        self.events.append(f"run {job.activation_id}")
        self._workers.ran.append((self.number, job.activation_id))
        if self._workers.gone > 0:
            self._workers.gone -= 1
            raise GoneError("refused")
        await self._workers.running.wait()
        return self._workers.verdict

    async def collect(self, job: Job, verdict: Verdict) -> tuple[list[str], bool]:
        await self._workers.collecting.wait()
        return [f"log of {job.activation_id}"], self._workers.complete

    async def pause(self) -> None:
        self.events.append("pause")

    async def unpause(self) -> None:
        self.events.append("unpause")
        if self._workers.unpause_fails:
            raise DockerError(500, "cannot unpause")

    async def remove(self) -> None:
        await self._workers.removing.wait()
        self.alive = False
        self.events.append("remove")

    def exit(self) -> None:
        """End like a container that crashes."""
        self.alive = False
        self.on_exit()


class FakeWorkers:
    """Makes them; gates are open unless a test closes them."""

    def __init__(self) -> None:
        self.made: list[FakeWorker] = []
        self.ran: list[tuple[int, str]] = []
        self.verdict = Verdict(Status.SUCCESS, {"ok": True})
        self.init_verdict: Verdict | None = None
        self.failure: Verdict | None = None
        self.gone = 0
        self.complete = True
        self.unpause_fails = False
        self.stopped = False
        self.creating, self.running = asyncio.Event(), asyncio.Event()
        self.collecting, self.removing = asyncio.Event(), asyncio.Event()
        for gate in (self.creating, self.running, self.collecting, self.removing):
            gate.set()

    async def start(self) -> None:
        """Nothing was left."""

    async def stop(self) -> None:
        self.stopped = True

    async def create(self, action: Revision, on_exit: Callable[[], None]) -> Worker:
        await self.creating.wait()
        if self.failure is not None:
            raise ProvisionError(self.failure)
        worker = FakeWorker(len(self.made) + 1, self, on_exit)
        self.made.append(worker)
        return worker


def settings(**changes: Any) -> PoolSettings:
    """A pool of 512 MB that neither pauses nor removes by itself."""
    values: dict[str, Any] = {
        "lab_name": "t-pool",
        "docker_socket": Path("/nowhere/docker.sock"),
        "network": "t-pool",
        "container_prefix": "t-pool",
        "api_host": "http://127.0.0.1:1",
        "pool_memory_mb": 512,
        "pause_grace_s": 1000.0,
        "idle_timeout_s": 1000.0,
    }
    return PoolSettings(**{**values, **changes})


def job(
    activation_id: str = "1",
    *,
    path: str = "guest/hello",
    revision: str = "r1",
    namespace: str = "guest",
    memory_mb: int = 256,
    timeout_ms: int = 60_000,
    code: str | None = "def main(args): return {}",
    native: bool = True,
    logs_mb: int = 10,
) -> Job:
    """An activation to run."""
    executable = Executable("python:3.11", "image:1", code, False, "main", native)
    action = Revision(path, "0.0.1", revision, executable, timeout_ms, memory_mb, logs_mb)
    accepted_ms = int(time.time() * 1000)
    return Job(activation_id, "tid", namespace, action, {"x": 1}, None, accepted_ms)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - there is no event for each of these
            await asyncio.sleep(0.001)


def with_pool(
    test: Callable[[ContainerPool, FakeWorkers], Coroutine[Any, Any, None]], **changes: Any
) -> None:
    """Run a test's coroutine with a pool of its own and stop the pool afterwards."""

    async def main() -> None:
        workers = FakeWorkers()
        pool = ContainerPool(settings(**changes), workers)
        await pool.start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await test(pool, workers)
        finally:
            for gate in (workers.creating, workers.running, workers.collecting, workers.removing):
                gate.set()
            await pool.stop()
        assert workers.stopped
        assert pool.snapshot().used_mb == 0

    asyncio.run(main())
