"""What the probes have written down, as they have written it. Pure."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from orrery.drill.clocks import Packet

_PACKET = struct.Struct("<IIqq")
_BEAT = struct.Struct("<qq")
_ANSWER = struct.Struct("<IIqq")


@dataclass(frozen=True)
class Beat:
    """One beat of a heartbeat, by two clocks of the machine that it beats in [ns]."""

    monotonic_ns: int
    realtime_ns: int


def packets(data: bytes) -> list[Packet]:
    """Read `orrery-probe receive --log`: number, size, sent, arrived; in order of arrival."""
    return [
        Packet(number, sent, arrived)
        for number, _, sent, arrived in _PACKET.iter_unpack(_whole(data, _PACKET))
    ]


def beats(data: bytes) -> list[Beat]:
    """Read `orrery-probe heartbeat --log`."""
    return [Beat(*pair) for pair in _BEAT.iter_unpack(_whole(data, _BEAT))]


def backwards(found: Sequence[Beat]) -> int:
    """How often a clock went back."""
    return sum(
        other.monotonic_ns <= one.monotonic_ns or other.realtime_ns < one.realtime_ns
        for one, other in itertools.pairwise(found)
    )


def _whole(data: bytes, kind: struct.Struct) -> bytes:
    """Without an entry that was cut off at the end."""
    return data[: len(data) - len(data) % kind.size]
