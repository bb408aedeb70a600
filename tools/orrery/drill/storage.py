"""A guest's disk on its way: the same image for both sides, or a copy that is mirrored over NBD.

The copy is done as two hypervisors without a shared disk need it. The destination exports its own
empty image; a mirror job at the source writes everything there, also what the guest writes
meanwhile. When both are equal the migration begins; it pauses when the guest stands still
(`pause-before-switchover`), the mirror ends with both sides equal, and the migration goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from orrery.drill.migration import GoneError, Meddle, Now, Side
from orrery.drill.scenario import Storage
from orrery.drill.states import Status
from orrery.errors import GuestError
from orrery.guest.machine import DATA_NODE

SIZE_MB = 64
MIRROR_TIMEOUT_S = 120.0
JOB, NODE, EXPORT = "mirror0", "copy0", "export0"
COMPLETED, READY = "BLOCK_JOB_COMPLETED", "BLOCK_JOB_READY"
FAILED = ("BLOCK_JOB_ERROR", COMPLETED)
"""What is no good news before the job is ready."""


def image(folder: Path, storage: Storage, side: str) -> Path:
    """The image of one side; an empty one is made, and a shared one is there already."""
    path = folder / ("shared.raw" if storage is Storage.SHARED else f"{side}.raw")
    if storage is Storage.COPY or not path.exists():
        path.unlink(missing_ok=True)
        with path.open("xb") as stream:
            stream.truncate(SIZE_MB << 20)
    return path


@contextlib.asynccontextmanager
async def carried(
    storage: Storage | None, source: Side, target: Side, socket: Path
) -> AsyncIterator[Meddle | None]:
    """Have a disk carried over while the guest moves; what is to be done in the middle.

    Args:
        storage: None, and a shared image, need nothing.
        source: With the guest.
        target: That waits for it.
        socket: For NBD.

    Raises:
        GuestError: The mirror cannot be had, or does not get ready.
    """
    if storage is not Storage.COPY:
        yield None
        return
    address = {"type": "unix", "path": str(socket)}
    server = {"type": "unix", "data": {"path": str(socket)}}
    await target.execute("nbd-server-start", {"addr": server})
    export = {"type": "nbd", "id": EXPORT, "node-name": DATA_NODE, "name": DATA_NODE}
    await target.execute("block-export-add", {**export, "writable": True})
    node = {"driver": "nbd", "node-name": NODE, "server": address, "export": DATA_NODE}
    await source.execute("blockdev-add", node)
    try:
        mirror = {"job-id": JOB, "device": DATA_NODE, "target": NODE, "sync": "full"}
        await source.execute("blockdev-mirror", mirror)
        await _ready(source)
        yield _finish
    finally:
        await _quietly(source, "block-job-cancel", {"device": JOB, "force": True})
        await _quietly(target, "nbd-server-stop", {})
        await _quietly(source, "blockdev-del", {"node-name": NODE})


async def _ready(source: Side) -> None:
    """Wait until both images are equal.

    Raises:
        GuestError: The job failed, or takes too long.
    """
    try:
        async with asyncio.timeout(MIRROR_TIMEOUT_S):
            while (event := await source.next()).name != READY:
                if event.name in FAILED:
                    raise GuestError(
                        f"{source.name}: the copy of the disk failed: {event.data.get('error', '')}"
                    )
    except TimeoutError:
        raise GuestError(
            f"{source.name}: the copy of the disk is not ready after {MIRROR_TIMEOUT_S:g} s"
        ) from None


async def _finish(now: Now) -> None:
    """End the mirror when the guest stands still, then let the migration go on."""
    if now.event is None or now.status is not Status.PRE_SWITCHOVER:
        return
    if now.event.name == "MIGRATION" and now.event.data.get("status") == Status.PRE_SWITCHOVER:
        await now.source.execute("block-job-cancel", {"device": JOB})
    elif now.event.name == COMPLETED:
        await now.source.execute("migrate-continue", {"state": str(Status.PRE_SWITCHOVER)})


async def _quietly(side: Side, command: str, arguments: dict[str, object]) -> None:
    """Take something away; it may be gone already, with its side or by the migration itself."""
    with contextlib.suppress(GuestError, GoneError):
        await side.execute(command, arguments)
