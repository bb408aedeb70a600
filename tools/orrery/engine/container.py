"""One action container: made by Docker, initialised once, run many times, removed.

`Worker` and `Workers` are the seam between the pool's decisions and Docker; tests put fakes there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

import aiohttp

from orrery.engine import exchange, logs, protocol
from orrery.engine.docker import Docker, DockerError, DockerUnreachableError
from orrery.engine.exchange import LostError, RefusedError
from orrery.engine.invoker import Job, Revision, Status
from orrery.engine.protocol import Verdict

LOGGER = logging.getLogger(__name__)

BIG_CODE_CHARACTERS = 1 << 20
EXIT_WAIT_S = 5.0
# A container without our runtime does not say where its log ends: what comes until it is silent.
QUIET_S = 0.03
QUIET_TOTAL_S = 0.3


class ProvisionError(Exception):
    """There is no container to be had."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(str(verdict.result))
        self.verdict = verdict


class GoneError(Exception):
    """The container does not take the job, which may go to another one."""


class Worker(Protocol):
    """A container from the pool's point of view."""

    @property
    def alive(self) -> bool:
        """Whether it can be used again."""
        ...

    async def init(self, job: Job) -> Verdict | None:
        """Load the action; None when it is ready."""

    async def run(self, job: Job) -> Verdict:
        """Run one activation. Raises GoneError where the container never took it."""
        ...

    async def collect(self, job: Job, verdict: Verdict) -> tuple[list[str], bool]:
        """The log of the activation, and whether it is complete."""
        ...

    async def pause(self) -> None:
        """Freeze. Raises DockerError."""

    async def unpause(self) -> None:
        """Go on. Raises DockerError."""

    async def remove(self) -> None:
        """End it, now or as soon as Docker answers; raises nothing."""


class Workers(Protocol):
    """Where containers come from."""

    async def start(self) -> None:
        """Remove what a dead engine left."""

    async def stop(self) -> None:
        """Remove what is left and close connections."""

    async def create(self, action: Revision, on_exit: Callable[[], None]) -> Worker:
        """A running container; `on_exit` is called when it ends by itself.

        Raises:
            ProvisionError: There is none.
        """
        ...


class DockerWorker:
    """One running container and the stream of its output."""

    def __init__(
        self,
        name: str,
        docker: Docker,
        stream: aiohttp.ClientResponse,
        on_exit: Callable[[], None],
        abandon: Callable[[str], None],
    ) -> None:
        self.name = name
        self.address = ""
        self._docker = docker
        self._stream = stream
        self._on_exit = on_exit
        self._abandon = abandon
        self._log = logs.LogCollector()
        self._answered = True
        self._reader = asyncio.create_task(self._read())

    @property
    def alive(self) -> bool:
        """Whether Docker still sends the container's output."""
        return not self._log.closed

    async def init(self, job: Job) -> Verdict | None:
        """Load the action."""
        self._begin(job)
        code = job.action.executable.code
        if code is not None and len(code) > BIG_CODE_CHARACTERS:
            message = await asyncio.to_thread(protocol.init_message, job)
        else:
            message = protocol.init_message(job)
        timeout_ms = job.action.timeout_ms
        try:
            answer = await exchange.init(
                self.address, message, timeout_s=timeout_ms / 1000, alive=lambda: self.alive
            )
        except TimeoutError:
            return protocol.timed_out(timeout_ms, during_init=True)
        except LostError:
            return await self._autopsy(protocol.ABNORMAL_INIT)
        return protocol.interpret_init(answer)

    async def run(self, job: Job) -> Verdict:
        """Run one activation."""
        first = not self._answered
        self._begin(job)
        timeout_ms = job.action.timeout_ms
        try:
            answer = await exchange.run(
                self.address, protocol.run_message(job), timeout_s=timeout_ms / 1000
            )
        except TimeoutError:
            return protocol.timed_out(timeout_ms, during_init=False)
        except RefusedError as error:
            if first:
                return await self._autopsy(protocol.ABNORMAL_RUN)
            raise GoneError(str(error)) from error
        except LostError:
            return await self._autopsy(protocol.ABNORMAL_RUN)
        self._answered = True
        if answer.status == 503:
            raise GoneError("the container is shutting down")
        return protocol.interpret_run(answer)

    def _begin(self, job: Job) -> None:
        """Begin a log, unless /init already did: both are one activation's."""
        if self._answered:
            self._log.begin(job.action.logs_mb * 1024 * 1024)
            self._answered = False

    async def _autopsy(self, otherwise: str) -> Verdict:
        """Why the connection was lost: out of memory, Docker itself, or the action."""
        # Docker knows how a container ended once it has closed the container's output.
        await self._log.ended(1.0)
        try:
            state = await self._docker.inspect(self.name)
        except DockerUnreachableError:
            return protocol.whisk_error(protocol.CONTAINER_LOST)
        except DockerError:
            state = None
        oom = state is not None and state.oom_killed
        text = protocol.OUT_OF_MEMORY if oom else otherwise
        return Verdict(Status.DEVELOPER_ERROR, {"error": text})

    async def collect(self, job: Job, verdict: Verdict) -> tuple[list[str], bool]:
        """The log of the activation; a container that will not be used again is killed first."""
        failed = verdict.status in (Status.DEVELOPER_ERROR, Status.WHISK_ERROR)
        if failed:
            with contextlib.suppress(DockerError):
                await self._docker.kill(self.name)
        logs_mb = job.action.logs_mb
        if logs_mb == 0:
            return [], True
        complete = True
        if failed:
            complete = await self._log.ended(EXIT_WAIT_S)
        elif job.action.executable.native or self._log.has_sentinel:
            complete = await self._log.complete(total_s=max(5, logs_mb) * 2.0)
        else:
            await self._log.complete(total_s=QUIET_TOTAL_S, idle_s=QUIET_S)
        lines = self._log.take()
        if not complete:
            lines.append(logs.line(logs.FAILURE))
        if verdict.status is Status.DEVELOPER_ERROR:
            lines.append(logs.line(logs.DEVELOPER))
        return lines, complete

    async def pause(self) -> None:
        """Freeze."""
        await self._docker.pause(self.name)

    async def unpause(self) -> None:
        """Go on."""
        await self._docker.unpause(self.name)

    async def remove(self) -> None:
        """End it, now or as soon as Docker answers."""
        self._on_exit = _ignore
        try:
            await self._docker.remove(self.name)
        except DockerError as error:
            LOGGER.warning("%s is removed later: %s", self.name, error)
            self._abandon(self.name)
        finally:
            self.detach()

    def detach(self) -> None:
        """Stop reading the output."""
        self._on_exit = _ignore
        self._reader.cancel()
        self._stream.close()
        self._log.close()

    async def _read(self) -> None:
        try:
            while data := await self._stream.content.readany():
                self._log.feed(data)
        except (aiohttp.ClientError, OSError) as error:
            LOGGER.info("%s: output ended: %s", self.name, error)
        finally:
            self._stream.close()
            self._log.close()
            self._on_exit()


def _ignore() -> None:
    """What to do at the end of a container that is being removed."""
