"""The source of architecture.svg: `python docs/img/architecture.py` writes it beside this file."""

from __future__ import annotations

import sys
from pathlib import Path

from drawing import Area, Arrow, Box, Item, Picture

TARGET = Path(__file__).with_suffix(".svg")


def _items() -> list[Item]:
    return [
        Box(24, 20, 300, 62, "./lab up", ("runs site.yml and sums up",), mono=True),
        Box(
            384,
            20,
            552,
            62,
            "./lab mnist.classify  mnist.evaluate  whisk.bench",
            ("or wsk, or curl: any client of the OpenWhisk REST API",),
            mono=True,
        ),
        Area(24, 112, 912, 676, "one Ubuntu or Debian host", "frame"),
        Box(
            48,
            136,
            252,
            254,
            "Ansible roles",
            (
                "preflight: asserts, no changes",
                "huge pages, DPDK, QEMU",
                "guest image, Open vSwitch",
                "docker and function network",
                "base image, action images",
                "engine, file server",
                "classify with its model",
                "verify: guests talk,",
                "ten digits, ten right",
            ),
        ),
        Box(
            384,
            136,
            528,
            84,
            "functions engine, port 3233",
            (
                "OpenWhisk REST API v1: authentication, limits, activations",
                "container pool: cold, warm, paused; time, memory, log",
            ),
            style="strong",
        ),
        Area(384, 262, 528, 128, "function network 10.161.33.0/24, a Docker bridge", "network"),
        Box(400, 276, 148, 74, "container", ("any action",)),
        Box(572, 276, 148, 74, "container", ("classify: LeNet-5",)),
        Box(756, 276, 140, 74, "file server", ("nginx, port 3240",)),
        Box(84, 424, 216, 66, "./lab guest.start", ("KVM where it works, or TCG",), mono=True),
        Box(400, 424, 148, 66, "guest a", ("vhost-user",)),
        Box(572, 424, 148, 66, "guest b", ("vhost-user",)),
        Box(756, 424, 140, 66, "guest c", ("virtio-net",)),
        Area(384, 522, 528, 112, "network namespace orrery", "network"),
        Box(400, 536, 320, 60, "br-ovs", ("the lab's Open vSwitch, with DPDK",), mono=True),
        Box(756, 536, 140, 60, "br-lan", ("a Linux bridge",), mono=True),
        Box(48, 658, 252, 84, "state, mode 0600", ("/var/lib/orrery/state.json", "read by down")),
        Box(384, 658, 240, 84, "store", ("SQLite: actions, activations", "under /var/lib/orrery")),
        Box(672, 658, 240, 84, "records", (".lab/records/*.json", "trials, host, versions")),
        Arrow(((174, 82), (174, 132))),
        Arrow(((648, 82), (648, 132)), "HTTP on 127.0.0.1, uuid:key", (660, 102)),
        Arrow(((300, 178), (380, 178)), "install", (318, 170)),
        Arrow(((66, 390), (66, 654)), "note changes", (76, 580)),
        Arrow(((474, 220), (474, 272)), "/init, /run", (484, 246)),
        Arrow(((646, 220), (646, 272))),
        Arrow(((720, 313), (752, 313))),
        Arrow(((300, 457), (396, 457))),
        Arrow(((474, 490), (474, 532)), "shared memory", (484, 515), both_ways=True),
        Arrow(((646, 490), (646, 532)), both_ways=True),
        Arrow(((826, 490), (826, 532)), "tap", (836, 515), both_ways=True),
        Arrow(((384, 204), (342, 204), (342, 700), (380, 700))),
        Arrow(((936, 51), (948, 51), (948, 700), (916, 700))),
    ]


PICTURE = Picture(
    width=960,
    height=808,
    title="Orrery: what ./lab up builds on one host",
    description=(
        "The lab command drives Ansible, which builds the host; clients talk to the functions "
        "engine on port 3233, the engine runs actions in Docker containers on the lab's own "
        "network, and the actions read images from the file server on port 3240. Guests are "
        "connected to Open vSwitch and to a Linux bridge in a network namespace of the lab's own."
    ),
    items=_items(),
)


def main() -> int:
    """Write the picture beside this file."""
    TARGET.write_text(PICTURE.svg(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
