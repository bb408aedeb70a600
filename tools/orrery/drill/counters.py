"""What the switch counts at the ports of a guest, before a move and after it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orrery.errors import HostError
from orrery.guest.registry import Entry
from orrery.network.switch import Switch

Counts = Mapping[str, int]
"""`rx_packets` and so on, as the switch sees it: what it receives comes from the guest."""


@dataclass(frozen=True)
class Counted:
    """One port of a move.

    Attributes:
        side: `source` or `destination`.
        port: Its name.
    """

    side: str
    port: str
    before: Counts
    after: Counts

    def added(self) -> dict[str, int]:
        """What was counted meanwhile; a counter that is lower afterwards began anew."""
        return {
            name: count - earlier if count >= (earlier := self.before.get(name, 0)) else count
            for name, count in self.after.items()
        }

    def as_mapping(self) -> dict[str, Any]:
        """JSON."""
        return {
            "side": self.side,
            "port": self.port,
            "before": dict(self.before),
            "after": dict(self.after),
            "added": self.added(),
        }


class Watch:
    """Reads the counters of both sides when it is made, and when it is asked.

    Neither falls into the time of the probes: programs that are started would be felt there.
    """

    def __init__(self, this: Switch, source: Entry, target: Entry) -> None:
        self._this = this
        self._sides = {"source": source, "destination": target}
        self._before = self._read()

    def seen(self) -> tuple[Counted, ...]:
        """Both ports; one that is gone, or counts nothing, is left out.

        Open vSwitch forgets what a vhost-user port has counted when QEMU lets it go, which the
        source does at the end of a move.
        """
        after = self._read()
        return tuple(
            Counted(side, self._sides[side].port, self._before[side], counts)
            for side, counts in after.items()
            if side in self._before and counts
        )

    def _read(self) -> dict[str, Counts]:
        found: dict[str, Counts] = {}
        for side, entry in self._sides.items():
            # A side that was killed may have taken its port along.
            with contextlib.suppress(HostError):
                found[side] = self._this.totals(entry.bridge, entry.port)
        return found


def figures(counted: Sequence[Counted]) -> dict[str, float]:
    """Packets that the switch dropped at both ports, and errors; none where it does not count."""
    found: dict[str, float] = {}
    for one in counted:
        for name, count in one.added().items():
            kind = name.partition("_")[2]
            if kind in ("dropped", "errors"):
                found[f"switch_{kind}"] = found.get(f"switch_{kind}", 0.0) + count
    return found
