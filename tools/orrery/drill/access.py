"""The host's side of a drill: where its packets come from and go to, on whatever the guest is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from orrery.network import overlay
from orrery.network.backends import Backend
from orrery.network.layout import Layout, switch
from orrery.network.overlay import Laid
from orrery.network.places import HostPlace
from orrery.network.scenario import Overlay
from orrery.state import LabState

PORT = "drill-host"
ADDRESS = "172.31.254.1/24"
"""Of the host behind an overlay; guests have the others of that network."""


@dataclass(frozen=True)
class Access:
    """How the guest and the host reach each other.

    Attributes:
        host: The host's side; its interface is where announcements arrive.
        bridge: For the guest's ports; empty for the backend's own.
        network: Of the guest; empty for that of its bridge.
        vlan: Tag of the guest's ports.
        mtu: Of the guest's interface; None leaves it as it is [bytes].
    """

    host: HostPlace
    bridge: str = ""
    network: str = ""
    vlan: int | None = None
    mtu: int | None = None


@contextlib.contextmanager
def access(state: LabState, backend: Backend, kind: Overlay | None) -> Iterator[Access]:
    """Have the host's side; with an overlay it has a port of its own at the overlay's other end.

    Raises:
        HostError: The switch refuses something, or another process has the overlay.
    """
    host = HostPlace.of(state, backend)
    if kind is None:
        yield Access(host)
        return
    with overlay.laid(state, kind) as laid, _port(state, laid):
        there = replace(host, address=ADDRESS.partition("/")[0], interface=PORT)
        mtu = laid.mtu if laid.mtu != overlay.MTU else None
        yield Access(there, laid.near, ADDRESS, laid.vlan, mtu)


def sweep(state: LabState) -> None:
    """Be without what a killed drill has left.

    Raises:
        HostError: The switch does not answer.
    """
    switch(state).remove_port(PORT)
    overlay.sweep(state)


@contextlib.contextmanager
def _port(state: LabState, laid: Laid) -> Iterator[None]:
    this, namespace = switch(state), Layout.of(state).namespace
    this.add_port(laid.far, PORT, kind="internal", tag=laid.vlan)
    try:
        namespace.ip("link", "set", PORT, "mtu", str(laid.mtu))
        namespace.have_address(PORT, ADDRESS)
        yield
    finally:
        this.remove_port(PORT)
