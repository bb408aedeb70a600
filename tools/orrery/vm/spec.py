"""A VM as data: what it is made of, and where its files are."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError
from orrery.guest.machine import Accel
from orrery.vm.image.image import Image

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
"""It is the VM's host name, too (RFC 1123), and part of a domain's name."""
MAC_PREFIX = "52:54:00"
"""QEMU's own prefix of locally administered addresses."""
SSH = 22
CARGO = ("10.0.2.100", 4000)
"""Where the VM finds its cargo: an address of the first user-mode network, and a port."""


class Driver(StrEnum):
    """What runs the VM."""

    QEMU = "qemu"
    LIBVIRT = "libvirt"


class NicKind(StrEnum):
    """What is behind an interface of the VM."""

    USER = "user"
    BRIDGE = "bridge"
    TAP = "tap"
    NETWORK = "network"


@dataclass(frozen=True)
class VmNic:
    """One interface.

    Attributes:
        source: Bridge, tap or libvirt network; empty for `user`.
        forwards: Ports of the host's loopback with the VM's, for `user`.
    """

    kind: NicKind
    mac: str
    source: str = ""
    forwards: tuple[tuple[int, int], ...] = ()

    def as_mapping(self) -> dict[str, Any]:
        """As JSON takes it."""
        forwards = [{"host": host, "vm": vm} for host, vm in self.forwards]
        return {
            "kind": str(self.kind),
            "mac": self.mac,
            "source": self.source,
            "forwards": forwards,
        }

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], mac: str) -> VmNic:
        """Read one of `vm_nics`; `mac` is for one that names none.

        Raises:
            ConfigurationError: It is of no kind, or lacks what its kind needs.
        """
        kinds = ", ".join(NicKind)
        kind = str(data.get("kind", ""))
        if kind not in list(NicKind):
            raise ConfigurationError(f"vm_nics: kind '{kind}' found; {kinds} are possible")
        source = str(data.get("source") or "")
        if (kind != NicKind.USER) != bool(source):
            needed = "no source" if kind == NicKind.USER else "a source, its name on the host"
            raise ConfigurationError(
                f"vm_nics: an interface of kind {kind} has source '{source}'; {needed} is needed"
            )
        forwards = tuple((int(one["host"]), int(one["vm"])) for one in data.get("forwards") or ())
        if forwards and kind != NicKind.USER:
            raise ConfigurationError(
                f"vm_nics: ports are forwarded by an interface of kind user, not {kind}"
            )
        return cls(NicKind(kind), str(data.get("mac") or mac).lower(), source, forwards)


@dataclass(frozen=True)
class VmSpec:
    """A VM.

    Attributes:
        program: QEMU.
        memory_mb: Memory [MB].
        disk_gb: Size that the VM sees [GB].
        nested: Whether guests inside get KVM, where the VM has it.
        hugepages: Mount that its memory comes from; empty for ordinary pages.
        nics: The first is the one that people and Ansible come in through.
        ssh_port: On 127.0.0.1, forwarded to the VM's 22.
        folder: Disk, seed and keys: what lasts.
        run_dir: Sockets and logs of this boot of the host.
        user: Who logs in.
        asked_image: What `vm_image` said; the image may be another where that cannot be had.
        uri: Of libvirt; empty for the driver qemu.
        cargo: File of the host that the VM may read at `CARGO`; empty for none.
    """

    name: str
    lab_name: str
    driver: Driver
    image: Image
    program: Path
    cpus: int
    memory_mb: int
    disk_gb: int
    accel: Accel
    nested: bool
    hugepages: str
    nics: tuple[VmNic, ...]
    ssh_port: int
    folder: Path
    run_dir: Path
    user: str
    asked_image: str
    uri: str = ""
    cargo: str = ""

    @property
    def domain(self) -> str:
        """Name that no other lab's VM has."""
        return f"{self.lab_name}-{self.name}"

    @property
    def disk(self) -> Path:
        """Overlay over the image."""
        return self.folder / "disk.qcow2"

    @property
    def seed(self) -> Path:
        """What cloud-init reads."""
        return self.folder / "seed" / "seed.iso"

    @property
    def keys(self) -> Path:
        """Folder of the key that people come in with, and of the VM's own."""
        return self.folder / "keys"

    @property
    def monitor(self) -> Path:
        """Socket of QMP."""
        return self.run_dir / "monitor.sock"

    @property
    def agent(self) -> Path:
        """Socket of the guest agent's channel."""
        return self.run_dir / "agent.sock"

    @property
    def console(self) -> Path:
        """Socket of the serial console."""
        return self.run_dir / "console.sock"

    @property
    def console_log(self) -> Path:
        """All that the console has said since QEMU was started."""
        return self.run_dir / "console.log"

    def as_mapping(self) -> dict[str, Any]:
        """As JSON takes it."""
        plain = {
            name: str(value) if isinstance(value, Path | StrEnum) else value
            for name, value in vars(self).items()
            if name not in ("image", "nics")
        }
        nics = [nic.as_mapping() for nic in self.nics]
        return {**plain, "image": self.image.as_mapping(), "nics": nics}

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> VmSpec:
        """Read it back.

        Raises:
            KeyError, ValueError, TypeError: It is none.
        """
        values = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        values |= {name: Path(values[name]) for name in ("program", "folder", "run_dir")}
        values["driver"], values["accel"] = Driver(data["driver"]), Accel(data["accel"])
        values["image"] = Image.from_mapping(data["image"])
        values["nics"] = tuple(VmNic.from_mapping(nic, "") for nic in data["nics"])
        return cls(**values)

    @classmethod
    def read(cls, path: Path) -> VmSpec | None:
        """Read a VM's description; None where there is none.

        Raises:
            ConfigurationError: It cannot be read as one.
        """
        try:
            return cls.from_mapping(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"{path}: is no description of a VM ({error!r}). Run ./lab down, then ./lab up."
            ) from error

    def text(self) -> str:
        """Its description as a file holds it."""
        return json.dumps(self.as_mapping(), indent=2, sort_keys=True) + "\n"


def description(folder: Path) -> Path:
    """File that describes the VM whose files are in a folder."""
    return folder / "vm.json"


def mac_address(lab_name: str, name: str, number: int) -> str:
    """An address that is the same in every run, and another for every lab, VM and interface."""
    digest = hashlib.sha256(f"{lab_name}/{name}/{number}".encode()).hexdigest()
    return ":".join([MAC_PREFIX, *(digest[at : at + 2] for at in (0, 2, 4))])
