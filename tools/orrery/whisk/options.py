"""What a benchmark was asked to do: its scenario, read from the command line. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from orrery import params
from orrery.measure.scenario import Scenario

RATE_BOUND = 1000
"""Activations a second that no engine with a container per activation exceeds on one machine."""

STORED_REFERENCE = 1000
"""Stored activations of the engine that `--stored` is compared with."""


@dataclass(frozen=True)
class BenchOptions(Scenario):
    """Parameters of one benchmark.

    Attributes:
        warm_calls: Calls of each warm trial, one after the other.
        connections: Connections of a throughput trial, each with one call in flight.
        seconds: Length of a throughput trial [s].
        cold_trials: Cold starts, each of a fresh action.
        rss_after: Activations before the engine's memory is read; 0 leaves it out.
        stored: Activations in the store of the second engine; None leaves that out.
        baseline: Another OpenWhisk, measured by turns with the first.
    """

    kind: ClassVar[str] = "whisk-bench"

    apihost: str
    trials: int = 5
    warm_calls: int = 500
    connections: int = 8
    seconds: float = 5.0
    cold_trials: int = 10
    rss_after: int = 10_000
    stored: int | None = None
    baseline: str | None = None

    @property
    def activations(self) -> int:
        """Most activations that one host gets."""
        warm = self.trials * self.warm_calls + self.warm_up
        loaded = int(self.trials * self.seconds * RATE_BOUND)
        return warm + loaded + self.cold_trials + self.rss_after

    @property
    def warm_up(self) -> int:
        """Calls before the first trial; all connections get their container in them."""
        return 8 * self.connections

    @property
    def per_minute(self) -> int:
        """What the user must be allowed in a minute."""
        return min(self.activations, 60 * RATE_BOUND)


@dataclass(frozen=True)
class Floor(Scenario):
    """The client against a server that does nothing."""

    kind: ClassVar[str] = "floor"

    calls: int


@dataclass(frozen=True)
class Warm(Scenario):
    """Calls one after the other of an action whose container is there."""

    kind: ClassVar[str] = "warm"

    side: str
    calls: int


@dataclass(frozen=True)
class Throughput(Scenario):
    """Calls of a warm action over several connections."""

    kind: ClassVar[str] = "throughput"

    side: str
    connections: int
    seconds: float


@dataclass(frozen=True)
class Cold(Scenario):
    """First calls of fresh actions."""

    kind: ClassVar[str] = "cold"

    side: str


@dataclass(frozen=True)
class Memory(Scenario):
    """The engine's own memory after a number of activations."""

    kind: ClassVar[str] = "memory"

    activations: int


@dataclass(frozen=True)
class Stored(Scenario):
    """Warm calls of an engine whose store holds so many activations."""

    kind: ClassVar[str] = "stored"

    rows: int
    calls: int


def parse(
    apihost: str,
    *,
    trials: str = "5",
    warm_calls: str = "500",
    connections: str = "8",
    seconds: str = "5",
    cold_trials: str = "10",
    rss_after: str = "10000",
    stored: str = "0",
) -> BenchOptions:
    """Read the words of the command line.

    Raises:
        UsageError: One of them cannot be read; the text names the option.
    """
    rows = params.integer("stored", stored, low=0, high=10_000_000)
    return BenchOptions(
        apihost=apihost,
        trials=params.integer("trials", trials, low=1, high=1000),
        warm_calls=params.integer("warm-calls", warm_calls, low=1, high=100_000),
        connections=params.integer("connections", connections, low=1, high=200),
        seconds=params.duration_s("seconds", seconds),
        cold_trials=params.integer("cold-trials", cold_trials, low=1, high=1000),
        rss_after=params.integer("rss-after", rss_after, low=0, high=10_000_000),
        stored=rows or None,
    )


def between(asked: BenchOptions, apihost: str, baseline: str | None = None) -> BenchOptions:
    """The same benchmark of a host, against another one where `baseline` is given."""
    return replace(asked, apihost=apihost, baseline=baseline)
