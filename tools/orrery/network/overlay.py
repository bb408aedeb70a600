"""What is around the frames between two guests: a VLAN, a patch between bridges, or a VXLAN tunnel.

Both ends of the tunnel are in the lab's one switch. The switch looks up the way to the other end
by its routing table, and there the kernel's own addresses come first: the other end's address is
one of this machine, so that nothing would leave. Packets of a tunnel port can carry a mark
(`egress_pkt_mark`), and a route with a mark is found by such packets only. Each end has a mark, and
a route over its own lower bridge:

    guest - vxlan-a ~ tunnel ~ under-a = patch = under-b ~ tunnel ~ vxlan-b - guest

The PMD puts the outer headers on, finds the way through both lower bridges, takes the headers off
and looks the packet up a second time. What a wire and two NICs would add is not there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orrery.errors import HostError, OrreryError
from orrery.guest.registry import PROC, alive
from orrery.network.layout import Layout, part, switch
from orrery.network.namespace import Namespace
from orrery.network.scenario import Overlay
from orrery.network.switch import Switch
from orrery.state import LabState

MARK = "orrery_overlay"
"""Key in `external_ids` of bridges that are made here; the value is the process that needs them."""
TAG = 100
MTU = 1500
OUTER_BYTES = 50
"""Ethernet, IPv4, UDP and VXLAN in front of a frame (RFC 7348, 5): 14 + 20 + 8 + 8."""
VNI = 4097
PORT = "up-{}"
# proc(5), field 22; of the fields behind the name.
_STARTTIME = 19


@dataclass(frozen=True)
class End:
    """One end of a tunnel.

    Attributes:
        bridge: With the guest and the tunnel's port.
        under: Bridge that the outer packets leave by.
        address: Of the end, on that bridge.
        mark: That its packets carry inside of the switch.
    """

    bridge: str
    under: str
    address: str
    mark: int


ENDS = (
    End("vxlan-a", "under-a", "172.31.255.1", 1),
    End("vxlan-b", "under-b", "172.31.255.2", 2),
)
PREFIX = 30
PATCHED = ("patch-a", "patch-b")
BRIDGES = {
    Overlay.VLAN: (),
    Overlay.PATCH: PATCHED,
    Overlay.VXLAN: tuple(name for end in ENDS for name in (end.bridge, end.under)),
}


def _nothing() -> None:
    return


@dataclass(frozen=True)
class Laid:
    """An overlay that is there.

    Attributes:
        near, far: Bridges for the two guests.
        vlan: Tag for the guests' ports; None for none.
        mtu: Of the guests, so that a frame with what is around it fits 1500 [bytes].
        hold: Have what the switch forgets when it is started anew, and a tunnel's neighbours, which
            it forgets after 15 minutes without traffic. Cheap, and may be called at any time.
        under: Port that all packets from one end to the other pass; empty where there is none.
    """

    kind: Overlay
    near: str
    far: str
    vlan: int | None = None
    mtu: int = MTU
    under: str = ""
    hold: Callable[[], None] = field(default=_nothing, compare=False)

    def carried(self, this: Switch) -> tuple[int, int]:
        """Packets and bytes that went from one bridge to the other so far, both ways.

        The switch adds up what its flows counted about once a second. In a tunnel a packet is
        50 bytes longer than what the guest sent.
        """
        if not self.under:
            return 0, 0
        bridge = self.near if self.kind is Overlay.PATCH else ENDS[0].under
        return this.traffic(bridge, self.under)


@contextlib.contextmanager
def laid(state: LabState, kind: Overlay) -> Iterator[Laid]:
    """Have an overlay between two guests; they start on `near` and `far` (`Wish.bridge`).

    Overlays of different kinds can be there at once. Stop the guests before the end of the block.

    Raises:
        HostError: Another process of this lab has it, or the switch refuses something.
    """
    own = str(part(state, "ovs")["bridge"])
    if kind is Overlay.VLAN:
        yield Laid(kind, own, own, vlan=TAG)
        return
    this = switch(state)
    _claim(this, kind)
    try:
        yield _patch(this) if kind is Overlay.PATCH else _tunnel(this, Layout.of(state).namespace)
    finally:
        _remove(this, kind)


def sweep(state: LabState) -> list[str]:
    """Remove overlays whose process is gone; names of their bridges."""
    this = switch(state)
    there = {one.name: one.marks.get(MARK, "") for one in this.bridges()}
    left = []
    for kind, names in BRIDGES.items():
        found = [name for name in names if there.get(name) and not _lives(there[name])]
        if found:
            _remove(this, kind)
        left += found
    return left


def _claim(this: Switch, kind: Overlay) -> None:
    """Make the bridges of an overlay, with this process's mark."""
    there = {one.name: one.marks.get(MARK, "") for one in this.bridges()}
    for name in BRIDGES[kind]:
        owner = there.get(name)
        if owner is None:
            continue
        if not owner:
            raise HostError(
                f"overlay {kind}: the lab's switch has a bridge {name} that is not of the lab's "
                "making. Take it out of ovs_bridges and run ./lab up, or remove it."
            )
        if _lives(owner):
            raise HostError(
                f"overlay {kind}: process {owner.partition(':')[0]} has it (bridge {name}). "
                "Wait until that measurement has ended, or end it."
            )
    if any(name in there for name in BRIDGES[kind]):
        _remove(this, kind)
    made: list[str] = []
    try:
        for name in BRIDGES[kind]:
            this.add_bridge(name, datapath="netdev", marks={MARK: _owner(os.getpid())})
            made.append(name)
    except BaseException:
        for name in made:
            this.remove_bridge(name)
        raise


