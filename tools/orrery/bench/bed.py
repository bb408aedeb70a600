"""Where scenarios run: pairs of guests, and engines, that stay as long as a scenario needs them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from orrery.errors import GuestError, OrreryError
from orrery.guest import choose
from orrery.guest.lifecycle import Guests
from orrery.guest.registry import Entry, alive
from orrery.network import conditions, offloads, overlay
from orrery.network.backends import RING_SIZES, Backend
from orrery.network.offloads import Interface, OffloadState
from orrery.network.overlay import Laid
from orrery.network.places import GuestPlace
from orrery.network.scenario import NetScenario, Offloads, Overlay, Path, Pinning
from orrery.network.testpmd import engine
from orrery.network.testpmd.engine import Engine
from orrery.network.testpmd.pvp import Pvp

SIDES = ("a", "b")


@dataclass(frozen=True)
class Kind:
    """What scenarios on the same pair of guests, or the same engine, have in common.

    Attributes:
        forwards: Whether one guest turns packets round, instead of two that talk.
    """

    backend: Backend
    queues: int
    packed: bool
    mrg_rxbuf: bool
    ring_size: int
    overlay: Overlay | None = None
    forwards: bool = False
    mtu: int | None = None
    pinning: Pinning | None = None

    @classmethod
    def of(cls, scenario: NetScenario) -> Kind:
        """The kind that a scenario needs."""
        return cls(
            backend=scenario.backend,
            queues=scenario.queues,
            packed=bool(scenario.packed),
            mrg_rxbuf=scenario.mrg_rxbuf is not False,
            ring_size=scenario.ring_size or RING_SIZES[0],
            overlay=scenario.overlay,
            forwards=scenario.path is Path.PVP,
            mtu=scenario.mtu,
            pinning=scenario.pinning,
        )


@dataclass
class Settled:
    """Offloads of guests that hold until others are wanted.

    Attributes:
        path: Whose guests they are: the first one, or both.
        found: As read back, by side: `near`, `far`.
    """

    offloads: Offloads
    path: Path
    found: Mapping[str, OffloadState]
    stack: contextlib.ExitStack


@dataclass
class Pair:
    """Two guests that are alike, and what is between them.

    Attributes:
        stack: What has to be undone.
        settled: None before any offloads were wanted.
    """

    near: GuestPlace
    far: GuestPlace
    laid: Laid | None
    stack: contextlib.ExitStack
    settled: Settled | None = None

    @property
    def entries(self) -> tuple[Entry, Entry]:
        """The guests."""
        return self.near.entry, self.far.entry

    def alive(self) -> bool:
        """Whether both run."""
        return all(alive(entry.pid) for entry in self.entries)

    def settle(self, wanted: Offloads, path: Path, interfaces: Mapping[str, Interface]) -> None:
        """Have offloads on guests' interfaces, from now until others are wanted.

        Raises:
            HostError: One cannot be switched off.
            GuestError: A guest does not answer.
        """
        now = self.settled
        if now and (now.offloads, now.path) == (wanted, path):
            return
        self.unsettle()
        with contextlib.ExitStack() as stack:
            states = stack.enter_context(offloads.settled(wanted, list(interfaces.values())))
            found = dict(zip(interfaces, states.values(), strict=True))
            self.settled = Settled(wanted, path, found, stack.pop_all())

    def unsettle(self) -> None:
        """Give the guests their own offloads back."""
        now, self.settled = self.settled, None
        if now is not None:
            # Guests that died take their offloads along.
            with contextlib.suppress(OrreryError):
                now.stack.close()

    def close(self) -> None:
        """Be without them."""
        self.unsettle()
        self.stack.close()


class Bed:
    """Pairs and engines by their kind. To be used in a `with` block; then nothing stays behind."""

    def __init__(self, guests: Guests) -> None:
        self._guests = guests
        self._pairs: dict[Kind, Pair] = {}
        self._engines: dict[Kind, Engine] = {}
        self._number = 0

    def __enter__(self) -> Bed:
        state = self._guests.state
        self._guests.sweep()
        overlay.sweep(state)
        engine.sweep(state)
        conditions.reset_sleep(state)
        return self

    def __exit__(self, *_: object) -> None:
        self.keep(())

    def keep(self, scenarios: Iterable[NetScenario]) -> None:
        """Be without what none of these scenarios needs; what cannot be removed is said."""
        needed = {Kind.of(one) for one in scenarios}
        for kind in [kind for kind in (*self._engines, *self._pairs) if kind not in needed]:
            self.drop(kind)

    def has(self, kind: Kind) -> bool:
        """Whether there is something of a kind."""
        return kind in self._pairs or kind in self._engines

    def pair(self, scenario: NetScenario) -> Pair:
        """Two guests for a scenario; they are started when they are not there.

        Raises:
            ConfigurationError, HostError, GuestError: They cannot be had.
        """
        kind = Kind.of(scenario)
        found = self._pairs.get(kind)
        if found is None:
            found = self._pairs[kind] = self._started(kind)
        return found

    def engine(self, scenario: NetScenario) -> Engine:
        """An engine for a scenario; it is started when it is not there.

        Raises:
            ConfigurationError, HostError: It cannot be had.
        """
        kind = Kind.of(scenario)
        found = self._engines.get(kind)
        if found is None:
            made = (Pvp if kind.forwards else Engine)(
                self._guests.state,
                kind.backend,
                queues=kind.queues,
                packed=kind.packed,
                mrg_rxbuf=kind.mrg_rxbuf,
            )
            found = self._engines[kind] = made.__enter__()
        return found

    def mend(self) -> None:
        """Be without pairs of which a guest has ended.

        What the switch forgets when it is started anew is given to it again.

        Raises:
            HostError: The switch does not take it.
        """
        for kind in [kind for kind, pair in self._pairs.items() if not pair.alive()]:
            self.drop(kind)
        for pair in self._pairs.values():
            if pair.laid is not None:
                pair.laid.hold()

    def drop(self, kind: Kind) -> None:
        """Be without what there is of a kind; what cannot be removed is said."""
        pair, running = self._pairs.pop(kind, None), self._engines.pop(kind, None)
        try:
            if pair is not None:
                pair.close()
            if running is not None:
                running.close()
        except OrreryError as error:
            # The others still have to go, and what was measured is not lost for that.
            self._guests.say(f"{kind.backend}: not all of it could be removed: {error}")

    def _started(self, kind: Kind) -> Pair:
        state = self._guests.state
        with contextlib.ExitStack() as stack:
            laid = None
            if kind.overlay is not None:
                laid = stack.enter_context(overlay.laid(state, kind.overlay))
            near, far = self._start(kind, laid, stack)
            if laid is not None:
                laid.hold()
            stack.enter_context(conditions.mtu(self._guests, (near, far), kind.mtu))
            stack.enter_context(conditions.pinned(state, (near, far), kind.pinning))
            places = [GuestPlace(self._guests, entry) for entry in (near, far)]
            return Pair(places[0], places[1], laid, stack.pop_all())

    def _start(
        self, kind: Kind, laid: Laid | None, stack: contextlib.ExitStack
    ) -> tuple[Entry, Entry]:
        self._number += 1
        bridges = (laid.near, laid.far) if laid is not None else ("", "")
        wishes = [
            choose.wish(
                self._guests,
                f"bench{self._number}-{side}",
                backend=kind.backend,
                queues=kind.queues,
                cpus=kind.queues,
                packed=kind.packed,
                mrg_rxbuf=kind.mrg_rxbuf,
                ring_size=kind.ring_size,
                vlan=laid.vlan if laid is not None else None,
                bridge=bridge,
                people=False,
                bound=True,
            )
            for side, bridge in zip(SIDES, bridges, strict=True)
        ]
        for wish in wishes:
            stack.callback(self._stop, wish.name)
        with ThreadPoolExecutor(max_workers=len(wishes)) as pool:
            near, far = pool.map(self._guests.start, wishes)
        return near, far

    def _stop(self, name: str) -> None:
        if self._guests.registry.of(name).exists():
            # It may have ended, and been swept away, meanwhile.
            with contextlib.suppress(GuestError):
                self._guests.stop(name)
