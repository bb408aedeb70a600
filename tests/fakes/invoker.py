"""An invoker without containers: the name of an action says what it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from orrery.engine.invoker import Job, Outcome, PoolSnapshot, Run, Status

LINE = "2026-01-01T00:00:00.000000000Z stdout: hello"

RESULTS: dict[str, tuple[Status, Any]] = {
    "application-error": (Status.APPLICATION_ERROR, {"error": "own fault"}),
    "developer-error": (Status.DEVELOPER_ERROR, {"error": "it crashed"}),
    "whisk-error": (Status.WHISK_ERROR, {"error": "no container"}),
    "array": (Status.SUCCESS, [1, 2]),
    "not-a-number": (Status.SUCCESS, {"value": float("nan")}),
}


def now_ms() -> int:
    """Unix time [ms]."""
    return time.time_ns() // 1_000_000


class FakeInvoker:
    """Runs nothing.

    `held-*` waits for `release`, `late-*` has a log that comes with `release`, `raises` breaks
    the contract, names of `RESULTS` end as said there; everything else returns its arguments.
    """

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.forgotten: list[str] = []
        self.started = False
        self.stopped = False
        self._gate = asyncio.Event()

    async def start(self) -> None:
        self.started = True

    async def stop(self) -> None:
        self.stopped = True
        self._gate.set()

    async def forget(self, path: str) -> None:
        self.forgotten.append(path)

    def release(self) -> None:
        """Let everything go that waits (in the event loop)."""
        self._gate.set()
        self._gate = asyncio.Event()

    def snapshot(self) -> PoolSnapshot:
        return PoolSnapshot(busy=1, warm=2, paused=3, waiting=4, used_mb=256, capacity_mb=1024)

    async def run(self, job: Job) -> Run:
        self.jobs.append(job)
        name = job.action.path.rpartition("/")[2]
        gate = self._gate
        if name.startswith("held"):
            await gate.wait()
        if name == "raises":
            raise RuntimeError("an invoker must not do this")
        status, result = RESULTS.get(name, (Status.SUCCESS, dict(job.arguments)))
        now = now_ms()
        outcome = Outcome(
            status=status,
            result=result,
            start_ms=now,
            end_ms=now + 3,
            wait_ms=max(0, now - job.accepted_ms),
            init_ms=2 if name == "cold" else None,
            timed_out=name == "slow",
        )
        logs: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        if name.startswith("late"):
            waiting = asyncio.ensure_future(gate.wait())
            waiting.add_done_callback(lambda _: logs.set_result([LINE]))
        else:
            logs.set_result([LINE] if name == "talks" else [])
        return Run(outcome, logs)
