"""Multiqueue end to end: what the guest enabled, its interrupts, the host's cores, the packets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orrery.errors import GuestError
from orrery.guest.lifecycle import Guests
from orrery.guest.registry import Entry
from orrery.network.layout import switch
from orrery.network.switch import PolledQueue

AGENT_TIMEOUT_S = 20.0
NIC = "eth0"
NO_CORE = -1

_SECTION = re.compile(r"^(Pre-set maximums|Current hardware settings):", re.MULTILINE)
_COMBINED = re.compile(r"^Combined:\s+(\d+)", re.MULTILINE)
_QUEUE_STATISTIC = re.compile(r"^\s*(rx|tx)_?(?:queue_?)?(\d+)_packets:\s*(\d+)\s*$", re.MULTILINE)
_INTERRUPT = re.compile(r"^\s*\d+:\s+((?:\d+\s+)+).*\b(virtio\d+)-(input|output)\.(\d+)\s*$")
_HOST_STATISTIC = re.compile(r"^(rx|tx)_q(\d+)_good_packets$|^(rx|tx)_q(\d+)_packets$")


@dataclass(frozen=True)
class QueueRow:
    """One queue pair, seen from both sides; rx and tx as the guest means them.

    Attributes:
        enabled: Whether the guest uses it.
        core: CPU of the host whose PMD polls what the guest sends; -1 where none does.
        interrupts: Of input and output in the guest, by guest CPU.
        host_packets: That the switch received from the guest on this queue; -1 where not counted.
    """

    queue: int
    enabled: bool
    core: int
    rx_packets: int
    tx_packets: int
    interrupts: tuple[int, ...]
    host_packets: int


@dataclass(frozen=True)
class Queues:
    """All queue pairs of a guest.

    Attributes:
        most: Queue pairs of the device.
        current: Queue pairs that the guest has enabled.
    """

    guest: str
    backend: str
    most: int
    current: int
    rows: tuple[QueueRow, ...]

    def as_mapping(self) -> dict[str, Any]:
        """The stable keys of `guest.queues`."""
        return {
            "guest": self.guest,
            "backend": self.backend,
            "maximum": self.most,
            "current": self.current,
            "queues": [{**asdict(row), "interrupts": list(row.interrupts)} for row in self.rows],
        }


def look(guests: Guests, entry: Entry) -> Queues:
    """Read all counters of a guest's measured interface.

    Raises:
        GuestError: It has none, or does not answer.
    """
    if not entry.backend:
        raise GuestError(f"guest {entry.name} has no measured interface (--backend none)")
    with guests.agent(entry) as agent:
        said = [
            agent.run(argv, timeout_s=AGENT_TIMEOUT_S).stdout
            for argv in (
                ["ethtool", "-l", NIC],
                ["ethtool", "-S", NIC],
                ["cat", "/proc/interrupts"],
                ["ls", "-l", f"/sys/class/net/{NIC}/device"],
            )
        ]
    most, current = parse_channels(said[0])
    device = said[3].rstrip().rpartition("/")[2]
    counters: dict[str, int] = {}
    polled: list[PolledQueue] = []
    if entry.socket:
        this = switch(guests.state)
        port = this.port(entry.port)
        counters = this.counters(port) if port else {}
        polled = [queue for queue in this.polled() if queue.port == entry.port]
    return Queues(
        guest=entry.name,
        backend=entry.backend,
        most=most,
        current=current,
        rows=rows(
            most,
            current,
            parse_packets(said[1]),
            parse_interrupts(said[2], device),
            host_packets(counters),
            polled,
        ),
    )


def rows(
    most: int,
    current: int,
    packets: Mapping[tuple[str, int], int],
    interrupts: Mapping[int, Sequence[int]],
    received: Mapping[int, int],
    polled: Sequence[PolledQueue],
) -> tuple[QueueRow, ...]:
    """Put both sides together, one row for each queue pair.

    Args:
        most: Queue pairs of the device.
        current: Queue pairs that the guest has enabled.
        packets: The guest's, by direction and queue.
        interrupts: The guest's, by queue.
        received: Packets that the switch received from the guest, by queue.
        polled: Queues of the guest's port.
    """
    cores = {one.queue: one.core for one in polled}
    return tuple(
        QueueRow(
            queue=queue,
            enabled=queue < current,
            core=cores.get(queue, NO_CORE),
            rx_packets=packets.get(("rx", queue), 0),
            tx_packets=packets.get(("tx", queue), 0),
            interrupts=tuple(interrupts.get(queue, ())),
            host_packets=received.get(queue, 0 if received else -1),
        )
        for queue in range(most)
    )


def parse_channels(text: str) -> tuple[int, int]:
    """Largest and current number of queue pairs in what `ethtool -l` prints.

    Raises:
        GuestError: It prints something else.
    """
    parts = _SECTION.split(text)
    numbers = {
        name: int(found[1])
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
        if (found := _COMBINED.search(body))
    }
    try:
        return numbers["Pre-set maximums"], numbers["Current hardware settings"]
    except KeyError:
        raise GuestError(f"ethtool -l says nothing of queue pairs:\n{text.strip()}") from None


def parse_packets(text: str) -> dict[tuple[str, int], int]:
    """Packets by direction and queue in what `ethtool -S` prints of virtio_net."""
    return {(found[1], int(found[2])): int(found[3]) for found in _QUEUE_STATISTIC.finditer(text)}


def parse_interrupts(text: str, device: str) -> dict[int, tuple[int, ...]]:
    """Interrupts by queue pair, input and output added, one number for each CPU of the guest."""
    found: dict[int, tuple[int, ...]] = {}
    for line in text.splitlines():
        match = _INTERRUPT.match(line)
        if match and match[2] == device:
            counts = [int(word) for word in match[1].split()]
            old = found.get(int(match[4]), (0,) * len(counts))
            found[int(match[4])] = tuple(a + b for a, b in zip(old, counts, strict=True))
    return found


def host_packets(counters: Mapping[str, int]) -> dict[int, int]:
    """Packets that a vhost-user port received from the guest, by queue."""
    found = {}
    for name, value in counters.items():
        match = _HOST_STATISTIC.match(name)
        if match and (match[1] or match[3]) == "rx":
            found[int(match[2] or match[4])] = value
    return found


def draw(found: Queues, path: Path) -> None:
    """Draw packets by queue as a picture: from the guest and to it, labelled with the core."""
    # Half a second that no other task has to wait for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.8 + 1.1 * max(found.most, 4), 3.6), layout="constrained")
    axes = FigureCanvasAgg(figure).figure.add_subplot()
    positions = range(found.most)
    axes.bar([p - 0.2 for p in positions], [r.tx_packets for r in found.rows], 0.4, label="sent")
    axes.bar(
        [p + 0.2 for p in positions], [r.rx_packets for r in found.rows], 0.4, label="received"
    )
    axes.set_xticks(list(positions), [label(row) for row in found.rows])
    axes.set_ylabel("packets")
    axes.set_title(
        f"{found.guest}: {found.backend}, {found.current} of {found.most} queue pairs on"
    )
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def label(row: QueueRow) -> str:
    """What stands below a bar."""
    where = f"PMD on CPU {row.core}" if row.core != NO_CORE else "no PMD"
    return f"queue {row.queue}\n{where}" + ("" if row.enabled else "\n(off)")
