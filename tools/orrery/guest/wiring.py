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
from orrery.network import kernel_bridge
from orrery.network.backends import PATHS, Backend
from orrery.network.layout import Layout, part, switch
from orrery.state import LabState


def check_bridge(state: LabState, backend: Backend, name: str, bridge: str) -> None:
    """Refuse a bridge that a guest cannot be on; empty is the backend's own.

    Raises:
        ConfigurationError: The backend has a bridge of another kind, or the switch has none of
            that name.
    """
    if not bridge:
        return
    if not PATHS[backend].on_switch or backend is Backend.VIRTIO_NET_KERNEL_OVS:
        raise ConfigurationError(
            f"guest {name}: {bridge} was asked for, and {backend} has a bridge of its own kind. "
            "Use vhost-user or virtio-net-ovs."
        )
    there = [one.name for one in switch(state).bridges() if one.datapath == "netdev"]
    if bridge not in there:
        raise ConfigurationError(
            f"guest {name}: the lab's switch has no bridge {bridge} of the userspace datapath. "
            f"There are: {', '.join(there) or 'none'}."
        )


def prepare(state: LabState, backend: Backend) -> None:
    """Have what a guest's port is connected to, as far as the switch does not have it anyway.

    Raises:
        HostError: It cannot be made.
    """
    if PATHS[backend].tap:
        Layout.of(state).restore()
    if backend is Backend.VIRTIO_NET_KERNEL_OVS:
        kernel_bridge.have(state)


def place(
    state: LabState, backend: Backend, name: str, index: int, bridge: str = "", network: str = ""
) -> dict[str, Any]:
    """Where a guest is: `mac`, `address`, `bridge`, `port` and `socket` of its entry.

    Args:
        state: The lab.
        backend: Of the guest.
        name: Of the guest.
        index: Its number in its network.
        bridge: Another bridge of the switch; empty for the backend's own.
        network: Address of an interface in its network, with prefix length; empty for that of
            the backend's own bridge.

    Raises:
        ConfigurationError: The network has no room for another guest.
    """
    route = PATHS[backend]
    own, there = own_bridge(state, backend)
    found = {
        "mac": f"52:54:00:00:00:{index:02x}",
        "address": address_in(network or there, index),
        "bridge": bridge or own,
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
    nic = Nic(
        backend,
        entry.mac,
        entry.queues,
        entry.msix,
        packed=entry.packed,
        mrg_rxbuf=entry.mrg_rxbuf,
        ring_size=entry.ring_size,
        announces=entry.announces,
    )
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
        layout.namespace.ip("link", "set", entry.port, "master", entry.bridge)
        return
    switch(state).add_port(
        entry.bridge,
        entry.port,
        kind="dpdkvhostuserclient" if entry.socket else "",
        guest=entry.name,
        lab=state.lab_name,
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


def tidy(state: LabState, gone: Entry, entries: Collection[Entry]) -> None:
    """Remove what only a guest that is gone has needed; `entries` are those that are left."""
    if gone.backend == Backend.VIRTIO_NET_KERNEL_OVS and not _on_kernel_bridge(entries):
        with contextlib.suppress(OrreryError):
            kernel_bridge.drop(state)


def sweep(state: LabState, entries: Collection[Entry]) -> list[str]:
    """Remove ports and sockets of guests that are not among these; what that was."""
    if not isinstance(state.facts.get("ovs"), dict):
        return []
    known = {entry.name for entry in entries}
    this = switch(state)
    try:
        there = this.ports()
    except OrreryError:
        # A switch that does not answer has no ports that could be in the way.
        there = []
    left = [
        port.name
        for port in there
        if port.guest and port.guest not in known and port.lab in ("", state.lab_name)
    ]
    for name in left:
        this.remove_port(name)
    removed = [f"port {name}" for name in left]
    idle = any(port.name == kernel_bridge.NAME for port in there) and not _on_kernel_bridge(entries)
    if idle and kernel_bridge.drop(state):
        removed.append(f"bridge {kernel_bridge.NAME}")
    sockets = [path for path in this.vhost_dir.glob("*.sock") if path.stem not in known]
    for path in sockets:
        path.unlink(missing_ok=True)
    return removed + [f"socket {path}" for path in sockets]


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


def own_bridge(state: LabState, backend: Backend) -> tuple[str, str]:
    """A backend's own bridge, and the host's address on it with prefix length."""
    if backend is Backend.VIRTIO_NET_KERNEL_OVS:
        return kernel_bridge.NAME, kernel_bridge.address(state)
    if PATHS[backend].on_switch:
        own = part(state, "ovs")
        return str(own["bridge"]), str(own["address"])
    layout = Layout.of(state)
    return layout.lan_bridge, layout.lan_address


def _on_kernel_bridge(entries: Collection[Entry]) -> bool:
    return any(entry.backend == Backend.VIRTIO_NET_KERNEL_OVS for entry in entries)
