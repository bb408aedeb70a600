"""Two ports of a bridge for testpmd: vhost-user sockets, or veth pairs in the lab's namespace.

Everything is named by its backend and its rings, so that several are there side by side, and what a
killed run left is known and taken away.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from orrery import shell
from orrery.errors import HostError
from orrery.network.backends import Backend
from orrery.network.layout import Layout, switch
from orrery.network.namespace import Namespace
from orrery.network.switch import TIMEOUT_S, Switch
from orrery.state import LabState

MARK = "orrery_engine"
"""Key in `external_ids` of a bridge of this room, with the lab's name."""
BRIDGE = "br-eng-"
PORT = "eng-"
"""What the names of its bridges and ports begin with."""
QUEUE_SIZE = 256
"""Descriptors of a ring, as guests have them."""
SHORT = {
    Backend.ENGINE_VHOST_USER: "vu",
    Backend.ENGINE_AF_PACKET_OVS: "af",
    Backend.ENGINE_BRIDGE: "lx",
}
# virtio 1.1, 6: numbers of feature bits
_RING_PACKED, _MRG_RXBUF = 34, 15
_IPV6_OFF = Path("/proc/sys/net/ipv6/conf")
_LINK = re.compile(rf"{BRIDGE}(?P<bridge>.+)|{PORT}(?P<port>.+?)[01]t?")
PROBE_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Ring:
    """How a virtio ring is laid out.

    Attributes:
        packed: Whether it has the packed layout (virtio 1.1, 2.7).
        mrg_rxbuf: Whether a packet may span buffers.
    """

    queues: int = 1
    packed: bool = False
    mrg_rxbuf: bool = True

    @property
    def suffix(self) -> str:
        """What tells names apart: `2`, `p`, `ps`; empty for one pair of the usual layout."""
        words = [str(self.queues) if self.queues != 1 else ""]
        words += ["p" if self.packed else "", "" if self.mrg_rxbuf else "s"]
        return "".join(words)

    @property
    def options(self) -> str:
        """For testpmd's virtio-user device; what the layout allows is used."""
        words = [f"queues={self.queues}", f"queue_size={QUEUE_SIZE}"]
        words += [f"packed_vq={int(self.packed)}", f"mrg_rxbuf={int(self.mrg_rxbuf)}"]
        # Buffers come back in their order; only so, and without joined buffers, the PMD has its
        # vectorized path (DPDK, virtio PMD, "Virtio paths Selection and Usage").
        words += ["in_order=1"]
        words += ["vectorized=1"] if self.packed and not self.mrg_rxbuf else []
        return ",".join(words)


