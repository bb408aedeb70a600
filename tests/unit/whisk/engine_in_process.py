"""The real engine's API over HTTP in this process, with actions that run in this process, too."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import queue
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from orrery.engine.app import create_app, running
from orrery.engine.config import EngineConfig, User
from orrery.engine.invoker import Job, Outcome, PoolSnapshot, Run, Status
from orrery.engine.server import make_server
from orrery.engine.store import Store

UUID = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502"
KEY = "k" * 64
AUTH = f"{UUID}:{KEY}"


class InProcessInvoker:
    """Runs an action's Python in this process; the first call of a revision is cold."""

    def __init__(self) -> None:
        self._warm: set[tuple[str, str]] = set()

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    async def forget(self, path: str) -> None:
        """The next call is cold again."""
        self._warm = {key for key in self._warm if key[0] != path}

    def snapshot(self) -> PoolSnapshot:
        """An empty pool."""
        return PoolSnapshot(0, 0, 0, 0, 0, 1024)

    async def run(self, job: Job) -> Run:
        """Run one activation."""
        key = (job.action.path, job.action.revision)
        cold = key not in self._warm
        self._warm.add(key)
        start = int(time.time() * 1000)
        status, result, lines, late = await self._run(job)
        outcome = Outcome(
            status=status,
            result=result,
            start_ms=start,
            end_ms=int(time.time() * 1000),
            wait_ms=max(0, start - job.accepted_ms),
            init_ms=1 if cold else None,
            timed_out=late,
        )
        logs: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        logs.set_result(lines if job.action.logs_mb else [])
        return Run(outcome, logs)

    async def _run(self, job: Job) -> tuple[Status, Any, list[str], bool]:
        if job.arguments.get("do") == "sleep":
            limit = job.action.timeout_ms / 1000
            await asyncio.sleep(min(limit, job.arguments["s"]))
            if job.arguments["s"] > limit:
                text = (
                    f"The action exceeded its time limits of {job.action.timeout_ms} milliseconds."
                )
                return Status.DEVELOPER_ERROR, {"error": text}, [], True
        out, err = io.StringIO(), io.StringIO()
        with _environment(job), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            result = _call(job)
        lines = [_line("stdout", text) for text in out.getvalue().splitlines()]
        lines += [_line("stderr", text) for text in err.getvalue().splitlines()]
        return *_verdict(result), lines, False


def _call(job: Job) -> Any:
    executable = job.action.executable
    code = executable.code or ""
    if executable.binary:
        code = base64.b64decode(code).decode()
    names: dict[str, Any] = {}
    try:
        exec(compile(code, "action", "exec"), names)
    except SyntaxError as error:
        return str(error)
    return names[executable.main](dict(job.arguments))


def _verdict(result: Any) -> tuple[Status, Any]:
    if not isinstance(result, dict | list):
        error = {"error": "The action did not return a dictionary or array."}
        return Status.DEVELOPER_ERROR, error
    if isinstance(result, dict) and "error" in result:
        return Status.APPLICATION_ERROR, {"error": result["error"]}
    return Status.SUCCESS, result


@contextlib.contextmanager
def _environment(job: Job) -> Iterator[None]:
    own = {
        **job.action.init_env,
        "__OW_NAMESPACE": job.namespace,
        "__OW_ACTION_NAME": f"/{job.action.path}",
        "__OW_ACTIVATION_ID": job.activation_id,
        "__OW_DEADLINE": str(job.accepted_ms + job.action.timeout_ms),
    }
    with mock.patch.dict(os.environ, own):
        yield


def _line(stream: str, text: str) -> str:
    return f"{'2026-01-01T00:00:00.000000000Z':<30} {stream}: {text}"


@dataclass(frozen=True)
class Engine:
    """A running engine."""

    url: str
    auth: str = AUTH


def config(folder: Path, *, per_minute: int = 100_000, in_flight: int = 200) -> EngineConfig:
    """A configuration that names no Docker."""
    return EngineConfig(
        lab_name="test",
        listen=[("127.0.0.1", 1)],
        database=folder / "engine.db",
        docker_socket=Path("/nonexistent/docker.sock"),
        network="none",
        container_prefix="test-fn",
        api_host="http://127.0.0.1:1",
        pool_memory_mb=1024,
        users=[User("guest", "guest", UUID, KEY, per_minute, in_flight)],
        runtimes={"python:3.11": "test/python:3.11"},
        default_kind="python:3.11",
    )


@contextlib.asynccontextmanager
async def engine(settings: EngineConfig) -> AsyncIterator[Engine]:
    """Serve on a free port of loopback."""
    app = create_app(settings, Store(settings.database), InProcessInvoker())
    server = make_server(app)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.setblocking(False)
        async with running(app):
            serving = asyncio.create_task(server._serve([listener]))
            try:
                yield Engine(f"http://127.0.0.1:{listener.getsockname()[1]}")
            finally:
                server.should_exit = True
                await serving


class EngineThread:
    """A running engine in a thread of its own, for tests that bring their own event loop."""

    def __init__(self, settings: EngineConfig) -> None:
        self._settings = settings
        self._started: queue.Queue[Engine | BaseException] = queue.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="engine")

    def __enter__(self) -> Engine:
        """Wait until it listens."""
        self._thread.start()
        found = self._started.get(timeout=60)
        if isinstance(found, BaseException):
            raise found
        return found

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # whatever it is, the test that waits has to see it
            self._started.put(error)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with engine(self._settings) as found:
            self._started.put(found)
            await self._stop.wait()