def _patch(this: Switch) -> Laid:
    _join(this, *PATCHED)
    return Laid(Overlay.PATCH, *PATCHED, under=PORT.format(PATCHED[0]))


def _tunnel(this: Switch, namespace: Namespace) -> Laid:
    near, far = ENDS
    _join(this, near.under, far.under)
    for end, other in ((near, far), (far, near)):
        # Without local_ip: the switch would look for that address among the marked routes, too.
        options = {
            "remote_ip": other.address,
            "key": str(VNI),
            "egress_pkt_mark": str(end.mark),
        }
        this.add_port(end.bridge, f"vx-{end.bridge}", kind="vxlan", options=options)

    def hold() -> None:
        _hold(this, namespace)

    hold()
    return Laid(
        Overlay.VXLAN,
        near.bridge,
        far.bridge,
        mtu=MTU - OUTER_BYTES,
        under=PORT.format(near.under),
        hold=hold,
    )


def _join(this: Switch, one: str, other: str) -> None:
    """Join two bridges by a pair of ports; at once, since neither is anything without the other."""
    words: list[str] = []
    for here, there in ((one, other), (other, one)):
        port, peer = PORT.format(here), PORT.format(there)
        words += ["--", "add-port", here, port]
        words += ["--", "set", "Interface", port, "type=patch", f"options:peer={peer}"]
    this.vsctl(*words)


def _hold(this: Switch, namespace: Namespace) -> None:
    near, far = ENDS
    for end in ENDS:
        # Without an IPv6 address the kernel says nothing there, and only outer packets are counted.
        namespace.ip("link", "set", end.under, "addrgenmode", "none")
        namespace.have_address(end.under, f"{end.address}/{PREFIX}")
    links = namespace.links()
    for end, other in ((near, far), (far, near)):
        mac = str(links[other.under]["address"])
        this.appctl("ovs/route/add", f"{other.address}/32", end.under, f"pkt_mark={end.mark}")
        # The other end is this machine itself, and the kernel does not answer itself.
        this.appctl("tnl/neigh/set", end.under, other.address, mac)


def _remove(this: Switch, kind: Overlay) -> None:
    """Be without an overlay, whatever of it is there."""
    if kind is Overlay.VXLAN:
        for end, other in (ENDS, ENDS[::-1]):
            # A switch that was started anew has forgotten it.
            with contextlib.suppress(OrreryError):
                this.appctl("ovs/route/del", f"{other.address}/32", f"pkt_mark={end.mark}")
    for name in BRIDGES[kind]:
        this.remove_bridge(name)


def _owner(pid: int) -> str:
    """A process by its number and when it was started, since numbers come again."""
    text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    return f"{pid}:{text.rpartition(')')[2].split()[_STARTTIME]}"


def _lives(owner: str) -> bool:
    pid = owner.partition(":")[0]
    try:
        return pid.isdigit() and alive(int(pid)) and _owner(int(pid)) == owner
    except OSError:
        return False
