"""The same CPU job on the host and in guests: what KVM and TCG cost (lab 1, row 1)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from orrery import shell
from orrery.errors import MeasurementError
from orrery.guest.lifecycle import Guests
from orrery.guest.machine import Accel
from orrery.guest.registry import Entry
from orrery.guest.wish import Wish
from orrery.measure import stats
from orrery.measure.record import Row
from orrery.measure.scenario import Scenario
from orrery.network.layout import part

HOST = "host"
PROGRAM = "/bin/orrery-probe"
JOB_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class CpuScenario(Scenario):
    """Parameters of one measurement.

    Attributes:
        work: Decimal digits of pi that are computed, and then squared eight times.
        trials: How often, in turns.
    """

    kind: ClassVar[str] = "guest.cpu"

    work: int = 2000
    trials: int = 5


@dataclass(frozen=True)
class CpuTimes:
    """Seconds of every trial, by place: `host`, `kvm`, `tcg`.

    Attributes:
        checksums: Of the results; equal when all places did the same work.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    checksums: set[str] = field(default_factory=set)

    def rows(self, scenario: CpuScenario) -> list[Row]:
        """The rows of the record: seconds, and ratios paired by trial."""
        found = [Row.of(scenario, place, "s", times) for place, times in self.seconds.items()]
        for place, times in self.seconds.items():
            if place != HOST:
                pairs = zip(times, self.seconds[HOST], strict=True)
                ratios = [guest / host for guest, host in pairs]
                found.append(Row.of(scenario, f"{place} / {HOST}", "", ratios))
        return found

    def summary(self) -> dict[str, Any]:
        """The stable keys of `guest.cpu`."""
        medians = {place: stats.median(times) for place, times in self.seconds.items()}
        ratios = {
            place: round(value / medians[HOST], 2)
            for place, value in medians.items()
            if place != HOST
        }
        return {
            "seconds": {place: round(value, 4) for place, value in medians.items()},
            "ratio_to_host": ratios,
        }


def measure(
    guests: Guests, scenario: CpuScenario, accels: list[Accel], advance: Callable[[int], object]
) -> CpuTimes:
    """Run the job in every place in turns, after one run of each that does not count.

    Raises:
        MeasurementError: The places came to different results.
        GuestError: A guest does not start or answer.
    """
    probe = Path(str(part(guests.state, "guest_image")["probe"]))
    times = CpuTimes({place: [] for place in (HOST, *accels)})
    with contextlib.ExitStack() as stack:
        entries = {accel: stack.enter_context(running(guests, accel)) for accel in accels}
        for trial in range(scenario.trials + 1):
            for place in times.seconds:
                said = (
                    _on_host(probe, scenario)
                    if place == HOST
                    else _in_guest(guests, entries[Accel(place)], scenario)
                )
                times.checksums.add(str(said["checksum"]))
                if trial:
                    times.seconds[place].append(float(said["seconds"]))
                advance(1)
    if len(times.checksums) != 1:
        raise MeasurementError(f"host and guests computed different results: {times.checksums}")
    return times


@contextlib.contextmanager
def running(guests: Guests, accel: Accel) -> Iterator[Entry]:
    """A guest without measured interface that is gone afterwards."""
    entry = guests.start(
        Wish(f"cpu-{accel}", accel, backend=None, cpus=1, people=False, bound=True)
    )
    try:
        yield entry
    finally:
        guests.stop(entry.name)


def _words(program: str | Path, scenario: CpuScenario) -> list[str]:
    return [str(program), "cpu", "--work", str(scenario.work)]


def _on_host(probe: Path, scenario: CpuScenario) -> dict[str, Any]:
    return _read(shell.run(_words(probe, scenario), timeout_s=JOB_TIMEOUT_S).stdout)


def _in_guest(guests: Guests, entry: Entry, scenario: CpuScenario) -> dict[str, Any]:
    with guests.agent(entry) as agent:
        return _read(agent.run(_words(PROGRAM, scenario), timeout_s=JOB_TIMEOUT_S).stdout)


def _read(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise MeasurementError(f"the CPU job printed no JSON: {text.strip()[:200]}") from error
