"""Throughput as RFC 2544, 26.1 has it: the highest load of UDP of which no more is lost than may.

The sender's own limit is the top of the search: a first step is sent as fast as it can.
"""

from __future__ import annotations

from collections.abc import Callable

from orrery.errors import MeasurementError
from orrery.measure.search import Counts, Throughput, search
from orrery.network.traffic import udp
from orrery.network.traffic.trial import Ends

UNITS = {"throughput": "packets/s", "sender_limited": ""}
LOWEST_SHARE = 0.01
"""Where the search begins at the other end, as a share of what the sender can."""

Seam = Callable[[float, int], Counts]


def measure(ends: Ends, *, seconds: int, frame: str, loss: float) -> dict[str, float]:
    """Search; the metric of one trial.

    Raises:
        TrialError: No load passed, or nothing arrives at all.
        GuestError, HostError: A program does not run.
    """
    with ends.held():
        ends.acquaint()
        found = find(seam(ends, frame), seconds=seconds, loss=loss)
    if found.load_pps <= 0:
        raise ends.nothing("no load arrives without loss", found.why)
    # Where the highest load that passed is all that the sender can, the path may do more.
    limited = not found.bounded
    return {"throughput": float(found.load_pps), "sender_limited": float(limited)}


def find(counts: Seam, *, seconds: int, loss: float) -> Throughput:
    """Search below what the sender can.

    Raises:
        MeasurementError: The sender sent nothing.
    """
    most = counts(seconds, udp.AS_FAST_AS_IT_CAN).sent // seconds
    return search(
        counts,
        low_pps=max(1, round(most * LOWEST_SHARE)),
        high_pps=max(1, most),
        loss=loss,
        duration_s=seconds,
    )


def seam(ends: Ends, frame: str) -> Seam:
    """`measure(duration_s, load_pps) -> Counts` of frames of one size; 0 is as fast as it can."""

    def counts(duration_s: float, load_pps: int) -> Counts:
        seconds = round(duration_s)
        if seconds != duration_s or seconds < 1:
            raise MeasurementError(f"a step lasts whole seconds, not {duration_s:g}")
        sent = udp.send(ends, seconds=seconds, frame=frame, rate_pps=load_pps)
        return Counts(sent.sent, sent.received)

    return counts
