"""Makes moves (a `Subject` of `measure.runner`): the guest, its probes, and what has to hold."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from orrery.drill import announce, counters, felt, home, probes, timeline
from orrery.drill.counters import Counted
from orrery.drill.home import Home, Kind, Shape
from orrery.drill.probes import Logs
from orrery.drill.scenario import DrillScenario, Help
from orrery.drill.states import Moved, Outcome
from orrery.errors import OrreryError
from orrery.guest.lifecycle import Guests
from orrery.measure.runner import TrialError
from orrery.network import backends, conditions
from orrery.network.backends import Backend
from orrery.network.layout import switch
from orrery.state import LabState

SWITCH_TIMEOUT_S = 30.0
Keep = Callable[[str, Mapping[str, Any]], object]
"""Gets the name of a scenario and the timeline of a move."""


class Drill:
    """Moves guests. To be used in a `with` block; then nothing stays behind.

    Attributes:
        leaks: What was there after a move and should not have been.
    """

    def __init__(
        self,
        guests: Guests,
        say: Callable[[str], object],
        keep: Keep,
        shape: Shape | None = None,
    ) -> None:
        self._guests, self._say, self._keep = guests, say, keep
        self._shape = shape or Shape.processes(guests)
        self._kind: Kind | None = None
        self._home: Home | None = None
        self.leaks: list[str] = []

    def __enter__(self) -> Drill:
        home.sweep(self._guests)
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def missing(self, scenario: DrillScenario) -> str:
        """Why a scenario cannot run here; empty where it can."""
        return missing(scenario, self._guests.state) or self._shape.missing(scenario)

    def prepare(self, scenario: DrillScenario) -> None:
        """Have the guest of a scenario.

        Raises:
            ConfigurationError, HostError, GuestError: It cannot be had.
        """
        kind = Kind.of(scenario)
        if self._home is None or self._kind != kind:
            self._leave()
            self._kind, self._home = kind, self._shape.home(kind)
            self._home.__enter__()

    def trial(self, scenario: DrillScenario) -> dict[str, float]:
        """Move the guest once.

        Raises:
            TrialError: It did not end as it has to, or something is lost, broken or left behind.
            HostError, GuestError, MeasurementError: Something died.
        """
        self.prepare(scenario)
        assert self._home is not None  # noqa: S101 (prepare has it)
        source = self._home.entry.name
        moved, logs, seen, counted = self._move(scenario, self._home)
        self._judge(scenario, moved, logs, self._home)
        name = self._home.entry.name
        line = timeline.timeline(moved, logs, seen, source, name, counted)
        self._keep(scenario.name, line)
        values = felt.figures(moved, logs, seen, scenario.before_s)
        values |= counters.figures(counted)
        values["converged"] = float(moved.outcome is Outcome.MOVED)
        values["damaged_pages"] = float(
            sum(logs.said.get(name, {}).get("damaged_pages", 0) for name in ("dirty", "disk"))
        )
        return values

    def mend(self, scenario: DrillScenario, error: OrreryError) -> None:
        """Be without a guest that may have died; the next trial starts another.

        Raises:
            HostError: The switch does not come back.
        """
        reason = (str(error) or type(error).__name__).splitlines()[0]
        self._say(f"a move failed ({scenario.name}): {reason}")
        switch(self._guests.state).await_pid(SWITCH_TIMEOUT_S)
        self._leave()
        home.sweep(self._guests)

    def conditions(self, scenario: DrillScenario) -> dict[str, Any]:
        """The machine, the settings of the migration, and what is on, as read back.

        Raises:
            HostError, GuestError: Something does not answer.
        """
        self.prepare(scenario)
        assert self._home is not None  # noqa: S101 (prepare has it)
        settings = scenario.settings()
        return {
            "shape": self._shape.name,
            **self._home.conditions(),
            "machine": {key: _plain(value) for key, value in asdict(self._home.spec()).items()},
            "capabilities": sorted(name for name, on in settings.switches().items() if on),
            "parameters": settings.values(),
            "guest": conditions.of_guest(self._guests, self._home.entry),
            "switch": conditions.of_switch(self._guests.state),
        }

    def _move(
        self, scenario: DrillScenario, there: Home
    ) -> tuple[Moved, Logs, list[announce.Announcement], tuple[Counted, ...]]:
        # QEMU's start is over before the probes run.
        target = there.receive(scenario.fault)
        try:
            entry, host = there.entry, there.access.host
            ports = counters.Watch(switch(self._guests.state), entry, target)
            with (
                announce.watched(host.namespace, host.interface, entry.mac) as watch,
                probes.running(self._guests, host, scenario, entry) as running,
            ):
                time.sleep(scenario.before_s)
                moved = there.move(scenario)
                if moved.outcome is Outcome.LOST:
                    raise TrialError(f"the guest is lost: {moved.why}")
                time.sleep(scenario.after_s)
                logs = running.collect(there.entry)
            return moved, logs, watch.seen, ports.seen()
        finally:
            there.settle()

    def _judge(self, scenario: DrillScenario, moved: Moved, logs: Logs, there: Home) -> None:
        wanted = scenario.outcomes
        if wanted and moved.outcome not in wanted:
            raise TrialError(
                f"it ended as '{moved.outcome}', '{' or '.join(sorted(wanted))}' was to be"
                + (f": {moved.why}" if moved.why else "")
            )
        wrong = felt.problems(logs, moved)
        if wrong:
            raise TrialError("; ".join(wrong))
        left = there.left_over()
        if left:
            self.leaks += left
            raise TrialError(f"left behind: {', '.join(left)}")

    def _leave(self) -> None:
        gone, self._home, self._kind = self._home, None, None
        if gone is not None:
            with contextlib.suppress(OrreryError):
                gone.__exit__()


def missing(scenario: DrillScenario, state: LabState) -> str:
    """Why a scenario cannot run on this host; empty where it can."""
    reason = backends.missing(scenario.backend, state)
    if not reason and scenario.help is Help.POSTCOPY and scenario.backend is Backend.VHOST_USER:
        return (
            "QEMU refuses postcopy where a vhost-user backend is not capable of it, and Open "
            "vSwitch is so only with other_config:vhost-postcopy-support (experimental)"
        )
    return reason


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
