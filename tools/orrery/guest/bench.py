"""What guests cost: time to ready, the switch's idle load, the outage when it is restarted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar

from orrery.errors import MeasurementError
from orrery.guest import choose
from orrery.guest.lifecycle import Guests, refuse_running
from orrery.guest.registry import Entry
from orrery.measure import stats
from orrery.measure.cpu import process_seconds
from orrery.measure.record import Row
from orrery.measure.scenario import Scenario
from orrery.network.backends import Backend
from orrery.network.layout import switch

PROBE = "orrery-probe"
PORT = "4000"
RATE_PPS = 200
WARM_UP_S = 3.0
AFTER_S = 9.0
TRAFFIC_S = WARM_UP_S + AFTER_S
MARGIN_S = 20.0


@dataclass(frozen=True)
class GuestScenario(Scenario):
    """Parameters of one measurement.

    Attributes:
        trials: Of each figure.
        idle_s: How long the idle switch is watched in each trial [s].
        backend: Of all guests.
    """

    kind: ClassVar[str] = "guest.bench"

    trials: int = 5
    idle_s: int = 3
    backend: Backend = Backend.VHOST_USER


@dataclass(frozen=True)
class GuestFigures:
    """Raw trials.

    Attributes:
        alone: Time until a guest was ready [s].
        pair: Time until the slower of two that were started at once was ready [s].
        idle: Processor time of the switch while a pair is idle, as a share of one CPU.
        outage: Largest gap between packets of a pair when the switch is killed [s].
    """

    alone: list[float] = field(default_factory=list)
    pair: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    outage: list[float] = field(default_factory=list)

    def rows(self, scenario: GuestScenario) -> list[Row]:
        """The rows of the record."""
        return [
            Row.of(scenario, "ready alone", "s", self.alone),
            Row.of(scenario, "ready as a pair", "s", self.pair),
            Row.of(scenario, "idle switch", "CPUs", self.idle),
            Row.of(scenario, "outage of a killed switch", "s", self.outage),
        ]

    def summary(self) -> dict[str, Any]:
        """The stable keys of `guest.bench`."""
        return {
            "ready_s": {
                "alone": round(stats.median(self.alone), 3),
                "pair": round(stats.median(self.pair), 3),
            },
            "idle_switch_cpus": round(stats.median(self.idle), 4),
            "outage_s": round(stats.median(self.outage), 3),
        }


def measure(
    guests: Guests, scenario: GuestScenario, advance: Callable[[int], object]
) -> GuestFigures:
    """Measure all of it, trial by trial.

    Raises:
        MeasurementError: Guests run already, which the restart of the switch would disturb.
        GuestError: A guest does not start or answer.
    """
    refuse_running(guests, "would be disturbed: the switch is killed and restarted")
    figures = GuestFigures()
    for _ in range(scenario.trials):
        with started(guests, scenario.backend, ["bench-a"]) as (entry,):
            figures.alone.append(entry.boot_s)
        advance(1)
        with started(guests, scenario.backend, ["bench-a", "bench-b"]) as pair:
            figures.pair.append(max(entry.boot_s for entry in pair))
            advance(1)
            pid = switch(guests.state).pid()
            figures.idle.append(load(pid, scenario.idle_s))
            figures.outage.append(outage(guests, pair[0], pair[1], pid))
        advance(1)
    return figures


@contextlib.contextmanager
def started(guests: Guests, backend: Backend, names: list[str]) -> Iterator[list[Entry]]:
    """Guests that are started at once, and are gone afterwards."""
    wishes = [
        choose.wish(guests, name, backend=backend, people=False, bound=True) for name in names
    ]
    with contextlib.ExitStack() as stack:
        for name in names:
            # Each of them, whatever happens to another.
            stack.callback(_stop, guests, name)
        with ThreadPoolExecutor(max_workers=len(names)) as pool:
            entries = list(pool.map(guests.start, wishes))
        yield entries


def _stop(guests: Guests, name: str) -> None:
    if guests.registry.of(name).exists():
        guests.stop(name)


def load(pid: int, seconds: float) -> float:
    """Processor time that a process uses, as a share of one CPU."""
    before, began = process_seconds(pid), time.monotonic()
    # Watching is the measurement: there is nothing to wait for but the time itself.
    time.sleep(seconds)
    return (process_seconds(pid) - before) / (time.monotonic() - began)


def outage(guests: Guests, sender: Entry, receiver: Entry, pid: int) -> float:
    """Kill the switch under numbered packets; the largest gap at the receiver [s].

    Raises:
        MeasurementError: Traffic did not come back.
    """
    target = receiver.address.partition("/")[0]
    listen = [PROBE, "receive", "--port", PORT, "--seconds", f"{TRAFFIC_S + 3:.0f}"]
    send = [PROBE, "send", "--to", target, "--port", PORT, "--size", "64"]
    send += ["--rate", str(RATE_PPS), "--seconds", f"{TRAFFIC_S:.0f}"]
    with ThreadPoolExecutor(max_workers=2) as pool:
        heard = pool.submit(_run, guests, receiver, listen)
        sent = pool.submit(_run, guests, sender, send)
        time.sleep(WARM_UP_S)
        os.kill(pid, signal.SIGKILL)
        received, count = heard.result(), sent.result()
    lost_s = (int(count["sent"]) - int(received["received"])) / RATE_PPS
    gap_s = float(received["largest_gap_ms"]) / 1000
    # Without traffic at the end there is no gap that ended, only loss.
    if lost_s > gap_s + AFTER_S / 2 or not int(received["received"]):
        raise MeasurementError(
            f"traffic did not come back within {AFTER_S:g} s after the switch was killed: "
            f"{count['sent']} packets sent, {received['received']} received"
        )
    return gap_s


def _run(guests: Guests, entry: Entry, argv: list[str]) -> dict[str, Any]:
    with guests.agent(entry) as agent:
        return dict(json.loads(agent.run(argv, timeout_s=TRAFFIC_S + MARGIN_S).stdout))
