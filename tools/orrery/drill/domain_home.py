"""The guest of a drill on one of two hypervisors, and its way to the other by their libvirts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from orrery.drill import domain as description
from orrery.drill import faults
from orrery.drill.convergence import judge
from orrery.drill.domain_guests import Domains
from orrery.drill.home import LIBVIRT, SIDES, Home, Kind, Shape
from orrery.drill.hypervisor import Hypervisor
from orrery.drill.migration import GoneError, Meddle, Now, Order, migrate
from orrery.drill.monitors import ANSWER_TIMEOUT_S
from orrery.drill.preflight import Spec
from orrery.drill.scenario import DrillScenario, Fault, Help
from orrery.drill.settings import Settings, differences
from orrery.drill.states import Event, Moved, Status
from orrery.errors import ConfigurationError, GuestError
from orrery.guest.machine import Backing
from orrery.guest.registry import Entry
from orrery.guest.wish import Wish
from orrery.network.backends import Backend

T = TypeVar("T")
FAULTS = frozenset({Fault.TARGET_DIES, Fault.CANCEL})


@dataclass
class DomainSide:
    """One side's QEMU through libvirt (`migration.Side`). Made by `heard`."""

    name: str
    here: Hypervisor
    _said: asyncio.Queue[Mapping[str, Any] | None] = field(default_factory=asyncio.Queue)

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Run a command of QMP; what libvirt has a word for is said to libvirt.

        Raises:
            GoneError: QEMU is not there, or has ended.
            GuestError: It was refused, or nothing came in time.
        """
        work = self.here.abort if command == "migrate_cancel" else None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await apart(work or (lambda: self.here.monitor(command, arguments or {})))
        except TimeoutError:
            raise GuestError(
                f"{self.name}: {command}: no answer within {ANSWER_TIMEOUT_S:g} s"
            ) from None

    async def next(self) -> Event:
        """The next event.

        Raises:
            GoneError: QEMU has ended.
        """
        message = await self._said.get()
        if message is None:
            raise GoneError(f"{self.name}: its domain has ended")
        return Event.of(message)

    @contextlib.contextmanager
    def heard(self) -> Iterator[DomainSide]:
        """Have what its QEMU says come in."""
        loop = asyncio.get_running_loop()

        def tell(message: Mapping[str, Any] | None) -> None:
            # A loop that is closed has nobody left who listens.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._said.put_nowait, message)

        with self.here.heard(tell):
            yield self


class DomainHome(Home):
    """A guest that moves from one hypervisor to the other and back."""

    def __init__(self, guests: Domains, kind: Kind) -> None:
        super().__init__(guests, kind)
        self._domains = guests
        self._otherwise: dict[str, tuple[Any, Any]] = {}

    def spec(self) -> Spec:
        """The machine that runs the guest, as its libvirt says."""
        here = self._domains.at(self.entry.name)
        return description.spec_of(here.text(), here.about()["qemu"])

    def conditions(self) -> dict[str, Any]:
        """Where the two sides are, and what QEMU had otherwise than it was asked for."""
        return {
            "hypervisors": {name: self._domains.at(name).about() for name in SIDES},
            "tls": self._domains.tls,
            "set by libvirt": {name: there for name, (_, there) in self._otherwise.items()},
        }

    def left_over(self) -> list[str]:
        """What is there beside the guest itself, and should not be."""
        elsewhere = self._domains.at(self.other)
        found = super().left_over()
        if elsewhere.there():
            found.append(f"domain {elsewhere.domain} at {elsewhere.place.uri}")
        if elsewhere.far:
            found += [f"port {one.name}" for one in elsewhere.switch.ports() if one.guest in SIDES]
        return found

    def _planned(self, wish: Wish) -> Spec:
        """The same machine under the other's QEMU: libvirt itself compares all the rest."""
        return replace(self.spec(), version=self._domains.at(wish.name).about()["qemu"])

    async def _migrate(self, scenario: DrillScenario, source: Entry, target: Entry) -> Moved:
        here, there = (self._domains.at(one.name) for one in (source, target))
        settings, helped = scenario.settings(), scenario.help is Help.AUTO_CONVERGE
        text = description.elsewhere(here.text(), target.name, target.socket)
        request = description.request(settings, text, there.place.reached, tls=self._domains.tls)
        with (
            DomainSide(f"guest {source.name}", here).heard() as one,
            DomainSide(f"guest {target.name}", there).heard() as other,
        ):
            folder = self._domains.registry.of(source.name)
            async with (
                faults.injected(
                    scenario.fault, folder, folder / "unused", lambda: _destroy(there)
                ) as injection,
                _ended(here),
            ):
                order = Order(
                    uri=there.place.uri,
                    settings=settings,
                    limit_s=scenario.limit_s,
                    judge=judge(scenario.downtime_limit_ms, helped),
                    meddle=self._looked(settings, injection.meddle),
                    call=lambda: _called(lambda: here.migrate(there.place, request)),
                )
                return await migrate(one, other, order)

    def _looked(self, settings: Settings, then: Meddle | None) -> Meddle:
        """Read back once, when memory is sent, how the migration is done."""
        looked = False

        async def meddle(now: Now) -> None:
            nonlocal looked
            if not looked and now.status is Status.ACTIVE:
                looked = True
                self._otherwise = await differences(now.source, settings)
                wrong = {k: v for k, v in self._otherwise.items() if k not in description.ITS_OWN}
                for name, (needed, found) in wrong.items():
                    raise ConfigurationError(
                        f"{now.source.name}: libvirt has set {name} to {found}; {needed} was "
                        "asked for"
                    )
            if then is not None:
                await then(now)

        return meddle


