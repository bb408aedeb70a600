"""A guest as a user asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orrery.guest.machine import Accel, Backing
from orrery.network.backends import Backend
from orrery.vm.image.image import Image


@dataclass(frozen=True)
class Wish:
    """A guest as a user asks for it.

    Attributes:
        backend: None for a guest without measured interface.
        vlan: Tag of its port on the switch; None for an untagged one.
        bridge: Another bridge of the lab's switch for its port; empty for the lab's own.
        network: Address of some interface in the guest's network, with prefix length; empty for
            the network of its bridge, which for another bridge is that of the switch's own.
        packed: Whether rings have the packed layout.
        mrg_rxbuf: Whether a packet may span receive buffers.
        ring_size: Buffers of each ring.
        announces: Whether it says itself where it is after a move.
        msix: Whether queues have interrupts of their own.
        people: Whether it has an interface for ssh.
        bound: Whether it ends with this process, however that ends.
        incoming: A guest that is to move here; nothing is started then, and it keeps its MAC and
            its address. Empty for a guest of its own.
        image: Of the disk that it starts from; None starts it from memory.
        data: Raw image of a further disk, which is there already; None for none.
    """

    name: str
    accel: Accel
    backend: Backend | None = Backend.VHOST_USER
    queues: int = 1
    cpus: int = 2
    memory_mb: int = 256
    backing: Backing = Backing.MEMFD
    vlan: int | None = None
    bridge: str = ""
    network: str = ""
    packed: bool = False
    mrg_rxbuf: bool = True
    ring_size: int = 256
    announces: bool = True
    msix: bool = True
    people: bool = True
    cpu_model: str = ""
    bound: bool = False
    incoming: str = ""
    image: Image | None = None
    data: Path | None = None
