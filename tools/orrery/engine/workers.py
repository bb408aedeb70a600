"""Where containers come from: creates them with Docker, and removes what nobody needs any more.

Every container's root file system is read-only, blackbox images included: without a quota a
writable one is the host's disk. What it may write is /tmp (memory of its own limit), and /action
where a blackbox action brings code, because Docker skeletons store it there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orrery.engine import protocol
from orrery.engine.config import EngineConfig
from orrery.engine.container import DockerWorker, ProvisionError, Worker
from orrery.engine.docker import ContainerSpec, Docker, DockerError, DockerUnreachableError
from orrery.engine.invoker import Revision, Status
from orrery.engine.protocol import Verdict

LOGGER = logging.getLogger(__name__)

LAB_LABEL = "orrery.lab"
ROLE_LABEL = "orrery.role=action"
ENGINE_LABEL = "orrery.engine"
SWEEP_AGAIN_S = 1.0
LATE_SWEEPS_S = (3.0, 15.0, 60.0)


@dataclass(frozen=True)
class PoolSettings:
    """What the pool is told.

    Attributes:
        lab_name: Value of the label that marks this lab's containers.
        pool_memory_mb: Memory of all containers together [MB].
        pids: Processes and threads of one container.
        nofile: Open files of one process.
        tmpfs_mb: Size of /tmp [MB]; never more than half the container's memory, so that a full
            /tmp is an error to the action and not the end of it.
    """

    lab_name: str
    docker_socket: Path
    network: str
    container_prefix: str
    api_host: str
    pool_memory_mb: int
    max_parallel_starts: int = 4
    idle_timeout_s: float = 600.0
    pause_grace_s: float = 10.0
    pids: int = 1024
    nofile: int = 1024
    tmpfs_mb: int = 256

    @classmethod
    def from_config(cls, config: EngineConfig) -> PoolSettings:
        """The pool's part of the engine's configuration."""
        return cls(
            lab_name=config.lab_name,
            docker_socket=config.docker_socket,
            network=config.network,
            container_prefix=config.container_prefix,
            api_host=config.api_host,
            pool_memory_mb=config.pool_memory_mb,
            max_parallel_starts=config.max_parallel_starts,
            idle_timeout_s=config.idle_timeout_s,
            pause_grace_s=config.pause_grace_s,
            pids=config.container_limits.pids,
            nofile=config.container_limits.nofile,
            tmpfs_mb=config.container_limits.tmpfs_mb,
        )


class DockerWorkers:
    """Makes containers with Docker."""

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.docker = Docker(settings.docker_socket)
        self._starts = asyncio.Semaphore(settings.max_parallel_starts)
        self._numbers = itertools.count(1)
        # Tells our containers from those of an engine that was killed, also while both exist.
        self._engine = f"{os.getpid():x}{os.urandom(3).hex()}"
        self._orphans: set[str] = set()
        self._sweep_needed = True
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Remove containers of this lab that a dead engine left; later, if Docker is away."""
        await self._sweep()
        self._tasks.add(asyncio.create_task(self._clean()))
        self._tasks.add(asyncio.create_task(self._sweep_late()))

    async def stop(self) -> None:
        """Try once more to remove what could not be removed, and close connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._remove_orphans()
        await self.docker.close()

    async def create(self, action: Revision, on_exit: Callable[[], None]) -> Worker:
        """Create, attach to and start a container."""
        async with self._starts:
            tag = "".join(c if c.isalnum() else "-" for c in action.path)[-40:]
            name = f"{self.settings.container_prefix}-{self._engine}-{next(self._numbers)}-{tag}"
            spec = self._spec(action)
            worker: DockerWorker | None = None
            try:
                await self._create(name, spec, action)
                stream = await self.docker.attach(name)
                worker = DockerWorker(name, self.docker, stream, on_exit, self.abandon)
                await self.docker.start(name)
                state = await self.docker.inspect(name)
                if state.running and not state.address:
                    raise DockerError(500, f"{name} has no address on {self.settings.network}")
                worker.address = state.address
            except BaseException as error:
                if worker is not None:
                    worker.detach()
                self.abandon(name)
                if isinstance(error, DockerError):
                    raise ProvisionError(_provision_verdict(error, spec.image)) from error
                raise
            return worker

    def abandon(self, name: str) -> None:
        """Have a container removed in the background."""
        self._orphans.add(name)
        self._wake.set()

    def _spec(self, action: Revision) -> ContainerSpec:
        settings = self.settings
        blackbox = not action.executable.native
        with_code = blackbox and action.executable.code is not None
        slots = max(1, settings.pool_memory_mb // action.memory_mb)
        return ContainerSpec(
            image=action.executable.image,
            network=settings.network,
            memory_mb=action.memory_mb,
            cpu_shares=max(2, 1024 // slots),
            pids=settings.pids,
            nofile=settings.nofile,
            tmpfs_mb=max(1, min(settings.tmpfs_mb, action.memory_mb // 2)),
            tmpfs=("/tmp", "/action") if with_code else ("/tmp",),  # noqa: S108 - in the container
            # HOME: libraries keep caches there, and nothing but /tmp can be written.
            environment={"__OW_API_HOST": settings.api_host, "HOME": "/tmp"},  # noqa: S108
            labels={
                LAB_LABEL: settings.lab_name,
                "orrery.role": "action",
                ENGINE_LABEL: self._engine,
                "orrery.action": action.path,
            },
        )

    async def _create(self, name: str, spec: ContainerSpec, action: Revision) -> None:
        """Create the container; an image that is not there is pulled.

        OpenWhisk pulls a blackbox image tagged `latest` every time. Here an image that is on the
        host is used as it is: a lab without a registry has images that were built or loaded.
        """
        try:
            await self.docker.create(name, spec)
        except DockerUnreachableError:
            raise
        except DockerError as error:
            if error.status != 404 or "image" not in str(error).lower():
                raise
            try:
                await self.docker.pull(spec.image)
                await self.docker.create(name, spec)
            except DockerError as failure:
                LOGGER.warning("image %s cannot be had: %s", spec.image, failure)
                text = f"Failed to pull container image '{spec.image}'."
                native = action.executable.native
                verdict = Verdict(Status.DEVELOPER_ERROR, {"error": text})
                raise ProvisionError(protocol.whisk_error() if native else verdict) from failure

    async def _sweep(self) -> None:
        """Give every container of another engine of this lab to the cleaner, and wait for it."""
        try:
            found = await self.docker.labelled(f"{LAB_LABEL}={self.settings.lab_name}", ROLE_LABEL)
        except DockerError as error:
            LOGGER.warning("cannot look for left containers yet: %s", error)
            self._wake.set()
            return
        self._sweep_needed = False
        left = [key for key, labels in found.items() if labels.get(ENGINE_LABEL) != self._engine]
        if left:
            LOGGER.info("removing %d containers of an engine that ended", len(left))
        self._orphans.update(left)
        await self._remove_orphans()

    async def _sweep_late(self) -> None:
        """Sweep again: Docker may finish what a killed engine asked for after our first look."""
        for delay_s in LATE_SWEEPS_S:
            await asyncio.sleep(delay_s)
            await self._sweep()

    async def _clean(self) -> None:
        """Remove abandoned containers, again and again while Docker does not answer."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._sweep_needed:
                await self._sweep()
            await self._remove_orphans()
            if self._orphans or self._sweep_needed:
                await asyncio.sleep(SWEEP_AGAIN_S)
                self._wake.set()

    async def _remove_orphans(self) -> None:
        gate = asyncio.Semaphore(8)

        async def remove(name: str) -> None:
            async with gate:
                with contextlib.suppress(DockerError):
                    await self.docker.remove(name)
                    self._orphans.discard(name)

        await asyncio.gather(*(remove(name) for name in list(self._orphans)))


def _provision_verdict(error: DockerError, image: str) -> Verdict:
    if "executable file not found" in str(error) or "no command specified" in str(error).lower():
        text = f"executable file not found in image {image}"
        return Verdict(Status.DEVELOPER_ERROR, {"error": text})
    LOGGER.error("no container of %s: %s", image, error)
    return protocol.whisk_error()
