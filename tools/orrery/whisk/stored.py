"""Does a long store make an engine slow? Two engines of the bench's own, measured by turns.

The user's lab is left alone: both engines run the lab's program with a configuration derived from
the lab's, but with a name, a port, a user and a database of their own. Their databases are
filled before they start, one with few activations, the other with many.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import tempfile
import time
import tomllib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery import shell
from orrery.engine import records as engine_records
from orrery.engine.invoker import Executable, Job, Outcome, Revision, Status
from orrery.engine.store.store import Store
from orrery.errors import ConfigurationError, FunctionError
from orrery.whisk import load, probe, target
from orrery.whisk.client import WhiskClient
from orrery.whisk.figures import StoredTrials
from orrery.whisk.options import STORED_REFERENCE, BenchOptions
from orrery.whisk.toml import dumps

MODULE = "orrery.engine"
NAMESPACE = "bench"
POOL_MB = 512
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.1
CHUNK = 2000
LOG_TAIL = 2000
# Not /tmp: that may be memory, and the lab's own store is not.
FOLDER = Path("/var/tmp")  # noqa: S108 -- a private folder is made in it


@dataclass(frozen=True)
class Plan:
    """How the lab's engine runs.

    Attributes:
        argv: Its command line.
        config: The configuration file in it.
    """

    argv: tuple[str, ...]
    config: Path


@dataclass(frozen=True)
class Second:
    """One engine of the bench's own, not yet started."""

    argv: tuple[str, ...]
    url: str
    auth: str
    log: Path


def plan(base: str) -> Plan:
    """Find out how the engine behind a URL was started.

    Raises:
        ConfigurationError: It is not the embedded engine on this machine, or only root sees it.
    """
    pid = target.local_pid(base)
    argv = target.command_line(pid) if pid is not None else []
    files = [word for word in argv if word.endswith(".toml")]
    if MODULE not in argv or not files:
        raise ConfigurationError(
            f"--stored starts a second engine like that of {base}, and no embedded engine "
            "of this machine is seen there. Run it as root, against the lab's own engine."
        )
    return Plan(tuple(argv), Path(files[0]))


def derive(document: Mapping[str, Any], folder: Path, number: int, port: int) -> dict[str, Any]:
    """The configuration of engine `number`, from that of the lab."""
    lab = f"{document['lab_name']}-bench-{number}"
    user = {
        "namespace": NAMESPACE,
        "uuid": str(uuid.uuid4()),
        "key": secrets.token_hex(32),
        "invocations_per_minute": 10_000_000,
        "concurrent_invocations": 200,
    }
    return {
        **document,
        "lab_name": lab,
        "container_prefix": f"{lab}-fn",
        "listen": [f"127.0.0.1:{port}"],
        "database": str(folder / f"engine-{number}.db"),
        "pool_memory_mb": POOL_MB,
        "activations_keep": 10_000_000,
        "users": [user],
    }


async def fill(database: Path, count: int) -> None:
    """Put finished activations, each with a line of log, into a store that nobody uses yet."""
    store = Store(database, keep=10_000_000)
    await store.open()
    try:
        begun = int(time.time() * 1000) - count
        for start in range(0, count, CHUNK):
            numbers = range(start, min(start + CHUNK, count))
            await asyncio.gather(*(_finish(store, begun + number) for number in numbers))
    finally:
        await store.close()


async def measure(chosen: Plan, options: BenchOptions, tell: Callable[[str], None]) -> StoredTrials:
    """Fill, start and measure both engines by turns; they are gone afterwards.

    Raises:
        ConfigurationError: The lab's configuration cannot be read.
        FunctionError: An engine does not start.
    """
    found = StoredTrials()
    sizes = (STORED_REFERENCE, options.stored or STORED_REFERENCE)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="orrery-bench-") as name:
        async with contextlib.AsyncExitStack() as stack:
            sides = []
            for number, size in enumerate(sizes, start=1):
                tell(f"second engine with {size} stored activations: filling")
                second = await _prepare(chosen, Path(name), number, size)
                tell(f"second engine with {size} stored activations: starting")
                client = await stack.enter_async_context(_running(second, options.connections))
                action = await stack.enter_async_context(probe.deployed(client))
                await load.some(client, action, 1, options.warm_up, load.Tally())
                sides.append((client, action))
            for number in range(1, options.trials + 1):
                tell(f"stored activations, trial {number} of {options.trials}")
                for (client, action), trials in zip(
                    sides, (found.reference_ms, found.filled_ms), strict=True
                ):
                    trial = await load.warm(client, action, options.warm_calls, load.Tally())
                    trials.append(trial.client_p50)
    return found


async def _prepare(chosen: Plan, folder: Path, number: int, size: int) -> Second:
    port = _free_port()
    try:
        document = tomllib.loads(chosen.config.read_text(encoding="utf-8"))
        derived = derive(document, folder, number, port)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(f"{chosen.config}: cannot be read: {error}") from error
    await fill(Path(derived["database"]), size)
    config = folder / f"engine-{number}.toml"
    config.touch(mode=0o600)
    config.write_text(dumps(derived), encoding="utf-8")
    argv = tuple(str(config) if word == str(chosen.config) else word for word in chosen.argv)
    auth = f"{derived['users'][0]['uuid']}:{derived['users'][0]['key']}"
    return Second(argv, f"http://127.0.0.1:{port}", auth, folder / f"engine-{number}.log")


@contextlib.asynccontextmanager
async def _running(second: Second, connections: int) -> AsyncIterator[WhiskClient]:
    process = shell.start(second.argv, stdout=second.log)
    try:
        async with WhiskClient(second.url, second.auth, connections=connections) as client:
            end = time.monotonic() + READY_TIMEOUT_S
            while not await _answers(client):
                if process.poll() is not None or time.monotonic() > end:
                    raise FunctionError(f"the second engine did not start:\n{_tail(second.log)}")
                await asyncio.sleep(POLL_S)
            yield client
    finally:
        # Ended by TERM it removes its containers, which takes a moment each.
        shell.stop(process, timeout_s=STOP_TIMEOUT_S)


async def _answers(client: WhiskClient) -> bool:
    try:
        return (await client.request("GET", "/ping")).status == 200
    except FunctionError:
        return False


async def _finish(store: Store, at_ms: int) -> None:
    limits = {"concurrency": 1, "logs": 10, "memory": probe.MEMORY_MB, "timeout": 60_000}
    job = Job(
        activation_id=uuid.uuid4().hex,
        transaction_id="bench",
        namespace=NAMESPACE,
        action=_FILLER,
        arguments={},
        api_key=None,
        accepted_ms=at_ms,
    )
    outcome = Outcome(Status.SUCCESS, {"echo": None, "run_us": 1.0}, at_ms, at_ms + 1, 0)
    seed = engine_records.seed(
        job, subject=NAMESPACE, action="filler", kind="python:3.11", limits=limits
    )
    line = f"{'2026-01-01T00:00:00.000000000Z':<30} stdout: an ordinary line of an ordinary log"
    await store.finish(engine_records.finish(seed, outcome), [line])


def _free_port() -> int:
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        return int(probing.getsockname()[1])


def _tail(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:].strip()
    except OSError:
        return "its log cannot be read"


_FILLER = Revision(
    path=f"{NAMESPACE}/filler",
    version="0.0.1",
    revision="1",
    executable=Executable("python:3.11", "none", "", binary=False, main="main", native=True),
    timeout_ms=60_000,
    memory_mb=probe.MEMORY_MB,
    logs_mb=10,
)
