"""One live migration, driven by what QEMU says on both sides.

Nothing is polled to find out how it goes: statuses, rounds, stop and resume are events of QMP
(capability `events`). While nothing is said for a moment, figures are sampled for the timeline.
Success is what the destination says. The source's `completed` alone means nothing: without a
return path it is said before the destination has read a byte of the devices.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from orrery.drill.convergence import Judge
from orrery.drill.settings import Settings, Speaker, settle
from orrery.drill.states import FINAL, Event, Moved, Outcome, Sample, Status, Track
from orrery.errors import GuestError

TICK_S = 0.5
UNDISTURBED_S = 0.3
LAST_WORD_S = 10.0
"""How long a destination may take to say that it runs, once the source is done [s]."""
CALL_TIMEOUT_S = 60.0
"""How long the order itself may last after the migration is over [s]."""
RUNNING = "running"


class GoneError(GuestError):
    """QEMU of a side has ended."""


class Side(Speaker, Protocol):
    """The seam to QMP: one side's monitor."""

    async def next(self) -> Event:
        """The next event.

        Raises:
            GoneError: QEMU has ended.
        """


@dataclass(frozen=True)
class Now:
    """What somebody who meddles sees: the state after an event or a sample.

    Attributes:
        event: None where nothing was said for a moment.
    """

    source: Side
    target: Side
    status: Status
    event: Event | None
    sample: Sample | None
    elapsed_s: float


Meddle = Callable[[Now], Awaitable[None]]
Call = Callable[[], Awaitable[str]]
"""Has the guest migrated; what was said against it, or nothing."""


@dataclass(frozen=True)
class Order:
    """What is to be done.

    Attributes:
        uri: Where the destination listens, and the source connects.
        limit_s: After which it is cancelled [s].
        judge: Says why it will not come to an end; None never says so.
        meddle: Called after every event and sample, for faults.
        reach: Where the source connects instead, through a link that can fail; empty for `uri`.
        listens: Whether the destination is told to listen.
        call: Somebody else who tells both sides all of this, libvirt; None where we do.
    """

    uri: str
    settings: Settings = field(default_factory=Settings)
    limit_s: float = 60.0
    judge: Judge | None = None
    meddle: Meddle | None = None
    reach: str = ""
    listens: bool = True
    call: Call | None = None


async def migrate(source: Side, target: Side, order: Order) -> Moved:
    """Migrate a guest.

    Raises:
        ConfigurationError: A side does not take the settings.
        GuestError: A side does not answer before anything has started.
    """
    if order.call is None:
        await settle(source, order.settings)
        await settle(target, order.settings)
    return await _Course(source, target, order).run()


async def start_postcopy(now: Now) -> None:
    """Let the guest run at the destination as soon as all its memory was sent once (`Meddle`)."""
    passed = now.event is not None and now.event.name == "MIGRATION_PASS"
    if passed and now.status is Status.ACTIVE:
        await now.source.execute("migrate-start-postcopy")


