"""What every trial has: its two ends, the processor time that it takes, and the error of none."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orrery.measure.runner import TrialError
from orrery.network.places import Place, host_busy_s

PING_TIMEOUT_S = 2
MARGIN_S = 20.0
"""How much longer than it should a program may take before it is given up [s]."""

CAUSES = (
    "Likely causes: the link is down (./lab status), DPDK has no memory pool (the log of the "
    "switch), the ports have different VLAN tags, an MTU is larger than the path's, or a queue is "
    "off (./lab guest.queues)."
)


@dataclass
class Busy:
    """Processor time that a trial took on each machine [s]; nan where nobody can be asked."""

    near_s: float = math.nan
    far_s: float = math.nan
    host_s: float = math.nan

    def per(self, amount: float, names: dict[str, str]) -> dict[str, float]:
        """Metrics by amount of what was moved.

        Args:
            amount: In the unit that the metrics have below the line.
            names: Name of the metric by attribute of this class.

        Returns:
            Without those of which nothing is known.
        """
        found = {metric: getattr(self, one) / amount for one, metric in names.items()}
        return {metric: value for metric, value in found.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Ends:
    """Who sends and who answers.

    Attributes:
        near: Where the client runs: the guest, or the first of two.
        far: Where the server runs.
        host_busy: Processor time of the host so far [s].
    """

    near: Place
    far: Place
    host_busy: Callable[[], float] = field(default=host_busy_s)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the ways to both open meanwhile."""
        with self.near.held(), self.far.held():
            yield

    @contextlib.contextmanager
    def watched(self) -> Iterator[Busy]:
        """What the machines' processors did meanwhile; to be read afterwards."""
        busy = Busy()
        far, near, host = self.far.busy_s(), self.near.busy_s(), self.host_busy()
        yield busy
        busy.host_s = self.host_busy() - host
        busy.near_s = self.near.busy_s() - near
        busy.far_s = self.far.busy_s() - far

    def acquaint(self) -> None:
        """Have both sides know each other's MAC address, so that no packet is lost for that.

        The kernel drops what it cannot hold back while it asks. RFC 2544, 23 wants it, too.

        Raises:
            TrialError: There is no answer.
        """
        argv = ["ping", "-c", "1", "-W", str(PING_TIMEOUT_S), self.far.address]
        ran = self.near.run(argv, PING_TIMEOUT_S + MARGIN_S, check=False)
        if ran.returncode != 0:
            raise self.nothing("no answer to a ping")

    def nothing(self, what: str, said: str = "") -> TrialError:
        """The error of a trial that gave no figure.

        Args:
            what: Begins the sentence: "no packet arrived".
            said: What a program said about it.
        """
        why = f" ({said.strip()})" if said.strip() else ""
        return TrialError(
            f"from {self.near.name} to {self.far.name} at {self.far.address}: {what}{why}. {CAUSES}"
        )
