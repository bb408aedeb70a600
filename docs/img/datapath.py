"""The pictures of docs/networking.md: `python docs/img/datapath.py` writes them beside this file.

Each function draws one picture. `tests/unit/docs` compares the names in them with the code.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from drawing import Area, Arrow, Box, Item, Note, Picture

FOLDER = Path(__file__).parent
WIDTH = 760
INSIDE = "network namespace orrery"
OUTSIDE = "the host's namespace"
UNTOUCHED = ("docker0, iptables,", "the host's bridges,", "the host's Open vSwitch")


def _named(x: int, y: int, width: int, height: int, name: str, *lines: str) -> Box:
    """Something that has this name in the system."""
    return Box(x, y, width, height, name, lines, mono=True)


def _main(x: int, y: int, width: int, height: int, title: str, *lines: str) -> Box:
    """What the picture is about."""
    return Box(x, y, width, height, title, lines, "strong")


def _bridge(x: int, y: int, width: int, height: int, name: str, *lines: str) -> Box:
    """A bridge, or what else the picture is about, by its name in the system."""
    return Box(x, y, width, height, name, lines, "strong", mono=True)


def overview() -> Picture:
    """Where everything is."""
    items: list[Item] = [
        Area(20, 20, 720, 170, OUTSIDE, "frame", indent=458),
        Box(40, 40, 140, 84, "guest a", ("QEMU,", "vhost-user")),
        Box(200, 40, 140, 84, "guest b", ("QEMU,", "virtio-net-ovs")),
        Box(360, 40, 140, 84, "guest c", ("QEMU, virtio-net", "or vhost-net")),
        Box(520, 40, 200, 84, "not touched", UNTOUCHED),
        Area(20, 260, 720, 170, INSIDE, "network"),
        _bridge(40, 280, 300, 102, "br-ovs", "Open vSwitch, DPDK", "10.161.34.1/24", "vh-a, tap-b"),
        _bridge(360, 280, 360, 102, "br-lan", "Linux bridge", "10.161.35.1/24", "tap-c"),
        Arrow(((110, 124), (110, 276)), "shared memory", (120, 226), both_ways=True),
        Arrow(((270, 124), (270, 276)), "tap", (280, 226), both_ways=True),
        Arrow(((430, 124), (430, 276)), "tap", (440, 226), both_ways=True),
    ]
    description = (
        "QEMU runs in the host's own namespace. The bridges br-ovs and br-lan and all taps are in "
        "the namespace orrery. The host's bridges, packet filter and Open vSwitch are not touched."
    )
    return Picture(WIDTH, 450, "Guests, bridges and the lab's namespace", description, items)


def vhost_user() -> Picture:
    """Guest to guest and guest to host through shared memory."""
    items: list[Item] = [
        Area(20, 20, 720, 242, OUTSIDE, "frame", indent=286),
        Area(20, 308, 720, 346, f"Open vSwitch in the {INSIDE}", "network"),
    ]
    for x, name, last in ((40, "a", 11), (400, "b", 12)):
        nic = f"eth0 10.161.34.{last}/24, driver virtio_net"
        items += [
            Box(x, 36, 320, 62, f"guest {name}", (nic,)),
            _main(
                x, 136, 196, 84, "memory, share=on", "rings and buffers,", "mapped by the switch"
            ),
            _named(x + 216, 136, 104, 84, f"{name}.sock", "QEMU", "listens"),
            Arrow(((x + 98, 98), (x + 98, 132)), both_ways=True),
            _named(x, 334, 320, 62, f"vh-{name}", "type dpdkvhostuserclient"),
            Arrow(((x + 98, 220), (x + 98, 330)), "packets", (x + 34, 292), both_ways=True),
            Arrow(((x + 252, 334), (x + 252, 224)), "connects", (x + 184, 292), dashed=True),
        ]
    items += [
        _main(40, 452, 320, 62, "PMD thread on CPU 1", "polls the rings, copies both ways"),
        Box(40, 556, 320, 62, "mempool", ("packet buffers in the lab's huge pages",)),
        Box(400, 452, 320, 62, "main thread on CPU 0", ("sends what comes from br-ovs",)),
        _named(400, 556, 320, 62, "br-ovs", "the host's side: 10.161.34.1/24"),
        Arrow(((160, 396), (160, 448)), both_ways=True),
        Arrow(((440, 396), (440, 424), (280, 424), (280, 448)), both_ways=True),
        Arrow(((200, 514), (200, 552)), both_ways=True),
        Arrow(((560, 452), (560, 400))),
        Arrow(((360, 483), (380, 483), (380, 586), (396, 586))),
        Arrow(((560, 556), (560, 518))),
    ]
    description = (
        "Each QEMU listens on a socket; the switch connects to it and gets the guest's memory and "
        "rings. A polling thread copies packets between rings and its own buffers in huge pages. "
        "The host's side is the internal port br-ovs, which the main thread serves."
    )
    title = "vhost-user: the switch reads and writes the guests' memory"
    return Picture(WIDTH, 674, title, description, items)


def _tap(
    guest: Box,
    copier: Box,
    beside: Sequence[Item],
    tap: Box,
    bridge: Box,
    peers: Sequence[str],
) -> list[Item]:
    """The three paths that go through a tap have one shape, so that they can be compared."""
    return [
        Area(20, 20, 720, 152, OUTSIDE, "frame"),
        Area(20, 236, 720, 156, INSIDE, "network"),
        guest,
        copier,
        *beside,
        tap,
        bridge,
        Box(560, 252, 160, 90, "others", peers),
        Arrow(((220, 81), (266, 81)), both_ways=True),
        Arrow(((380, 126), (380, 204), (130, 204), (130, 248)), both_ways=True),
        Note(520, 208, "descriptor, opened in the namespace"),
        Arrow(((220, 297), (266, 297)), both_ways=True),
        Arrow(((490, 297), (556, 297)), both_ways=True),
    ]


def tap_bridge() -> Picture:
    """virtio-net on a tap on a Linux bridge."""
    items = _tap(
        Box(40, 36, 180, 90, "guest c", ("eth0 10.161.35.11/24", "driver virtio_net")),
        _main(270, 36, 220, 90, "QEMU", "copies between rings", "and tap"),
        [Box(560, 36, 160, 90, "offloads", ("segments up to", "64 kB pass whole"))],
        _named(40, 252, 180, 90, "tap-c", "vnet_hdr on"),
        _bridge(270, 252, 220, 90, "br-lan", "Linux bridge", "10.161.35.1/24"),
        ("other taps;", "host programs at", "10.161.35.1"),
    )
    description = (
        "QEMU copies packets between the guest's rings and the tap, which is a port of the Linux "
        "bridge br-lan in the lab's namespace."
    )
    return Picture(WIDTH, 412, "virtio-net: a tap on a Linux bridge", description, items)


def tap_ovs() -> Picture:
    """virtio-net on a tap on Open vSwitch."""
    items = _tap(
        Box(40, 36, 180, 90, "guest b", ("eth0 10.161.34.11/24", "driver virtio_net")),
        _main(270, 36, 220, 90, "QEMU", "copies between rings", "and tap"),
        [Box(560, 36, 160, 90, "no offloads", ("each packet has", "at most the MTU"))],
        _named(40, 252, 180, 90, "tap-b", "vnet_hdr off"),
        _bridge(270, 252, 220, 90, "br-ovs", "main thread: AF_PACKET", "socket on tap-b"),
        ("vh-a, other taps;", "host programs at", "10.161.34.1"),
    )
    description = (
        "QEMU copies packets between the guest's rings and the tap. The main thread of the lab's "
        "Open vSwitch reads and writes the tap through an AF_PACKET socket."
    )
    return Picture(WIDTH, 412, "virtio-net-ovs: a tap on Open vSwitch", description, items)


def vhost_net() -> Picture:
    """A tap whose packets the kernel copies."""
    items = _tap(
        Box(40, 36, 180, 90, "guest d", ("eth0 10.161.35.11/24", "driver virtio_net")),
        _main(
            270, 36, 220, 90, "kernel: vhost-net", "a kernel thread copies", "between rings and tap"
        ),
        [
            Box(560, 36, 160, 90, "QEMU", ("sets it up once,", "sees no packet")),
            Arrow(((560, 81), (494, 81)), "ioctl", (512, 72), dashed=True),
        ],
        _named(40, 252, 180, 90, "tap-d", "vnet_hdr on"),
        _bridge(270, 252, 220, 90, "br-lan", "Linux bridge", "10.161.35.1/24"),
        ("other taps;", "host programs at", "10.161.35.1"),
    )
    description = (
        "As virtio-net on a Linux bridge, but a kernel thread of /dev/vhost-net copies packets "
        "between the guest's rings and the tap. QEMU sets it up and sees no packet."
    )
    return Picture(WIDTH, 412, "vhost-net: the kernel copies", description, items)


def people() -> Picture:
    """The ways into a guest that do not touch its measured interface."""
    nat = ("127.0.0.1:PORT to :22", "gateway 10.0.2.2", "name server 10.0.2.3")
    user0 = ("10.0.2.15/24", "dropbear, keys only", "wget to the outside")
    items: list[Item] = [
        Area(260, 20, 220, 554, "QEMU", "frame"),
        Area(520, 20, 220, 554, "guest a", "network"),
        Box(20, 36, 200, 66, "the host's network", ("and what lies behind it",)),
        Box(20, 126, 200, 66, "ssh", ("./lab guest.ssh a",)),
        Box(270, 36, 200, 156, "user-mode NAT", nat),
        _named(530, 36, 200, 156, "user0", *user0),
        Arrow(((270, 69), (224, 69))),
        Arrow(((220, 159), (266, 159))),
        Arrow(((470, 114), (526, 114)), both_ways=True),
        Box(20, 212, 200, 66, "tools", ("./lab guest.queues a",)),
        _named(270, 212, 200, 66, "agent.sock", "virtio-serial, JSON lines"),
        _named(530, 212, 200, 66, "qemu-ga", "org.qemu.guest_agent.0"),
        Box(20, 298, 200, 66, "console", ("./lab guest.console a",)),
        _named(270, 298, 200, 66, "console.sock", "and console.log"),
        _named(530, 298, 200, 66, "ttyS0", "READY, then a shell"),
        Box(20, 384, 200, 66, "stop", ("./lab guest.stop a",)),
        _named(270, 384, 200, 66, "monitor.sock", "QMP: quit"),
        Box(20, 470, 200, 66, "measured", ("br-ovs or br-lan",)),
        _main(270, 470, 200, 66, "vhost-user or tap", "see the other pictures"),
        _bridge(530, 470, 200, 66, "eth0", "measured traffic only"),
    ]
    items += [Arrow(((220, y), (266, y)), both_ways=True) for y in (245, 331, 417, 503)]
    items += [Arrow(((470, y), (526, y)), both_ways=True) for y in (245, 331, 503)]
    description = (
        "People reach user0 through QEMU's user-mode network, tools reach the guest agent through "
        "virtio-serial, the console is a serial port, QMP is QEMU's own. The measured interface "
        "eth0 carries measured traffic only."
    )
    title = "What people and tools use, apart from the measured interface"
    return Picture(WIDTH, 594, title, description, items)


def vlan() -> Picture:
    """Tags on one bridge."""
    items: list[Item] = [
        Area(20, 120, 720, 290, "br-ovs", "network"),
        _main(380, 264, 256, 44, "VLAN 200"),
        _main(40, 330, 680, 44, "VLAN 100"),
        Box(560, 20, 160, 44, "another switch"),
        _named(560, 140, 160, 62, "veth-t", "trunks 100, 200"),
        Arrow(((640, 64), (640, 136)), "tagged", (652, 96), both_ways=True),
        Arrow(((600, 202), (600, 260)), both_ways=True),
        Arrow(((690, 202), (690, 326)), both_ways=True),
    ]
    for x, name, tag, below in ((40, "a", 100, 326), (210, "b", 100, 326), (380, "c", 200, 260)):
        items += [
            Box(x, 20, 124, 44, f"guest {name}"),
            _named(x, 140, 124, 62, f"vh-{name}", f"tag {tag}"),
            Arrow(((x + 62, 64), (x + 62, 136)), "no tag", (x + 74, 96), both_ways=True),
            Arrow(((x + 62, 202), (x + 62, below)), both_ways=True),
        ]
    description = (
        "The ports vh-a and vh-b have the tag 100 and hear each other; vh-c has the tag 200 and "
        "hears neither. The trunk veth-t carries both tags."
    )
    return Picture(WIDTH, 430, "VLANs on one bridge", description, items)


def vxlan() -> Picture:
    """A tunnel between two bridges."""
    grown = "in UDP, port 4789: 50 bytes more"
    items: list[Item] = [
        Box(40, 20, 180, 62, "guest a", ("MTU 1450",)),
        Area(20, 120, 400, 326, INSIDE, "network"),
        _bridge(40, 136, 360, 62, "br-ovs", "ports vh-a and vx1"),
        _named(40, 240, 360, 62, "vx1", "type vxlan, key 100, to 172.31.0.2"),
        _bridge(40, 344, 360, 62, "br-under", "172.31.0.1/24, port veth-u"),
        Area(480, 120, 260, 326, "another host or namespace", "frame"),
        Box(500, 240, 220, 62, "vxlan device", ("id 100, to 172.31.0.1",)),
        Box(500, 344, 220, 62, "172.31.0.2/24", ("the tunnel's other end",)),
        Arrow(((130, 82), (130, 132)), "Ethernet frames", (142, 110), both_ways=True),
        Arrow(((130, 198), (130, 236)), both_ways=True),
        Arrow(((130, 302), (130, 340)), grown, (142, 326), both_ways=True),
        Arrow(((400, 375), (496, 375)), both_ways=True),
        Arrow(((610, 344), (610, 306)), both_ways=True),
        Arrow(((400, 271), (496, 271)), "tunnel", (430, 262), both_ways=True, dashed=True),
    ]
    description = (
        "Frames from br-ovs enter the port vx1, get UDP and IP headers, and leave through "
        "br-under, the bridge that has the tunnel's own address, to the other end."
    )
    return Picture(WIDTH, 466, "A VXLAN tunnel between two bridges", description, items)


def multiqueue() -> Picture:
    """Two queue pairs from the guest's CPUs to the core that polls."""
    items: list[Item] = [
        Area(20, 20, 430, 324, "guest a: --cpus 2 --queues 2, so 6 vectors", "frame"),
        Area(480, 20, 260, 324, "Open vSwitch", "network"),
        _main(610, 36, 110, 182, "PMD", "thread", "on CPU 1"),
        Box(210, 232, 220, 62, "control, configuration", ("2 vectors; ethtool -L eth0",)),
    ]
    for pair, y in ((0, 36), (1, 134)):
        rings = (f"rx ring: vector input.{pair}", f"tx ring: vector output.{pair}")
        items += [
            Box(40, y, 110, 84, f"CPU {pair}", ("sends here,", "is interrupted")),
            _main(210, y, 220, 84, f"queue pair {pair}", *rings),
            _named(500, y + 11, 70, 62, "vh-a", f"rx_q{pair}"),
            Arrow(((150, y + 42), (206, y + 42)), both_ways=True),
            Arrow(((430, y + 42), (496, y + 42)), both_ways=True),
            Arrow(((570, y + 42), (606, y + 42)), both_ways=True),
        ]
    items += [
        Note(380, 376, "columns of ./lab guest.queues a"),
        Note(95, 404, "interrupts", mono=True),
        Note(320, 404, "on, sent, received", mono=True),
        Note(535, 404, "seen by switch", mono=True),
        Note(668, 404, "polled by", mono=True),
    ]
    description = (
        "Each queue pair has a ring and an interrupt vector for each direction, two more vectors "
        "are for configuration and control. The switch polls each receive queue of the port from "
        "a core of the host."
    )
    title = "Two queue pairs, from the guest's CPUs to the core that polls"
    return Picture(WIDTH, 426, title, description, items)


PICTURES = {
    "datapath-overview": overview,
    "datapath-vhost-user": vhost_user,
    "datapath-tap-bridge": tap_bridge,
    "datapath-tap-ovs": tap_ovs,
    "datapath-vhost-net": vhost_net,
    "datapath-people": people,
    "datapath-vlan": vlan,
    "datapath-vxlan": vxlan,
    "datapath-multiqueue": multiqueue,
}


def main() -> int:
    """Write the pictures beside this file."""
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
