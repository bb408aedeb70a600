"""Network devices as sysfs and `ip` show them: what they carry, and which driver has them."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_processes

Runner = Callable[[list[str]], tuple[int, str, str]]

ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
ESTABLISHED = "01"
SSH_PORT = 22


class PciError(Exception):
    """A device cannot be used as asked; the text says why and what to do."""


@dataclass(frozen=True)
class Link:
    """A network interface.

    Attributes:
        addresses: Its addresses, without those of the link itself.
        kind: What the kernel calls a virtual one, `openvswitch`; empty for a device.
    """

    name: str
    up: bool
    addresses: tuple[str, ...]
    kind: str = ""


def parse_links(text: str) -> list[Link]:
    """Interfaces in the answer of `ip -json -details address`."""
    found = []
    for entry in json.loads(text or "[]"):
        if not entry.get("ifname"):
            continue
        addresses = [one for one in entry.get("addr_info", []) if one.get("scope") != "link"]
        found.append(
            Link(
                name=entry["ifname"],
                up="UP" in entry.get("flags", []),
                addresses=tuple(str(one.get("local", "")) for one in addresses),
                kind=str(entry.get("linkinfo", {}).get("info_kind", "")),
            )
        )
    return found


def parse_route_devices(text: str) -> set[str]:
    """Interfaces of all routes in an answer of `ip -json route`, of each next hop, too."""
    found = set()
    for entry in json.loads(text or "[]"):
        hops: list[dict[str, Any]] = [entry, *entry.get("nexthops", [])]
        found |= {str(hop["dev"]) for hop in hops if hop.get("dev")}
    return found - {"lo"}


def parse_peers(table: str, ports: set[int]) -> set[tuple[str, str]]:
    """Own and other address of established connections to our ports, in /proc/net/tcp or tcp6."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 4 or fields[3] != ESTABLISHED:
            continue
        own, port = fields[1].split(":")
        if int(port, 16) in ports:
            other = fields[2].split(":")[0]
            found.add((_plain(own), _plain(other)))
    return found


def _plain(text: str) -> str:
    """An address of the table; IPv4 inside of IPv6 as IPv4."""
    return lab_processes.decode_address(text).removeprefix("::ffff:")


class Machine:
    """The host below a root folder, so that tests can have one of files."""

    def __init__(self, run: Runner, root: Path = Path("/")) -> None:
        self.run = run
        self.proc = root / "proc"
        self.net = root / "sys/class/net"
        self.pci = root / "sys/bus/pci"
        self.vfio_mode = root / "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"

    def write(self, path: Path, text: str) -> None:
        """Tell the kernel something through one of its files."""
        path.write_text(text, encoding="ascii")

    def ask(self, *words: str) -> str:
        """What `ip` says, as JSON.

        Raises:
            PciError: It is missing or fails; without it nothing is known to be safe.
        """
        code, out, err = self.run(["ip", "-json", *words])
        if code != 0:
            raise PciError(
                f"dpdk_bind: ip {' '.join(words)} ended with {code}: {err.strip()}. It is needed "
                "to find out which NIC carries what: install iproute2."
            )
        return out

    def links(self) -> dict[str, Link]:
        """All interfaces, by name."""
        return {link.name: link for link in parse_links(self.ask("-details", "address"))}

    def default_routes(self) -> set[str]:
        """Interfaces of default routes of any table, IPv4 and IPv6."""
        answers = (
            self.ask(family, "route", "show", "table", "all", "exact", "default")
            for family in ("-4", "-6")
        )
        return set().union(*(parse_route_devices(answer) for answer in answers))

    def ssh_peers(self) -> set[tuple[str, str]]:
        """Own and other address of connections to the SSH server, this session's included."""
        peers, ports = set(), {SSH_PORT}
        for pid in lab_processes.ancestry(os.getpid(), self.proc):
            marks = lab_processes.environment(pid, self.proc).get("SSH_CONNECTION", "").split()
            if len(marks) == 4:
                peers.add((marks[2], marks[0]))
                ports.add(int(marks[3]))
        for name in ("tcp", "tcp6"):
            with contextlib.suppress(OSError):
                peers |= parse_peers((self.proc / "net" / name).read_text(), ports)
        return {peer for peer in peers if not peer[0].startswith("127.") and peer[0] != "::1"}

    def ssh_interfaces(self, links: dict[str, Link]) -> set[str]:
        """Interfaces that SSH connections come in and go out through."""
        found = set()
        for own, other in self.ssh_peers():
            address, _, zone = own.partition("%")
            found |= {zone} - {""}
            found |= {link.name for link in links.values() if address in link.addresses}
            with contextlib.suppress(PciError):
                found |= parse_route_devices(self.ask("route", "get", other.partition("%")[0]))
        return found

    def interfaces(self) -> list[str]:
        """Names of all interfaces."""
        return sorted(path.name for path in self.net.glob("*"))

    def uppers(self, interface: str) -> set[str]:
        """Bonds, bridges, VLANs and so on above an interface, and those above them."""
        found: set[str] = set()
        waiting = [interface]
        while waiting:
            folder = self.net / waiting.pop()
            above = {path.name[len("upper_") :] for path in folder.glob("upper_*")}
            if (folder / "master").exists():
                above.add((folder / "master").resolve().name)
            waiting += above - found
            found |= above
        return found

    def address_of(self, interface: str) -> str:
        """PCI address of an interface's device; empty when it has none. Virtio lies one deeper."""
        device = self.net / interface / "device"
        if not device.exists():
            return ""
        place = device.resolve()
        names = (path.name for path in (place, *place.parents))
        return next((name for name in names if ADDRESS.fullmatch(name)), "")

    def interfaces_of(self, address: str) -> list[str]:
        """Interfaces of a PCI device."""
        return [name for name in self.interfaces() if self.address_of(name) == address]

    def device(self, address: str) -> Path:
        """Folder of a PCI device."""
        return self.pci / "devices" / address

    def driver(self, address: str) -> str:
        """Driver that has a PCI device; empty when none has it."""
        link = self.device(address) / "driver"
        return link.resolve().name if link.exists() else ""

    def group(self, address: str) -> str:
        """Number of a device's IOMMU group; empty when it has none."""
        link = self.device(address) / "iommu_group"
        return link.resolve().name if link.exists() else ""

    def text(self, path: Path) -> str:
        """A file of sysfs, empty when there is none."""
        with contextlib.suppress(OSError):
            return path.read_text(encoding="ascii").strip()
        return ""

    def users(self, address: str) -> list[int]:
        """Processes that have a device open through vfio."""
        group = self.group(address)
        files = {f"/dev/vfio/{group}", f"/dev/vfio/noiommu-{group}"} if group else set()
        found = []
        for pid in lab_processes.pids(self.proc) if files else []:
            with contextlib.suppress(OSError):
                handles = list((self.proc / str(pid) / "fd").iterdir())
                if any(_target(handle) in files for handle in handles):
                    found.append(pid)
        return found


def _target(handle: Path) -> str:
    with contextlib.suppress(OSError):
        return str(handle.readlink())
    return ""
