"""What `up` promises of the datapath, checked with guests: pings, queues, no errors."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from orrery import program
from orrery.errors import VerifyError
from orrery.guest import choose, queues
from orrery.guest.lifecycle import Guests
from orrery.guest.registry import Entry
from orrery.network import check
from orrery.network.backends import Backend
from orrery.network.layout import Layout, part, switch
from orrery.state import LabState

QUEUE_PAIRS = 2
PINGS = 3
PING_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Verified:
    """What held.

    Attributes:
        summary: A sentence that is the same every time.
        boot_s: Time until each guest was ready [s].
    """

    summary: str
    boot_s: dict[str, float]


def verify(guests: Guests) -> Verified:
    """Start a pair on vhost-user and one guest on virtio-net, and let them talk.

    Raises:
        VerifyError: Something does not hold.
        GuestError: A guest does not start.
    """
    wishes = [
        choose.wish(guests, name, backend=backend, queues=QUEUE_PAIRS, people=False, bound=True)
        for name, backend in (
            ("verify-a", Backend.VHOST_USER),
            ("verify-b", Backend.VHOST_USER),
            ("verify-c", Backend.VIRTIO_NET),
        )
    ]
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(max_workers=2) as pool:
        for wish in wishes:
            stack.enter_context(_stopped_in_the_end(guests, wish.name))
        one, other, third = pool.map(guests.start, wishes)
        _ping(guests, one, plain(other.address))
        _ping(guests, third, plain(Layout.of(guests.state).lan_address))
        _check_queues(guests, one)
    errors = switch(guests.state).errors()
    if errors:
        raise VerifyError(f"Open vSwitch reported errors since it was started:\n{errors[0]}")
    summary = (
        f"two guests talk over vhost-user with {QUEUE_PAIRS} queue pairs, a third over "
        f"virtio-net ({one.accel})"
    )
    return Verified(summary, {entry.name: entry.boot_s for entry in (one, other, third)})


def verify_without(state: LabState) -> Verified:
    """Look at the switch alone, where guests do not run.

    Raises:
        VerifyError: Something does not hold.
    """
    held = check.ports(switch(state), str(part(state, "ovs")["bridge"]))
    return Verified(f"{held} (no guests: the lab's own machine is emulated)", {})


def plain(address: str) -> str:
    """An address without its prefix length."""
    return address.partition("/")[0]


def _ping(guests: Guests, entry: Entry, target: str) -> None:
    with guests.agent(entry) as agent:
        words = ["ping", "-c", str(PINGS), "-W", "2", target]
        ran = agent.run(words, timeout_s=PING_TIMEOUT_S, check=False)
    if ran.returncode != 0:
        raise VerifyError(
            f"guest {entry.name} ({entry.backend}, {entry.address}) gets no answer from {target}:\n"
            f"{ran.stdout.strip() or ran.stderr.strip()}"
        )


def _check_queues(guests: Guests, entry: Entry) -> None:
    found = queues.look(guests, entry)
    polled = [row for row in found.rows if row.core != queues.NO_CORE]
    if found.current != entry.queues or len(polled) != entry.queues:
        raise VerifyError(
            f"guest {entry.name} has {entry.queues} queue pairs; it enabled {found.current}, "
            f"and the switch polls {len(polled)}"
        )


@contextlib.contextmanager
def _stopped_in_the_end(guests: Guests, name: str) -> Iterator[None]:
    try:
        yield
    finally:
        if guests.registry.of(name).exists():
            guests.stop(name)


def main() -> int:
    """Entry point."""
    parser = program.parser("orrery.guest.verify")
    parser.add_argument("--guests", choices=("started", "none"), default="started")
    return program.run(parser, _work)


def _work(options: argparse.Namespace) -> dict[str, object]:
    state = program.state(options)
    found = verify_without(state) if options.guests == "none" else verify(Guests(state))
    return asdict(found)


if __name__ == "__main__":
    sys.exit(main())
