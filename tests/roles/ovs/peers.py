"""Peers of a switch: network namespaces with one veth each, and raw frames between them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence

from orrery.network.namespace import Namespace

ETHERTYPE = 0x88B5  # for local experiments (IEEE 802)
BROADCAST = b"\xff" * 6
DEADLINE_S = 10.0
QUIET_S = 0.3


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=20)


class Peer:
    """One namespace whose `eth0` is wired to `veth-<name>` in the lab's namespace."""

    def __init__(self, lab: str, name: str) -> None:
        self.namespace = Namespace(f"{lab}-{name}")
        self.port = f"veth-{name}"
        self.lab = lab

    def make(self) -> None:
        space = self.namespace.name
        ip("netns", "add", space)
        wires = ["type", "veth", "peer", "name", "eth0", "netns", space]
        ip("-n", self.lab, "link", "add", self.port, *wires)
        ip("-n", self.lab, "link", "set", self.port, "up")
        ip("-n", space, "link", "set", "eth0", "up")

    def remove(self) -> None:
        self.namespace.remove()

    @contextlib.contextmanager
    def open(self, interface: str = "eth0") -> Iterator[socket.socket]:
        """A socket that sends and hears frames of ETHERTYPE on one of its interfaces."""
        with self.namespace.entered():
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        with wire:
            wire.bind((interface, ETHERTYPE))
            wire.setblocking(False)
            yield wire


def drain(wire: socket.socket) -> list[bytes]:
    """Texts of the frames that came in since the last look."""
    texts = []
    with contextlib.suppress(BlockingIOError):
        while True:
            frame, address = wire.recvfrom(2048)
            if address[2] != socket.PACKET_OUTGOING:
                texts.append(frame[14:].rstrip(b"\0"))
    return texts


def send(wire: socket.socket, text: bytes) -> None:
    source = wire.getsockname()[4]
    wire.send(BROADCAST + source + ETHERTYPE.to_bytes(2, "big") + text.ljust(50, b"\0"))


def heard_by(
    sender: socket.socket, hearers: Sequence[socket.socket], needed: int, text: bytes
) -> list[bool]:
    """Who hears what is sent; ends a while after the needed ones did.

    The same text is sent again and again: the first frames of a tunnel are lost while its end is
    looked for.
    """
    heard = [False] * len(hearers)
    end = time.monotonic() + DEADLINE_S
    stop = end
    while time.monotonic() < min(end, stop):
        send(sender, text)
        time.sleep(0.05)
        heard = [was or text in drain(one) for was, one in zip(heard, hearers, strict=True)]
        if heard[needed] and stop == end:
            stop = time.monotonic() + QUIET_S
    return heard
