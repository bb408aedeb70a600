"""What announces a guest on its new port: gratuitous ARP and RARP, as the host's own port sees it.

They are broadcast, so that they arrive at the bridge's interface in the lab's namespace; a switch
that has forwarded them has learned by them. The kernel stamps them when they arrive.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orrery.errors import HostError
from orrery.network.namespace import Namespace

ETH_P_ARP = 0x0806
ETH_P_RARP = 0x8035
# socket(7), packet(7): numbers that Python's socket does not name.
_SO_TIMESTAMPNS = 35
_STAMP = struct.Struct("qq")
_HEADER = 14
_WAIT_S = 0.2
_NAMES = {ETH_P_ARP: "ARP", ETH_P_RARP: "RARP"}


@dataclass(frozen=True)
class Announcement:
    """A frame that says where a guest is.

    Attributes:
        kind: `ARP` or `RARP`.
        at_ns: CLOCK_REALTIME of the host [ns].
    """

    kind: str
    at_ns: int


class Watch:
    """Frames of one guest that were seen so far."""

    def __init__(self, receivers: Sequence[socket.socket], mac: str) -> None:
        self._receivers = receivers
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.seen: list[Announcement] = []

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no longer."""
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        while not self._stop.is_set():
            for receiver in select.select(self._receivers, (), (), _WAIT_S)[0]:
                # The interface goes with the switch.
                with contextlib.suppress(OSError):
                    frame, stamps, _, _ = receiver.recvmsg(128, 64)
                    found = announcement(frame, self._mac, stamps)
                    self.seen += [found] if found is not None else []


def announcement(
    frame: bytes, mac: bytes, stamps: list[tuple[int, int, bytes]]
) -> Announcement | None:
    """What a frame announces; None where it is another's, or of another kind."""
    if len(frame) < _HEADER or frame[6:12] != mac or not frame[0] & 1:
        return None
    kind = _NAMES.get(struct.unpack_from("!H", frame, 12)[0])
    times = [data for _, what, data in stamps if what == _SO_TIMESTAMPNS]
    if kind is None or not times:
        return None
    seconds, nanoseconds = _STAMP.unpack(times[0][: _STAMP.size])
    return Announcement(kind, seconds * 1_000_000_000 + nanoseconds)


@contextlib.contextmanager
def watched(namespace: Namespace, interface: str, mac: str) -> Iterator[Watch]:
    """Look at what a guest announces, at an interface in the lab's namespace.

    Raises:
        HostError: The interface is not there, or we are not root.
    """
    with contextlib.ExitStack() as stack:
        receivers = []
        try:
            with namespace.entered():
                # Each of its own kind, so that nothing of the other traffic reaches us.
                for kind in _NAMES:
                    receiver = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
                    receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
                    receiver.bind((interface, kind))
                    receiver.setblocking(False)
                    receivers.append(receiver)
        except OSError as error:
            raise HostError(f"frames at {interface} cannot be read: {error.strerror}") from error
        watch = Watch(receivers, mac)
        watch.start()
        try:
            yield watch
        finally:
            watch.stop()
