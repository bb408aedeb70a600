"""What one measurement on the network is: the parameters of a scenario."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from orrery.errors import ConfigurationError
from orrery.measure.scenario import Scenario
from orrery.network.backends import PATHS, QUEUE_PAIRS, RING_SIZES, Backend

FRAMES = (64, 256, 512, 1024, 1280, 1518)
"""Sizes of Ethernet frames with FCS [bytes] (RFC 2544, 9.1)."""
IMIX = "imix"
LARGEST_MTU = 9000
TUNNEL_MTU = 1450


class Path(StrEnum):
    """Between whom packets travel."""

    GUEST_GUEST = "guest-guest"
    GUEST_HOST = "guest-host"
    GUEST_PEER = "guest-peer"
    """A machine on the LAN that the inventory names (`lab_lan_peers`)."""
    PVP = "pvp"
    """Generator, guest that forwards, generator (RFC 8204, 4)."""
    ENGINE = "engine"
    """Two ports of a bridge and no guest."""


class Traffic(StrEnum):
    """What is sent."""

    TCP = "tcp"
    UDP = "udp"
    LATENCY = "latency"
    PING = "ping"
    NETPERF = "netperf"
    RFC2544 = "rfc2544"
    FORWARD = "forward"
    """Packets that circulate between two ports as fast as they can."""


class Direction(StrEnum):
    """Who sends, seen from the guest."""

    FORWARD = "forward"
    BACKWARD = "backward"
    BOTH = "both"


class Offloads(StrEnum):
    """Which offloads of the path are on."""

    NONE = "none"
    """No segmentation, no open checksums on any side: every frame is a frame everywhere."""
    NATIVE = "native"
    """What the path offers."""


class Overlay(StrEnum):
    """What is around the frames."""

    VLAN = "vlan"
    PATCH = "patch"
    """Two bridges joined by a patch port: what the tunnel is compared with."""
    VXLAN = "vxlan"
    """Two bridges joined by a VXLAN tunnel."""


class Pinning(StrEnum):
    """Where the threads of QEMU may run."""

    NONE = "none"
    APART = "apart"
    """Each guest on a processor of its own, in turns, PMDs' last."""


@dataclass(frozen=True)
class NetScenario(Scenario):
    """One measurement between two places.

    Attributes:
        seconds: Of a trial [s]; of a step where a load is searched.
        streams: Of TCP.
        frame: Size with FCS [bytes] as text, or `imix`.
        queues: Queue pairs; a guest has as many CPUs.
        mtu: Of the measured interfaces [bytes]; None leaves 1500.
        packed: Whether rings have the packed layout (virtio 1.1, 2.7).
        mrg_rxbuf: Whether a packet may span buffers; None leaves it on.
        ring_size: Descriptors of a ring; None leaves 256.
        pmd_sleep_us: Longest sleep of an idle PMD [us]; None leaves the lab's.
        loss: Share of packets that may be lost (RFC 2544, 26.1).
    """

    kind: ClassVar[str] = "net"

    backend: Backend
    path: Path
    traffic: Traffic
    seconds: int = 2
    direction: Direction | None = None
    streams: int | None = None
    frame: str | None = None
    queues: int = 1
    offloads: Offloads = Offloads.NONE
    mtu: int | None = None
    overlay: Overlay | None = None
    packed: bool | None = None
    mrg_rxbuf: bool | None = None
    ring_size: int | None = None
    pinning: Pinning | None = None
    pmd_sleep_us: int | None = None
    loss: float | None = None

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigurationError: Two parameters contradict each other, or one is out of range.
        """
        for wrong, why in self._faults():
            if wrong:
                raise ConfigurationError(f"scenario '{self.name}': {why}")

    def _faults(self) -> list[tuple[bool, str]]:
        engine = self.path is Path.ENGINE
        route = PATHS[self.backend]
        sized = self.traffic in (Traffic.UDP, Traffic.RFC2544, Traffic.FORWARD)
        frames = (*map(str, FRAMES), IMIX)
        return [
            (engine == route.guest, f"path {self.path} does not go with backend {self.backend}"),
            (
                (self.traffic is Traffic.FORWARD) != (engine or self.path is Path.PVP),
                f"traffic {self.traffic} does not go with path {self.path}",
            ),
            (
                (self.frame is not None) != sized or (sized and self.frame not in frames),
                f"frame is '{self.frame}'; udp, rfc2544 and forward take one of "
                f"{', '.join(frames)}, other traffic none",
            ),
            (
                (self.traffic is Traffic.TCP) != (self.streams is not None)
                or not 1 <= (self.streams or 1) <= 128,
                f"streams is {self.streams}; tcp takes 1 to 128, other traffic none",
            ),
            (
                self.direction is not None and self.traffic is not Traffic.TCP,
                f"direction {self.direction} is for tcp",
            ),
            (
                (self.traffic is Traffic.RFC2544) != (self.loss is not None)
                or not 0 <= (self.loss or 0) < 1,
                f"loss is {self.loss}; rfc2544 takes 0 to 1, other traffic none",
            ),
            (
                self.path in (Path.ENGINE, Path.PVP)
                and (
                    self.offloads is not Offloads.NONE
                    or any((self.mtu, self.overlay, self.pinning, self.ring_size))
                ),
                f"path {self.path} takes none of mtu, overlay, pinning, ring_size and "
                "offloads: native",
            ),
            (
                self.path is Path.PVP and self.queues != 1,
                f"queues is {self.queues}; testpmd in the guest has one forwarding thread: take 1",
            ),
            (
                self.overlay is Overlay.VXLAN and (self.mtu or 1500) > TUNNEL_MTU,
                f"mtu is {self.mtu or 1500}; headers of VXLAN take 50 bytes of 1500: take "
                f"{TUNNEL_MTU} or less",
            ),
            (
                (self.mtu or 0) > 1500 and self.path is not Path.GUEST_GUEST,
                f"mtu is {self.mtu}; more than 1500 goes from guest to guest only",
            ),
            (self.queues not in QUEUE_PAIRS, f"queues is {self.queues}; {QUEUE_PAIRS} are there"),
            (not 1 <= self.seconds <= 3600, f"seconds is {self.seconds}; 1 to 3600 are needed"),
            (
                not 576 <= (self.mtu or 1500) <= LARGEST_MTU,
                f"mtu is {self.mtu}; 576 to {LARGEST_MTU} are needed",
            ),
            (
                self.ring_size is not None
                and (self.ring_size not in RING_SIZES or self.backend is not Backend.VHOST_USER),
                f"ring_size is {self.ring_size}; vhost-user takes one of {RING_SIZES}",
            ),
            (
                self.overlay is not None
                and (self.backend is not Backend.VHOST_USER or self.path is not Path.GUEST_GUEST),
                f"overlay {self.overlay} goes from guest to guest over vhost-user",
            ),
            (
                self.pmd_sleep_us is not None and not 0 <= self.pmd_sleep_us <= 10_000,
                f"pmd_sleep_us is {self.pmd_sleep_us}; 0 to 10000 are needed",
            ),
        ]
