"""A move as probes see it: made up, with known gaps."""

from __future__ import annotations

from orrery.drill.announce import Announcement
from orrery.drill.clocks import NS, Packet
from orrery.drill.logs import Beat
from orrery.drill.probes import Logs
from orrery.drill.states import Event, Moved, Outcome, Sample, Status

BASE_S = 1_700_000_000.0
MS = 1_000_000
BEGAN, STOPPED, RESUMED, ENDED, LAST = 4000, 5000, 5010, 5020, 8000
"""When what happened [ms]; the guest answers again 60 ms after it went on."""
BACK = 5070
BEHIND = 300 * MS
UPTIME = 7 * NS


def host(ms: float) -> int:
    """A moment of the host's clock [ns]."""
    return int(BASE_S * NS) + int(ms * MS)


def guest(ms: float) -> int:
    """The same moment on the guest's clock, which stood still in the pause [ns]."""
    return host(ms) - BEHIND - (10 * MS if ms >= RESUMED else 0)


def running() -> list[int]:
    """Milliseconds in which the guest did something."""
    return [*range(STOPPED), *range(BACK, LAST)]


def logs(**said: dict[str, object]) -> Logs:
    """All probes: packets to the guest are lost in the pause, and late until it is back."""
    delivered = [n for n in range(LAST) if not STOPPED <= n < RESUMED]
    summary = {"sent requests": {"size": 64}, "sent stream": {"size": 8192}, "dirty": {}}
    return Logs(
        inward=tuple(
            Packet(n, host(n), guest(max(n, BACK) if RESUMED <= n < BACK else n) + MS // 20)
            for n in delivered
        ),
        outward=tuple(Packet(k, guest(n), host(n) + MS // 20) for k, n in enumerate(running())),
        beats=tuple(Beat(guest(n) - int(BASE_S * NS) + UPTIME, guest(n)) for n in running()),
        requests=tuple(
            Packet(k, host(n), host(n + 1 if not STOPPED <= n < BACK else BACK + 1))
            for k, n in enumerate(range(0, LAST, 10))
        ),
        stream=tuple(
            Packet(k, host(n), host(n + 1))
            for k, n in enumerate(m for m in range(0, LAST, 10) if not STOPPED <= m < BACK)
        ),
        said={**summary, **said},
    )


def announced() -> list[Announcement]:
    """The switch's own word, 4 ms after the guest went on."""
    return [Announcement("RARP", host(RESUMED + 4)), Announcement("RARP", host(RESUMED + 50))]


def at(ms: float) -> float:
    """A moment of the host's clock [s]."""
    return BASE_S + ms / 1e3


def moved(outcome: Outcome = Outcome.MOVED) -> Moved:
    """What QEMU said of it."""
    source = [(Status.SETUP, 4000), (Status.ACTIVE, 4010), (Status.DEVICE, 5000)]
    return Moved(
        outcome=outcome,
        why="",
        began_s=at(BEGAN),
        ended_s=at(ENDED),
        stopped_s=at(STOPPED),
        resumed_s=at(RESUMED),
        source=(*((one, at(ms)) for one, ms in source), (Status.COMPLETED, at(5015))),
        target=((Status.COMPLETED, at(5015)),),
        events=(("source", Event("MIGRATION_PASS", at(4500), {"pass": 2})),),
        samples=(Sample(at(4500), 1 << 20, 2 << 20, 512 << 20, 2, 5e6, 1e8, 20, 0),),
        info={
            "downtime": 9,
            "setup-time": 10,
            "total-time": 1015,
            "ram": {"transferred": 100_000_000, "dirty-sync-count": 3, "normal": 20_000},
        },
    )
