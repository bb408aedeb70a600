"""What a live migration goes through: statuses, events, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from orrery.errors import MeasurementError


class Status(StrEnum):
    """`MigrationStatus` of QEMU (qapi/migration.json)."""

    NONE = "none"
    SETUP = "setup"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    ACTIVE = "active"
    POSTCOPY_ACTIVE = "postcopy-active"
    POSTCOPY_PAUSED = "postcopy-paused"
    POSTCOPY_RECOVER_SETUP = "postcopy-recover-setup"
    POSTCOPY_RECOVER = "postcopy-recover"
    COMPLETED = "completed"
    FAILED = "failed"
    COLO = "colo"
    PRE_SWITCHOVER = "pre-switchover"
    DEVICE = "device"
    WAIT_UNPLUG = "wait-unplug"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
_STOPPABLE = frozenset({Status.CANCELLING, Status.FAILED})
NEXT: Mapping[Status, frozenset[Status]] = {
    Status.NONE: frozenset({Status.SETUP, Status.FAILED}),
    Status.SETUP: frozenset({Status.ACTIVE, Status.WAIT_UNPLUG}) | _STOPPABLE,
    Status.WAIT_UNPLUG: frozenset({Status.ACTIVE}) | _STOPPABLE,
    Status.ACTIVE: frozenset(
        {
            Status.PRE_SWITCHOVER,
            Status.DEVICE,
            Status.COMPLETED,
            Status.POSTCOPY_ACTIVE,
            Status.COLO,
        }
    )
    | _STOPPABLE,
    Status.PRE_SWITCHOVER: frozenset({Status.DEVICE, Status.ACTIVE}) | _STOPPABLE,
    Status.DEVICE: frozenset({Status.COMPLETED, Status.ACTIVE, Status.POSTCOPY_ACTIVE})
    | _STOPPABLE,
    Status.POSTCOPY_ACTIVE: frozenset({Status.POSTCOPY_PAUSED, Status.COMPLETED, Status.FAILED}),
    Status.POSTCOPY_PAUSED: frozenset(
        {Status.POSTCOPY_RECOVER_SETUP, Status.POSTCOPY_RECOVER, Status.FAILED}
    ),
    Status.POSTCOPY_RECOVER_SETUP: frozenset({Status.POSTCOPY_RECOVER, Status.POSTCOPY_PAUSED}),
    Status.POSTCOPY_RECOVER: frozenset({Status.POSTCOPY_ACTIVE, Status.POSTCOPY_PAUSED}),
    Status.CANCELLING: frozenset({Status.CANCELLED, Status.FAILED}),
    Status.COLO: frozenset({Status.COMPLETED, Status.FAILED}),
    # A side that has had a migration begins another.
    Status.COMPLETED: frozenset({Status.SETUP}),
    Status.FAILED: frozenset({Status.SETUP}),
    Status.CANCELLED: frozenset({Status.SETUP, Status.ACTIVE}),
}
"""What may follow a status (migration/migration.c of QEMU 7.2 to 10)."""


class Outcome(StrEnum):
    """What came of a migration, as the destination says it; the source's word is not enough."""

    MOVED = "moved"
    """The guest runs at the destination, and the source is paused for good."""
    FAILED = "failed"
    """The guest runs at the source."""
    CANCELLED = "cancelled"
    """Somebody wanted it so; the guest runs at the source."""
    NOT_CONVERGING = "not converging"
    """It was cancelled since it would not have come to an end; the guest runs at the source."""
    RESCUED = "rescued"
    """The source said completed, the destination died; the guest goes on at the source."""
    LOST = "lost"
    """The guest runs nowhere."""


STAYS = frozenset({Outcome.FAILED, Outcome.CANCELLED, Outcome.NOT_CONVERGING, Outcome.RESCUED})
"""Outcomes after which the guest runs where it was."""


@dataclass(frozen=True)
class Event:
    """Something that QEMU said without being asked.

    Attributes:
        at_s: Of the host's CLOCK_REALTIME, as QEMU stamped it [s].
    """

    name: str
    at_s: float
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Event:
        """Read a message of QMP."""
        stamp = message["timestamp"]
        at_s = int(stamp["seconds"]) + int(stamp["microseconds"]) / 1e6
        return cls(str(message["event"]), at_s, dict(message.get("data") or {}))


