"""Guests of a drill that libvirt runs, on one of two hypervisors.

What is libvirt's differs, and nothing else: names, addresses and ports are those of all guests.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from orrery import shell
from orrery.drill import domain as description
from orrery.drill import hypervisor
from orrery.drill.home import SIDES
from orrery.drill.hypervisor import Hypervisor
from orrery.errors import ConfigurationError, GuestError, OrreryError
from orrery.guest import wiring
from orrery.guest.lifecycle import Guests, Say
from orrery.guest.monitor import CONNECT_TIMEOUT_S, LONGEST_POLL_S, Agent
from orrery.guest.registry import Entry
from orrery.guest.waiting import Waiting
from orrery.guest.wish import Wish
from orrery.lab.settings import Settings
from orrery.network.layout import switch
from orrery.state import LabState

TEMPLATES = Path("templates") / "drill"
Ask = Callable[[str, Mapping[str, Any], float], Any]


class DomainAgent(Agent):
    """The guest agent through libvirt, which keeps its channel: wherever the guest is."""

    def __init__(self, ask: Ask, what: str) -> None:
        self.what = what
        self._ask = ask

    def __enter__(self) -> Self:
        # libvirt hears a moment later than we that the guest has opened the channel.
        end = time.monotonic() + CONNECT_TIMEOUT_S
        while True:
            try:
                self.execute("guest-ping")
            except GuestError:
                if time.monotonic() > end:
                    raise
                time.sleep(LONGEST_POLL_S)
            else:
                return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is to be closed: the channel is libvirt's."""

    def execute(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> Any:
        """Run a command of the agent; its answer.

        Raises:
            GuestError: It was refused, or nothing came in time.
        """
        return self._ask(command, arguments or {}, timeout_s)


class Domains(Guests):
    """The guests of a lab, of which those of a drill are domains of libvirt.

    Attributes:
        hypervisors: This host's, and the other; a side of a drill each.
        templates: Folder with the description of a domain.
        tls: Whether what goes between the two QEMUs is encrypted.
    """

    def __init__(
        self,
        state: LabState,
        say: Say,
        hypervisors: tuple[Hypervisor, Hypervisor],
        templates: Path,
        *,
        tls: bool = False,
    ) -> None:
        super().__init__(state, say)
        self.hypervisors, self.templates, self.tls = hypervisors, templates, tls

    def at(self, name: str) -> Hypervisor:
        """The hypervisor of a side."""
        return self.hypervisors[SIDES.index(name)]

    def agent(self, entry: Entry) -> Agent:
        """The agent of a guest, to be used in a `with` block."""
        if entry.name not in SIDES:
            return super().agent(entry)
        return DomainAgent(self.at(entry.name).agent, f"agent of guest {entry.name}")

    def arrived(self, entry: Entry) -> Entry:
        """Take note that the guest which was waited for runs here now."""
        return self._update(super().arrived(entry), pid=self._pid(entry.name))

    def sweep(self) -> list[str]:
        """Remove what dead guests and broken off starts left; what that was."""
        removed = super().sweep()
        known = {entry.name for entry in self.registry.entries()}
        for name in SIDES:
            if name not in known and self.at(name).end():
                removed.append(f"domain {self.at(name).domain} at {self.at(name).place.uri}")
        return removed

    def _launch(self, wish: Wish, entry: Entry) -> tuple[Entry, Waiting]:
        """Have libvirt start the guest, or wait for the other libvirt's to come."""
        if wish.name not in SIDES:
            return super()._launch(wish, entry)
        here = self.at(wish.name)
        here.require_free()
        # QEMU goes on only when the switch has connected, and libvirt waits for QEMU.
        if here.far:
            _connect(here, entry)
        else:
            wiring.connect(self.state, entry)
        # What is awaited says what it is awaited for by these files.
        (self.registry.of(wish.name) / "qemu.log").touch()
        pid = os.getpid()
        if not wish.incoming:
            nic = self._machine(wish, entry, None).nic
            assert nic is not None  # noqa: S101 (the only kind that is not missing has one)
            machine = self._machine(wish, entry, replace(nic, socket=Path(entry.socket)))
            here.start(description.xml(machine, self.state.lab_name, self.templates))
            pid = self._pid(wish.name)
        entry = self._update(entry, pid=pid)
        process = cast("shell.Process", _Running(here, entry.pid))
        return entry, Waiting(wish.name, wish.accel, self.registry.of(wish.name), process)

    def _receives(self, entry: Entry) -> bool:
        """Whether a guest may come: libvirt starts its QEMU when it does."""
        return entry.name in SIDES or super()._receives(entry)

    def _clean(self, entry: Entry) -> None:
        """End a guest and remove its port and files."""
        if entry.name in SIDES:
            here = self.at(entry.name)
            with contextlib.suppress(OrreryError):
                here.end()
            if here.far:
                with contextlib.suppress(OrreryError):
                    here.switch.remove_port(entry.port)
        super()._clean(entry)

    def _pid(self, name: str) -> int:
        """QEMU of a side; our own where it is another machine's.

        Raises:
            ConfigurationError: It runs, and not here.
        """
        here = self.at(name)
        if here.far:
            return os.getpid()
        found = [pid for pid, guest in self.registry.processes().items() if guest == name]
        if not found:
            raise ConfigurationError(
                f"{hypervisor.URIS}: the guest runs at {here.place.uri}, and not on this host. "
                "This host's libvirt has to be named first."
            )
        return found[0]


class _Running:
    """A domain's QEMU, as far as somebody who waits for it asks.

    Attributes:
        pid: Of QEMU.
    """

    def __init__(self, here: Hypervisor, pid: int) -> None:
        self._here = here
        self.pid = pid

    def poll(self) -> int | None:
        """None while it runs; libvirt keeps how it ended to itself."""
        return None if self._here.there() else 1


@contextlib.contextmanager
def connected(settings: Settings, state: LabState, say: Say) -> Iterator[Domains]:
    """Have both hypervisors that the variable names.

    Raises:
        ConfigurationError: There is no such pair.
        HostError: The bindings are not there, or a libvirt does not answer.
    """
    places = hypervisor.places(settings.variables.get(hypervisor.URIS, ""))
    tls = str(settings.variables.get("lab_drill_tls", "")).lower() in ("true", "yes", "1")
    own = switch(state)
    with (
        Hypervisor(places[0], state.lab_name, own, far=False) as first,
        Hypervisor(places[1], state.lab_name, own, far=bool(places[1].host)) as second,
    ):
        templates = settings.checkout / TEMPLATES
        yield Domains(state, say, (first, second), templates, tls=tls)


def _connect(there: Hypervisor, entry: Entry) -> None:
    there.switch.add_port(
        entry.bridge,
        entry.port,
        kind="dpdkvhostuserclient",
        guest=entry.name,
        tag=entry.vlan,
        options={"vhost-server-path": entry.socket},
    )
