"""The ways in which packets reach a bridge; what is compared.

With a guest: what is behind its measured interface. Without: dpdk-testpmd at two ports of a bridge.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from orrery.errors import ConfigurationError
from orrery.state import LabState

VHOST_NET = Path("/dev/vhost-net")
KERNEL_OVS = Path("/sys/module/openvswitch")


class Backend(StrEnum):
    """What is behind a guest's virtio-net device."""

    VHOST_USER = "vhost-user"
    """OVS-DPDK reads the guest's rings in shared memory; no packet passes QEMU or the kernel."""
    VIRTIO_NET = "virtio-net"
    """QEMU copies between the rings and a tap on a Linux bridge."""
    VIRTIO_NET_OVS = "virtio-net-ovs"
    """QEMU copies between the rings and a tap on the same OVS bridge that vhost-user has."""
    VIRTIO_NET_KERNEL_OVS = "virtio-net-kernel-ovs"
    """QEMU copies between the rings and a tap on a bridge of Open vSwitch's kernel datapath."""
    VHOST_NET = "vhost-net"
    """The host's kernel copies between the rings and a tap on a Linux bridge."""
    ENGINE_VHOST_USER = "engine-vhost-user"
    """testpmd's virtio-user on vhost-user ports of OVS-DPDK: the switch alone, without a guest."""
    ENGINE_AF_PACKET_OVS = "engine-af-packet-ovs"
    """testpmd at veth pairs whose other ends are ports of OVS-DPDK, which reads AF_PACKET."""
    ENGINE_BRIDGE = "engine-bridge"
    """testpmd at veth pairs whose other ends are ports of a Linux bridge."""


QUEUE_PAIRS = (1, 2, 4, 8)
"""Numbers of queue pairs that can be asked for."""

RING_SIZES = (256, 512, 1024)
"""Buffers of a ring that QEMU takes; 256 is its own choice, and more only sends vhost-user."""


@dataclass(frozen=True)
class Route:
    """How packets of a backend travel.

    Attributes:
        tap: Whether there is a tap.
        on_switch: Whether it ends at Open vSwitch, not at the Linux bridge.
        vnet_hdr: Whether the tap takes segments and checksums that are not finished yet.
        guest: Whether there is a guest at its end.
    """

    tap: bool
    on_switch: bool
    vnet_hdr: bool
    guest: bool = True


PATHS = {
    Backend.VHOST_USER: Route(tap=False, on_switch=True, vnet_hdr=False),
    Backend.VIRTIO_NET: Route(tap=True, on_switch=False, vnet_hdr=True),
    # OVS reads a tap through AF_PACKET and would drop segments larger than its buffers.
    Backend.VIRTIO_NET_OVS: Route(tap=True, on_switch=True, vnet_hdr=False),
    Backend.VIRTIO_NET_KERNEL_OVS: Route(tap=True, on_switch=True, vnet_hdr=True),
    Backend.VHOST_NET: Route(tap=True, on_switch=False, vnet_hdr=True),
    Backend.ENGINE_VHOST_USER: Route(tap=False, on_switch=True, vnet_hdr=False, guest=False),
    Backend.ENGINE_AF_PACKET_OVS: Route(tap=False, on_switch=True, vnet_hdr=False, guest=False),
    Backend.ENGINE_BRIDGE: Route(tap=False, on_switch=False, vnet_hdr=False, guest=False),
}
GUEST_BACKENDS = tuple(backend for backend in Backend if PATHS[backend].guest)
"""What a guest can have."""


def missing(backend: Backend, state: LabState) -> str:
    """Why a backend cannot run on this host; empty where it can."""
    if PATHS[backend].on_switch and not isinstance(state.facts.get("ovs"), dict):
        return "the lab has no Open vSwitch: run ./lab up"
    if backend is Backend.VHOST_NET and not VHOST_NET.exists():
        return f"there is no {VHOST_NET}: load the kernel module vhost_net (modprobe vhost_net)"
    if backend is Backend.VIRTIO_NET_KERNEL_OVS and not KERNEL_OVS.exists():
        return "the kernel has no datapath of Open vSwitch: load it (modprobe openvswitch)"
    if not PATHS[backend].guest and not isinstance(state.facts.get("testpmd"), dict):
        why = state.facts.get("testpmd_why") or "run ./lab up"
        return f"the lab has no dpdk-testpmd: {why}"
    return ""


def require(backend: Backend, state: LabState) -> None:
    """Refuse a backend that cannot run here.

    Raises:
        ConfigurationError: With the reason, and the backends that can.
    """
    reason = missing(backend, state)
    if reason:
        possible = ", ".join(one for one in GUEST_BACKENDS if not missing(one, state))
        raise ConfigurationError(f"backend {backend}: {reason}. Possible here: {possible}")