class _Course:
    """State of one migration."""

    def __init__(self, source: Side, target: Side, order: Order) -> None:
        self.source, self.target, self.order = source, target, order
        self.queue: asyncio.Queue[tuple[Side, Event | None] | None] = asyncio.Queue()
        self.tracks = {id(source): Track("source"), id(target): Track("destination")}
        self.events: list[tuple[str, Event]] = []
        self.samples: list[Sample] = []
        self.gone: set[int] = set()
        self.info: dict[str, Any] = {}
        self.refused: str | None = None
        self.hopeless = ""
        self.cancelled = False
        self.began = 0.0

    async def run(self) -> Moved:
        pumps = [asyncio.create_task(self._pump(side)) for side in (self.source, self.target)]
        order: asyncio.Task[None] | None = None
        try:
            if self.order.call is None and self.order.listens:
                await self.target.execute("migrate-incoming", {"uri": self.order.uri})
            self.began = time.time()
            order = asyncio.create_task(self._give())
            await self._follow(order)
            await _bounded(order)
            if self._arrived():
                # Whoever asks now takes processors and QEMU's lock from a guest that just wakes.
                await asyncio.sleep(UNDISTURBED_S)
            return await self._end(self.refused or "")
        finally:
            rest = [*pumps, order] if order is not None else pumps
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

    async def _give(self) -> None:
        """Give the order, and wake up who waits for events where nothing comes of it."""
        try:
            self.refused = await (self.order.call or self._tell)()
        finally:
            await self.queue.put(None)

    async def _tell(self) -> str:
        """Tell the source; why it refuses, or nothing."""
        uri = self.order.reach or self.order.uri
        try:
            await self.source.execute("migrate", {"uri": uri})
        except GoneError:
            raise
        except GuestError as error:
            return str(error)
        return ""

    async def _pump(self, side: Side) -> None:
        try:
            while True:
                await self.queue.put((side, await side.next()))
        except GoneError:
            await self.queue.put((side, None))

    async def _follow(self, order: asyncio.Task[None]) -> None:
        """Take events until the source is done, then until the destination has had its say."""
        end = self.began + self.order.limit_s
        while not self._source_done():
            if order.done() and (self.refused or order.exception() is not None):
                return
            event = await self._take(TICK_S)
            sample = await self._sample(event)
            await self._consider(sample, late=time.time() > end)
            if self.order.meddle is not None and not self._source_done():
                await self.order.meddle(self._now(event, sample))
        end = time.time() + LAST_WORD_S
        while not self._settled() and time.time() < end:
            await self._take(end - time.time())

    async def _take(self, timeout_s: float) -> Event | None:
        try:
            async with asyncio.timeout(max(timeout_s, 0.001)):
                said = await self.queue.get()
        except TimeoutError:
            return None
        if said is None:
            return None
        side, event = said
        track = self.tracks[id(side)]
        if event is None:
            self.gone.add(id(side))
            return None
        self.events.append((track.side, event))
        if event.name == "MIGRATION":
            status = track.enter(str(event.data["status"]), event.at_s)
            if side is self.source and status in FINAL and self.order.call is not None:
                # libvirt ends a source that is done, and what it knows, a moment later.
                self.info = await self._ask(side, "query-migrate")
        return event

    async def _sample(self, event: Event | None) -> Sample | None:
        """Figures, after each round and where nothing is said."""
        if event is not None and event.name != "MIGRATION_PASS":
            return None
        if self._source_done():
            return None
        try:
            info = await self.source.execute("query-migrate")
        except GuestError:
            return None
        found = Sample.of(info, time.time())
        if found is not None:
            self.samples.append(found)
        return found

    async def _consider(self, sample: Sample | None, *, late: bool) -> None:
        """Cancel what will not come to an end."""
        if self.cancelled or self._source_done():
            return
        if sample is not None and self.order.judge is not None:
            self.hopeless = self.order.judge(self.samples)
        if late and not self.hopeless:
            self.hopeless = f"it is not done after {self.order.limit_s:g} s"
        if self.hopeless:
            self.cancelled = True
            with contextlib.suppress(GuestError):
                await self.source.execute("migrate_cancel")

    def _source_done(self) -> bool:
        return id(self.source) in self.gone or self.tracks[id(self.source)].now in FINAL

    def _settled(self) -> bool:
        """Whether nothing that counts is still to be said."""
        if self.tracks[id(self.source)].now is not Status.COMPLETED:
            # QEMU lets the guest go on before it says that a migration has failed.
            return True
        if id(self.target) in self.gone:
            return True
        return self.tracks[id(self.target)].now is Status.FAILED or self._arrived()

    def _arrived(self) -> bool:
        """Whether the destination says that the guest is there, and runs."""
        there = self.tracks[id(self.target)].now is Status.COMPLETED
        return there and self._last("RESUME", self.target) is not None

    def _last(self, name: str, side: Side) -> float | None:
        word = self.tracks[id(side)].side
        found = [event.at_s for one, event in self.events if one == word and event.name == name]
        return found[-1] if found else None

    def _now(self, event: Event | None, sample: Sample | None) -> Now:
        status = self.tracks[id(self.source)].now
        elapsed_s = time.time() - self.began
        return Now(self.source, self.target, status, event, sample, elapsed_s)

    async def _end(self, refused: str) -> Moved:
        info = await self._ask(self.source, "query-migrate") or self.info
        at_target = (await self._ask(self.target, "query-status")).get("status", "")
        outcome, why = Outcome.MOVED, ""
        if at_target != RUNNING:
            outcome, why = await self._stayed(refused, info, str(at_target))
        self._drain()
        stopped = self._last("STOP", self.source)
        resumed = self._last("RESUME", self.target if outcome is Outcome.MOVED else self.source)
        source, target = self.tracks[id(self.source)], self.tracks[id(self.target)]
        return Moved(
            outcome=outcome,
            why=why,
            began_s=self.began,
            ended_s=time.time(),
            stopped_s=stopped,
            resumed_s=resumed if stopped is not None else None,
            source=tuple(source.seen),
            target=tuple(target.seen),
            events=tuple(self.events),
            samples=tuple(self.samples),
            info=info,
            odd=(*source.odd, *target.odd),
        )

    async def _stayed(
        self, refused: str, info: dict[str, Any], at_target: str
    ) -> tuple[Outcome, str]:
        """What became of a guest that does not run at the destination."""
        at_source = (await self._ask(self.source, "query-status")).get("status", "")
        status = self.tracks[id(self.source)].now
        said = refused or str(info.get("error-desc") or "")
        there = "has ended" if id(self.target) in self.gone else f"is '{at_target or 'silent'}'"
        if at_source == RUNNING:
            if self.hopeless:
                return Outcome.NOT_CONVERGING, self.hopeless
            if status is Status.CANCELLED:
                return Outcome.CANCELLED, "it was cancelled"
            return Outcome.FAILED, said or f"the source says {status}, the destination {there}"
        why = f"the source says {status} and is '{at_source or 'gone'}', the destination {there}"
        if at_source and await self._rescue():
            return Outcome.RESCUED, f"{why}; the source was told to go on, and does"
        return Outcome.LOST, f"{why}; {said}".rstrip("; ")

    async def _rescue(self) -> bool:
        """Let the guest go on at the source; whether it does.

        Only where the destination does not run: two copies of a guest on one network, and maybe
        one disk, would be worse than none.
        """
        try:
            await self.source.execute("cont")
        except GuestError:
            return False
        return bool((await self._ask(self.source, "query-status")).get("status") == RUNNING)

    async def _ask(self, side: Side, command: str) -> dict[str, Any]:
        if id(side) in self.gone:
            return {}
        try:
            return dict(await side.execute(command))
        except GuestError:
            return {}

    def _drain(self) -> None:
        """Take over what was said meanwhile."""
        while not self.queue.empty():
            said = self.queue.get_nowait()
            if said is not None and said[1] is not None:
                self.events.append((self.tracks[id(said[0])].side, said[1]))


async def _bounded(order: asyncio.Task[None]) -> None:
    """Wait for the end of an order.

    Raises:
        GuestError: It does not come, or the source does not answer.
    """
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            await order
    except TimeoutError:
        raise GuestError(
            f"the order to migrate has not ended {CALL_TIMEOUT_S:g} s after the migration"
        ) from None