@dataclass(frozen=True)
class Wiring:
    """Bridge and ports of one backend.

    Attributes:
        generation: Part of the names of vhost-user ports, another one each time: a port that could
            not be opened once, since a killed switch had left its socket, never can be later on.
            (DPDK 22.11: "failed to bind: Socket operation on non-socket".)
    """

    state: LabState
    backend: Backend
    ring: Ring
    generation: str = ""

    @property
    def label(self) -> str:
        """What it is called in messages, and known by among processes."""
        return f"{self.backend} {self.ring.suffix}".strip()

    @property
    def short(self) -> str:
        """Part of all its names."""
        return SHORT[self.backend] + self.ring.suffix

    @property
    def bridge(self) -> str:
        """Its bridge."""
        return f"{BRIDGE}{self.short}"

    @property
    def ports(self) -> tuple[str, str]:
        """The bridge's ports."""
        stem = f"{PORT}{self.short}{self.generation if self.shared else ''}"
        return (f"{stem}0", f"{stem}1")

    @property
    def devices(self) -> tuple[str, ...]:
        """What testpmd drives, as `--vdev` wants it."""
        return tuple(self._device(number, port) for number, port in enumerate(self.ports))

    @property
    def shared(self) -> bool:
        """Whether packets are in memory that the switch reads."""
        return self.backend is Backend.ENGINE_VHOST_USER

    @property
    def on_switch(self) -> bool:
        """Whether Open vSwitch forwards."""
        return self.backend is not Backend.ENGINE_BRIDGE

    @property
    def namespace(self) -> Namespace:
        """The lab's."""
        return Layout.of(self.state).namespace

    @property
    def switch(self) -> Switch:
        """The lab's."""
        return switch(self.state)

    def renewed(self) -> Self:
        """The same, with other names of vhost-user ports."""
        return replace(self, generation=f"-{secrets.token_hex(2)}-")

    def make(self) -> None:
        """Have bridge and ports, new ones.

        Raises:
            HostError: Something of it cannot be made, or somebody else's bridge has the name.
        """
        Layout.of(self.state).restore()
        self.remove()
        if not self.shared:
            self._make_pairs()
        if self.on_switch:
            self._make_on_switch()
        else:
            self._make_linux()

    def remove(self) -> None:
        """Be without them.

        Raises:
            HostError: Somebody else's bridge has the name.
        """
        if self.on_switch:
            there = {one.name: one for one in self.switch.bridges()}.get(self.bridge)
            if there is not None and there.marks.get(MARK) != self.state.lab_name:
                raise HostError(
                    f"the lab's switch has a bridge {self.bridge} that is not of the lab's making. "
                    "Rename it in ovs_bridges, or remove it."
                )
            self.switch.remove_bridge(self.bridge)
            # A killed switch leaves its sockets.
            forget_sockets(self.switch, self.short)
        if not self.namespace.exists():
            return
        links = self.namespace.links()
        for name in (*self.ports, self.bridge):
            if name in links and not (self.on_switch and name == self.bridge):
                self.namespace.ip("link", "delete", name)

    def waiting_for(self) -> str:
        """What does not forward yet; empty when all does."""
        if self.on_switch:
            down = [port for port in self.ports if self.switch.link(port) != "up"]
            down += [] if down or not self.shared else self._unpolled()
        else:
            links = self.namespace.links()
            about = {port: links.get(port, {}).get("linkinfo", {}) for port in self.ports}
            states = {port: one.get("info_slave_data", {}) for port, one in about.items()}
            down = [port for port in self.ports if states[port].get("state") != "forwarding"]
        return " and ".join(down)

    def read_back(self) -> dict[str, str]:
        """How the rings are, as the switch took them; nothing where there are none."""
        return self._rings(self.ports[0]) if self.shared else {}

    def _rings(self, name: str) -> dict[str, str]:
        port = self.switch.port(name)
        features = int((port.status if port else {}).get("features", "0"), 16)
        return {
            "ring": "packed" if features >> _RING_PACKED & 1 else "split",
            "mrg_rxbuf": "on" if features >> _MRG_RXBUF & 1 else "off",
            "queue_size": str(QUEUE_SIZE),
        }

    @contextlib.contextmanager
    def forwarding(self) -> Iterator[None]:
        """Have everything but testpmd forward, for a trial."""
        yield

    def why(self) -> str:
        """What the switch's log says."""
        return self.switch.why() if self.on_switch else ""

    def _device(self, number: int, port: str) -> str:
        if self.shared:
            return f"net_virtio_user{number},path={self._socket(port)},{self.ring.options}"
        return f"net_af_packet{number},iface={port}t,qpairs={self.ring.queues}"

    def _socket(self, port: str) -> Path:
        return Path(self.switch.control).parent / port

    def _unpolled(self) -> list[str]:
        enabled = [one.port for one in self.switch.polled() if one.enabled]
        return [port for port in self.ports if enabled.count(port) < self.ring.queues]

    def _make_on_switch(self) -> None:
        self._add_bridge()
        for port in self.ports:
            self._add_port(port)
        self._join(self.ports)

    def _add_bridge(self) -> None:
        self.switch.add_bridge(self.bridge, datapath="netdev", marks={MARK: self.state.lab_name})
        self.switch.vsctl("set-fail-mode", self.bridge, "secure")

    def _add_port(self, port: str) -> None:
        words = ["add-port", self.bridge, port]
        # The switch is the server here: with testpmd as the server, rings stay without a driver
        # (DRIVER_OK) in DPDK 22.11.
        kind = ["--", "set", "Interface", port, "type=dpdkvhostuser"]
        self.switch.vsctl(*words, *(kind if self.shared else []))
        made = self.switch.port(port)
        if made is None or made.error:
            said = made.error if made else "it is gone at once"
            raise HostError(f"port {port} on {self.bridge}: {said}{self.switch.why()}")

    def _join(self, ports: tuple[str, str]) -> None:
        """Let the bridge send what comes in at one port out at the other."""
        this = self.switch
        management = f"unix:{Path(this.control).with_name(f'{self.bridge}.mgmt')}"
        numbers = [this.vsctl("get", "Interface", port, "ofport").strip() for port in ports]
        for source, target in (numbers, reversed(numbers)):
            flow = f"in_port={source},actions=output:{target}"
            argv = ["ovs-ofctl", f"--timeout={TIMEOUT_S}", "add-flow", management, flow]
            shell.run(argv, timeout_s=TIMEOUT_S + 5)

    def _make_linux(self) -> None:
        ip = self.namespace.ip
        ip("link", "add", self.bridge, "type", "bridge", "forward_delay", "0", "stp_state", "0")
        ip("link", "set", self.bridge, "alias", Layout.of(self.state).mark)
        self._silence(self.bridge)
        ip("link", "set", self.bridge, "type", "bridge", "mcast_snooping", "0")
        for port in self.ports:
            ip("link", "set", port, "master", self.bridge)
        ip("link", "set", self.bridge, "up")

    def _make_pairs(self) -> None:
        for port in self.ports:
            ends = (port, f"{port}t")
            words = ["link", "add", ends[0], "type", "veth", "peer", "name", ends[1]]
            self.namespace.ip(*words)
            for end in ends:
                self._silence(end)
                self.namespace.ip("link", "set", end, "up")

    def _silence(self, name: str) -> None:
        """Keep the kernel from sending anything of its own: it would circulate for ever."""
        with self.namespace.entered():
            path = _IPV6_OFF / name / "disable_ipv6"
            if path.exists():
                path.write_text("1\n", encoding="ascii")


def bridge_of(link: str) -> str:
    """The bridge that an interface of this room belongs to, or is; empty for any other."""
    found = _LINK.fullmatch(link)
    return f"{BRIDGE}{found['bridge'] or found['port']}" if found else ""


def forget_sockets(this: Switch, short: str) -> None:
    """Remove sockets that a killed switch has left."""
    for left in Path(this.control).parent.glob(f"{PORT}{short}-*"):
        left.unlink(missing_ok=True)


def forget_dead_sockets(folder: Path) -> list[Path]:
    """Remove sockets of all ports at which no switch listens any more; which those were.

    To be done before a switch starts that has such ports: DPDK 22.11 refuses to listen at a name
    that is there, and closes the descriptor that it did not get once more when the port goes,
    whatever that number stands for by then. The switch then spins at it ("Bad file descriptor").
    """
    dead = [path for path in sorted(folder.glob(f"{PORT}*")) if _is_dead(path)]
    for path in dead:
        path.unlink(missing_ok=True)
    return dead


def _is_dead(path: Path) -> bool:
    """Whether it is a socket, and nobody listens at it."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PROBE_TIMEOUT_S)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
    return False