@dataclass(frozen=True)
class Sample:
    """How far a migration is at one moment; sizes in bytes, times in the units of their names.

    Attributes:
        at_s: Of the host's CLOCK_REALTIME [s].
        rounds: Times that the dirty bitmap was read (`dirty-sync-count`).
        dirty_bps: What the guest dirties, as the last round saw it [bytes/s].
        sent_bps: What goes over the link [bytes/s].
        expected_downtime_ms: What QEMU thinks a switch-over now would take.
        throttle_percent: Share of its time that the guest's processors are held back.
    """

    at_s: float
    transferred: int
    remaining: int
    total: int
    rounds: int
    dirty_bps: float
    sent_bps: float
    expected_downtime_ms: int
    throttle_percent: int

    @classmethod
    def of(cls, info: Mapping[str, Any], at_s: float) -> Sample | None:
        """Read what `query-migrate` answers; None before memory is sent."""
        ram = info.get("ram")
        if not isinstance(ram, Mapping):
            return None
        page = int(ram.get("page-size", 4096))
        return cls(
            at_s=at_s,
            transferred=int(ram.get("transferred", 0)),
            remaining=int(ram.get("remaining", 0)),
            total=int(ram.get("total", 0)),
            rounds=int(ram.get("dirty-sync-count", 0)),
            dirty_bps=float(ram.get("dirty-pages-rate", 0)) * page,
            sent_bps=float(ram.get("mbps", 0.0)) * 1e6 / 8,
            expected_downtime_ms=int(info.get("expected-downtime", 0)),
            throttle_percent=int(info.get("cpu-throttle-percentage", 0)),
        )


class Track:
    """The statuses of one side, in the order in which it said them.

    Attributes:
        now: The last one.
        seen: All of them with their times [s].
        odd: Steps that QEMU is not known to make, as text.
    """

    def __init__(self, side: str) -> None:
        self.side = side
        self.now = Status.NONE
        self.seen: list[tuple[Status, float]] = []
        self.odd: list[str] = []

    def enter(self, text: str, at_s: float) -> Status:
        """Take note of a status.

        Raises:
            MeasurementError: QEMU does not have such a one.
        """
        try:
            status = Status(text)
        except ValueError:
            raise MeasurementError(
                f"{self.side}: QEMU says that its migration is '{text}', which is no status that "
                f"is known here ({', '.join(Status)})"
            ) from None
        if status is self.now:
            return status
        if status not in NEXT[self.now]:
            self.odd.append(f"{self.side}: {self.now} -> {status}")
        self.now = status
        self.seen.append((status, at_s))
        return status

    def at(self, status: Status) -> float | None:
        """When it was there first [s]; None where it never was."""
        return next((at_s for one, at_s in self.seen if one is status), None)


@dataclass(frozen=True)
class Moved:
    """One migration that is over; all times are of the host's CLOCK_REALTIME [s].

    Attributes:
        why: What QEMU, or we, say about an outcome other than `moved`.
        began_s: When the source was told to migrate.
        ended_s: When the outcome was known.
        stopped_s: When the guest's processors stopped at the source; None where they did not.
        resumed_s: When they went on, wherever that was; None where they did not.
        source: Statuses of the source with their times.
        target: Statuses of the destination.
        events: All that both sides said, with the side's name in front.
        samples: While memory was sent.
        info: `query-migrate` of the source in the end.
        odd: Steps between statuses that QEMU is not known to make.
    """

    outcome: Outcome
    why: str
    began_s: float
    ended_s: float
    stopped_s: float | None
    resumed_s: float | None
    source: tuple[tuple[Status, float], ...]
    target: tuple[tuple[Status, float], ...]
    events: tuple[tuple[str, Event], ...]
    samples: tuple[Sample, ...]
    info: Mapping[str, Any]
    odd: tuple[str, ...] = ()

    def figures(self) -> dict[str, float]:
        """What QEMU counts; a figure that it does not give is left out."""
        info, ram = self.info, dict(self.info.get("ram") or {})
        cache = dict(info.get("xbzrle-cache") or {})
        found = {
            "qemu_downtime": info.get("downtime"),
            "setup": info.get("setup-time"),
            "total": info.get("total-time"),
            "memory": ram.get("transferred"),
            "rounds": ram.get("dirty-sync-count"),
            "encoding": cache.get("encoding-rate"),
        }
        figures = {name: float(value) for name, value in found.items() if value is not None}
        if self.samples:
            figures["dirty_rate"] = max(one.dirty_bps for one in self.samples)
            figures["throttle"] = max(one.throttle_percent for one in self.samples)
        moved = float(ram.get("transferred") or 0)
        sent = float(ram.get("normal", 0)) * float(ram.get("page-size", 4096))
        if moved and sent:
            # Pages that were sent whole, over what went over the link for them.
            figures["compression"] = sent / moved
        return figures

    def as_mapping(self) -> dict[str, Any]:
        """JSON."""
        data = asdict(self)
        data["events"] = [
            {"side": side, "name": event.name, "at_s": event.at_s, "data": dict(event.data)}
            for side, event in self.events
        ]
        return data
