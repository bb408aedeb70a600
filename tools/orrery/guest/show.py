"""Tables about guests, queues and the switch for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from orrery.guest.queues import NO_CORE, Queues
from orrery.guest.registry import Entry, alive
from orrery.network.switch import PolledQueue, Port

NO_TERMINAL_WIDTH = 120


def guests(lab_name: str, entries: Sequence[Entry]) -> None:
    """The guests of a lab."""
    console = Console(highlight=False)
    if not entries:
        console.print(f"no guest runs in the lab '{lab_name}': ./lab guest.start NAME")
        return
    table = _table("guest", "backend", "queues", "address", "ssh port", "accel", "CPUs", "state")
    for entry in entries:
        table.add_row(
            entry.name,
            (entry.backend or "none") + (f" vlan {entry.vlan}" if entry.vlan is not None else ""),
            str(entry.queues or ""),
            entry.address,
            str(entry.ssh_port or ""),
            entry.accel,
            str(entry.cpus),
            state_of(entry),
        )
    _wide().print(table)


def state_of(entry: Entry) -> str:
    """A word for what a guest is doing."""
    if not entry.ready:
        return "starting" if alive(entry.starter) else "start broken off"
    return f"ready in {entry.boot_s:.1f} s" if alive(entry.pid) else "dead"


def queue_pairs(found: Queues) -> None:
    """The queue pairs of one guest."""
    console = Console(highlight=False)
    console.print(
        f"{found.guest} ({found.backend}): {found.current} of {found.most} queue pairs enabled"
    )
    table = _table("queue", "on", "polled by", "sent", "seen by switch", "received", "interrupts")
    for row in found.rows:
        table.add_row(
            str(row.queue),
            "yes" if row.enabled else "no",
            f"CPU {row.core}" if row.core != NO_CORE else "",
            str(row.tx_packets),
            str(row.host_packets) if row.host_packets >= 0 else "",
            str(row.rx_packets),
            " ".join(map(str, row.interrupts)),
        )
    _wide().print(table)
    console.print("interrupts: one number for each CPU of the guest, input and output together")


def ports(found: Sequence[Port], polled: Sequence[PolledQueue]) -> None:
    """The switch's bridges and ports, and which cores poll their queues."""
    table = _table("bridge", "port", "type", "vlan", "link")
    table.add_column("queues (polling CPU)", overflow="fold")
    for port in found:
        table.add_row(
            port.bridge,
            port.name,
            port.kind,
            "" if port.tag is None else str(port.tag),
            f"error: {port.error}" if port.error else port.link,
            " ".join(
                f"{one.queue} (CPU {one.core}{'' if one.enabled else ', off'})"
                for one in polled
                if one.port == port.name
            ),
        )
    _wide().print(table)


def _wide() -> Console:
    """A console that is not narrower than our tables where there is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=NO_TERMINAL_WIDTH)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        # What a person copies must not be broken in two.
        table.add_column(column, no_wrap=True)
    return table