def shape(guests: Domains) -> Shape:
    """Two hypervisors, whose libvirts move a guest."""
    return Shape(
        LIBVIRT,
        lambda kind: DomainHome(guests, kind),
        lambda scenario: missing(scenario, guests),
    )


def missing(scenario: DrillScenario, guests: Domains) -> str:
    """Why a scenario cannot run over libvirt; empty where it can."""
    far = any(one.far for one in guests.hypervisors)
    reasons = {
        "a drill over libvirt has interfaces of vhost-user": (
            scenario.backend is not Backend.VHOST_USER
        ),
        "a drill over libvirt has no disk": scenario.storage is not None,
        "a drill over libvirt has memory from memfd": (
            scenario.backing not in (None, Backing.MEMFD)
        ),
        "libvirt itself refuses it, or keeps the connection to itself": (
            scenario.fault is not None and scenario.fault not in FAULTS
        ),
        "postcopy is switched over by QEMU's own order, which libvirt does not know of": (
            scenario.help is Help.POSTCOPY
        ),
        "an overlay is between two bridges of this host": far and scenario.overlay is not None,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _destroy(there: Hypervisor) -> None:
    there.end()


@contextlib.asynccontextmanager
async def _ended(here: Hypervisor) -> AsyncIterator[None]:
    """Leave no migration going, however what stands in the block ends."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(GuestError):
            here.abort()
        raise


async def _called(work: Callable[[], None]) -> str:
    """Ask libvirt, which answers when all is over; what it says against it."""
    try:
        await apart(work)
    except GuestError as error:
        return str(error)
    return ""


def apart(work: Callable[[], T]) -> asyncio.Future[T]:
    """Do what may take long in a thread that nobody has to wait for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(act: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            act(value)

    def tell(act: Callable[[Any], None], value: object) -> None:
        # A loop that is closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, act, value)

    def run() -> None:
        try:
            found = work()
        except Exception as error:  # whoever waits for it gets it
            tell(future.set_exception, error)
        else:
            tell(future.set_result, found)

    threading.Thread(target=run, daemon=True).start()
    return future
