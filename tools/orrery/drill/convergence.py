"""Whether a migration will come to an end, judged by what its rounds show. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orrery.drill.states import Sample

Judge = Callable[[Sequence[Sample]], str]
"""Gets all samples so far; text that it returns says why there will be no end."""

ROUNDS = 3
"""The first round sends all memory, the second what was dirtied meanwhile: trends begin then."""
WINDOW_S = 2.0
"""How long no progress has to last [s]."""
PROGRESS = 0.9
"""A guest that dirties less than this share of what the link carries can be caught up with."""
MB = 1e6


def judge(limit_ms: float, helped: bool) -> Judge:
    """A judge.

    Args:
        limit_ms: `downtime-limit`: what may be left is what the link carries in that time [ms].
        helped: Whether something slows the guest down step by step (auto-converge): what does not
            get less yet may do so later, as long as the guest is not held back with all force.
    """

    def verdict(samples: Sequence[Sample]) -> str:
        last = samples[-1]
        before = [
            one for one in samples if last.at_s - one.at_s >= WINDOW_S and one.rounds >= ROUNDS
        ]
        if not before or last.rounds == before[-1].rounds:
            return ""
        if helped and last.throttle_percent < 99:
            return ""
        # While little is left to send, QEMU's rate is that of what there is, and not the link's.
        carried_bps = max(one.sent_bps for one in samples)
        window = [one for one in samples if one.at_s >= before[-1].at_s]
        least = min(one.expected_downtime_ms or limit_ms + 1 for one in window)
        if least <= limit_ms or last.dirty_bps < PROGRESS * carried_bps:
            return ""
        return (
            f"the guest dirties {last.dirty_bps / MB:.0f} MB/s and the link carries "
            f"{carried_bps / MB:.0f} MB/s: after {last.rounds} rounds "
            f"{last.remaining / MB:.0f} MB are left, and a switch-over would take "
            f"{last.expected_downtime_ms} ms where {limit_ms:g} ms are allowed"
        )

    return verdict
