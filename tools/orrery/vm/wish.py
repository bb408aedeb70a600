"""A VM as the variables of role `vm` ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError
from orrery.guest.machine import Accel
from orrery.vm.spec import NAME, NicKind, VmNic, mac_address

AUTO = "auto"
DRIVERS = (AUTO, "libvirt", "qemu")
ACCELS = (AUTO, *Accel)
FIRST_PORT, LAST_PORT = 1, 65535
LEAST = {"cpus": 1, "memory_mb": 512, "disk_gb": 2, "free_gb": 0, "ssh_port": FIRST_PORT}


@dataclass(frozen=True)
class Wish:
    """What is wanted.

    Attributes:
        uri: Of libvirt.
        image: Name in the catalogue.
        memory_mb: Memory [MB].
        disk_gb: Disk as the VM sees it [GB].
        free_gb: What has to be free where the disk's file is made [GB].
        nics: Interfaces beside the first.
        folder: Disk, seed and keys.
        run_dir: Sockets and logs.
        user: Who is made in the VM.
        key_owner: User of this host who logs in.
        systemd: Whether it is the host's process 1.
        templates: Folder with cloud-init's templates.
        cargo: File that the VM may read, for what it is to be loaded with.
    """

    name: str
    lab_name: str
    driver: str
    uri: str
    image: str
    cpus: int
    memory_mb: int
    disk_gb: int
    free_gb: int
    accel: str
    nested: bool
    hugepages: bool
    nics: tuple[VmNic, ...]
    ssh_port: int
    folder: Path
    run_dir: Path
    user: str
    key_owner: str
    systemd: bool
    templates: Path
    ca_bundle: str = ""
    http_proxy: str = ""
    package_mirror: str = ""
    cargo: str = ""

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Wish:
        """Read it.

        Raises:
            ConfigurationError: A value is off.
        """
        values = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        name, lab_name = str(values["name"]), str(values["lab_name"])
        if not NAME.fullmatch(name):
            raise ConfigurationError(
                f"vm_name: '{name}' found; needed is a small letter, then up to thirty of a-z, "
                "0-9 and -"
            )
        _choice("vm_driver", str(values["driver"]), DRIVERS)
        _choice("vm_accel", str(values["accel"]), ACCELS)
        for key, low in LEAST.items():
            values[key] = _integer(f"vm_{key}", values[key], low)
        if values["ssh_port"] > LAST_PORT:
            raise ConfigurationError(f"vm_ssh_port: {values['ssh_port']} is no port")
        values |= {key: Path(str(values[key])) for key in ("folder", "run_dir", "templates")}
        # The first interface is the lab's own.
        values["nics"] = tuple(
            VmNic.from_mapping(nic, mac_address(lab_name, name, number))
            for number, nic in enumerate(values.get("nics") or (), start=1)
        )
        return cls(**values)

    @property
    def all_nics(self) -> tuple[VmNic, ...]:
        """The interface that people come in through, then the others."""
        first = VmNic(NicKind.USER, mac_address(self.lab_name, self.name, 0))
        return (first, *self.nics)

    @property
    def ports(self) -> list[int]:
        """Ports of the host's loopback that the VM takes."""
        return [self.ssh_port, *(host for nic in self.nics for host, _ in nic.forwards)]


def _choice(name: str, found: str, allowed: tuple[str, ...]) -> None:
    if found not in allowed:
        raise ConfigurationError(f"{name}: '{found}' found; {', '.join(allowed)} are possible")


def _integer(name: str, found: Any, low: int) -> int:
    try:
        value = int(found)
    except (TypeError, ValueError):
        value = low - 1
    if value < low:
        raise ConfigurationError(f"{name}: '{found}' found; a whole number from {low} on is needed")
    return value
