"""How a guest's measured interface is connected to a bridge, and taken off it again."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError, OrreryError
from orrery.guest.machine import Nic
from orrery.guest.registry import Entry
from orrery.network.backends import PATHS, Backend
from orrery.network.layout import Layout, part, switch
from orrery.state import LabState


def place(state: LabState, backend: Backend, name: str, index: int) -> dict[str, Any]:
    """Where a guest is on its bridge: `mac`, `address`, `port` and `socket` of its entry.

    Raises:
        ConfigurationError: The network has no room for another guest.
    """
    route = PATHS[backend]
    own = part(state, "ovs")["address"] if route.on_switch else Layout.of(state).lan_address
    found = {
        "mac": f"52:54:00:00:00:{index:02x}",
        "address": address_in(str(own), index),
        "port": f"{'tap' if route.tap else 'vh'}-{name}",
    }
    if backend is Backend.VHOST_USER:
        found["socket"] = str(switch(state).vhost_dir / f"{name}.sock")
    return found


@contextlib.contextmanager
def opened(state: LabState, entry: Entry) -> Iterator[Nic | None]:
    """The measured interface for QEMU; a tap of it stays open here until QEMU has inherited it.

    Raises:
        HostError: The tap cannot be made.
    """
    if not entry.backend:
        yield None
        return
    backend = Backend(entry.backend)
    nic = Nic(backend, entry.mac, entry.queues, entry.msix)
    if entry.socket:
        Path(entry.socket).unlink(missing_ok=True)
        yield replace(nic, socket=Path(entry.socket))
        return
    taps = Layout.of(state).namespace.open_tap(
        entry.port, queues=entry.queues, vnet_hdr=PATHS[backend].vnet_hdr
    )
    try:
        yield replace(nic, descriptors=tuple(taps))
    finally:
        for descriptor in taps:
            os.close(descriptor)


def connect(state: LabState, entry: Entry) -> None:
    """Put the interface onto its bridge; the socket or the tap is there.

    Raises:
        HostError: The bridge does not take it.
    """
    layout = Layout.of(state)
    if not entry.socket:
        layout.namespace.ip("link", "set", entry.port, "up")
    if not PATHS[Backend(entry.backend)].on_switch:
        layout.namespace.ip("link", "set", entry.port, "master", layout.lan_bridge)
        return
    switch(state).add_port(
        str(part(state, "ovs")["bridge"]),
        entry.port,
        kind="dpdkvhostuserclient" if entry.socket else "",
        guest=entry.name,
        tag=entry.vlan,
        options={"vhost-server-path": entry.socket} if entry.socket else {},
    )


def disconnect(state: LabState, entry: Entry) -> None:
    """Take the interface off the switch. A tap and its place on a bridge go with QEMU."""
    if entry.backend and PATHS[Backend(entry.backend)].on_switch:
        with contextlib.suppress(OrreryError):
            this = switch(state)
            port = this.port(entry.port)
            # Somebody else's port of that name is why the start failed: it stays.
            if port is not None and port.guest == entry.name:
                this.remove_port(entry.port)
    if entry.socket:
        Path(entry.socket).unlink(missing_ok=True)


def sweep(state: LabState, known: Collection[str]) -> list[str]:
    """Remove ports and sockets of guests that are not known; what that was."""
    if not isinstance(state.facts.get("ovs"), dict):
        return []
    this = switch(state)
    try:
        left = [port.name for port in this.ports() if port.guest and port.guest not in known]
    except OrreryError:
        # A switch that does not answer has no ports that could be in the way.
        left = []
    for name in left:
        this.remove_port(name)
    sockets = [path for path in this.vhost_dir.glob("*.sock") if path.stem not in known]
    for path in sockets:
        path.unlink(missing_ok=True)
    return [f"port {name}" for name in left] + [f"socket {path}" for path in sockets]


def address_in(network: str, index: int) -> str:
    """The address with a number in the network of an interface's address, with prefix length.

    Raises:
        ConfigurationError: The network is too small for the number.
    """
    interface = ipaddress.IPv4Interface(network)
    if index >= interface.network.num_addresses - 1:
        raise ConfigurationError(
            f"{interface.network} has no room for a guest with number {index}. Set "
            "lab_datapath_subnet and lab_lan_subnet to larger networks (/24), then ./lab up."
        )
    return f"{interface.network.network_address + index}/{interface.network.prefixlen}"
