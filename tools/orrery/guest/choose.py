"""From what is asked for and what was found out about this host to a wish for a guest."""

from __future__ import annotations

from typing import Any

from orrery.guest import accel as acceleration
from orrery.guest import interrupts
from orrery.guest.lifecycle import Guests
from orrery.guest.machine import Accel
from orrery.guest.wish import Wish
from orrery.network.backends import Backend


def accel_of(guests: Guests, wanted: str = "") -> Accel:
    """KVM or TCG; without a word what the variable `lab_accel` said when the lab was set up.

    Raises:
        ConfigurationError: It is another word, or KVM is forced and there is none.
    """
    recorded = (guests.state.facts.get("acceleration") or {}).get("wanted", acceleration.AUTO)
    return Accel(acceleration.decide(guests, wanted or str(recorded)).answer)


def wish(
    guests: Guests,
    name: str,
    *,
    backend: Backend | None,
    accel: str = "",
    **values: Any,
) -> Wish:
    """A wish whose acceleration and interrupts are what works here.

    Raises:
        ConfigurationError: The acceleration cannot be had.
        GuestError: A trial failed in a way that decides nothing.
    """
    chosen = accel_of(guests, accel)
    msix = True
    if backend is Backend.VHOST_USER:
        msix = interrupts.decide(guests, chosen).answer == interrupts.MSIX
    return Wish(name=name, accel=chosen, backend=backend, msix=msix, **values)
