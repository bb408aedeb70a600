"""Whether a vhost-user device may have an interrupt for each queue.

QEMU 7.2 as Debian 12 ships it crashes under TCG as soon as a guest's driver starts a vhost-user
device with MSI-X; without MSI-X (`vectors=0`) all queues share one interrupt, and it works.
"""

from __future__ import annotations

from orrery.guest.lifecycle import Guests
from orrery.guest.machine import Accel
from orrery.guest.trials import Trials, Verdict
from orrery.guest.waiting import CrashError
from orrery.guest.wish import Wish
from orrery.network.backends import Backend

MSIX = "msix"
SHARED = "shared"


def decide(guests: Guests, accel: Accel) -> Verdict:
    """`msix` or `shared`, tried once for every boot of the host and every QEMU."""
    return Trials(guests.state).verdict(f"interrupts {accel}", lambda: attempt(guests, accel))


def attempt(guests: Guests, accel: Accel) -> Verdict:
    """Boot a guest whose vhost-user device has MSI-X.

    Raises:
        GuestError: It does not boot, for another reason than a crash of QEMU.
    """
    wish = Wish(
        name="try-msix",
        accel=accel,
        backend=Backend.VHOST_USER,
        queues=2,
        people=False,
        bound=True,
    )
    version = guests.state.facts["qemu"]["version"]
    try:
        guests.start(wish)
    except CrashError:
        return Verdict(
            SHARED,
            f"QEMU {version} crashes when a vhost-user device has MSI-X, so that all its queues "
            "share one interrupt (vectors=0)",
        )
    guests.stop(wish.name)
    return Verdict(MSIX, f"QEMU {version} runs vhost-user with an interrupt for each queue")
