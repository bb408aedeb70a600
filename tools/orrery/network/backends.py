"""The ways in which a guest's measured interface reaches a bridge; what is compared later."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from orrery.errors import ConfigurationError
from orrery.state import LabState

VHOST_NET = Path("/dev/vhost-net")


class Backend(StrEnum):
    """What is behind a guest's virtio-net device."""

    VHOST_USER = "vhost-user"
    """OVS-DPDK reads the guest's rings in shared memory; no packet passes QEMU or the kernel."""
    VIRTIO_NET = "virtio-net"
    """QEMU copies between the rings and a tap on a Linux bridge."""
    VIRTIO_NET_OVS = "virtio-net-ovs"
    """QEMU copies between the rings and a tap on the same OVS bridge that vhost-user has."""
    VHOST_NET = "vhost-net"
    """The host's kernel copies between the rings and a tap on a Linux bridge."""


QUEUE_PAIRS = (1, 2, 4, 8)
"""Numbers of queue pairs that can be asked for."""


@dataclass(frozen=True)
class Route:
    """How packets of a backend travel.

    Attributes:
        tap: Whether there is a tap.
        on_switch: Whether it ends at Open vSwitch, not at the Linux bridge.
        vnet_hdr: Whether the tap takes segments and checksums that are not finished yet.
    """

    tap: bool
    on_switch: bool
    vnet_hdr: bool


PATHS = {
    Backend.VHOST_USER: Route(tap=False, on_switch=True, vnet_hdr=False),
    Backend.VIRTIO_NET: Route(tap=True, on_switch=False, vnet_hdr=True),
    # OVS reads a tap through AF_PACKET and would drop segments larger than its buffers.
    Backend.VIRTIO_NET_OVS: Route(tap=True, on_switch=True, vnet_hdr=False),
    Backend.VHOST_NET: Route(tap=True, on_switch=False, vnet_hdr=True),
}


def missing(backend: Backend, state: LabState) -> str:
    """Why a backend cannot run on this host; empty where it can."""
    if PATHS[backend].on_switch and not isinstance(state.facts.get("ovs"), dict):
        return "the lab has no Open vSwitch: run ./lab up"
    if backend is Backend.VHOST_NET and not VHOST_NET.exists():
        return f"there is no {VHOST_NET}: load the kernel module vhost_net (modprobe vhost_net)"
    return ""


def require(backend: Backend, state: LabState) -> None:
    """Refuse a backend that cannot run here.

    Raises:
        ConfigurationError: With the reason, and the backends that can.
    """
    reason = missing(backend, state)
    if reason:
        possible = ", ".join(one for one in Backend if not missing(one, state))
        raise ConfigurationError(f"backend {backend}: {reason}. Possible here: {possible}")
