"""A VM for tests: its description, and the wish that it came from."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

from orrery.guest.machine import Accel
from orrery.vm.image.image import Image, Method
from orrery.vm.spec import Driver, NicKind, VmNic, VmSpec, mac_address

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"


def image(folder: Path, **values: Any) -> Image:
    """A bootstrapped image that does not have to be there."""
    known: dict[str, Any] = {
        "name": "debian-12",
        "id": "0123456789ab",
        "system": "debian",
        "title": "Debian 12",
        "disk": folder / "image" / "disk.qcow2",
        "format": "qcow2",
        "size_mb": 64,
        "kernel": "/image/vmlinuz",
        "initrd": "/image/initrd.img",
        "append": "root=/dev/vda rw console=ttyS0",
        "method": Method.BOOTSTRAP,
    }
    return Image(**{**known, **values})


def spec(folder: Path, **values: Any) -> VmSpec:
    """A VM under TCG with its files in a folder."""
    lab_name = values.pop("lab_name", "t-vm")
    known: dict[str, Any] = {
        "name": "lab-vm",
        "lab_name": lab_name,
        "driver": Driver.QEMU,
        "image": image(folder),
        "program": Path("/usr/bin/qemu-system-x86_64"),
        "cpus": 2,
        "memory_mb": 2048,
        "disk_gb": 8,
        "accel": Accel.TCG,
        "nested": True,
        "hugepages": "",
        "nics": (VmNic(NicKind.USER, mac_address(lab_name, "lab-vm", 0)),),
        "ssh_port": 18499,
        "folder": folder / "vm",
        "run_dir": folder / "run",
        "user": "orrery",
        "asked_image": "debian-12",
    }
    return VmSpec(**{**known, **values})


def wish(folder: Path, **values: Any) -> dict[str, Any]:
    """What role `vm` hands over for that VM."""
    known: dict[str, Any] = {
        "name": "lab-vm",
        "lab_name": "t-vm",
        "driver": "qemu",
        "uri": "test:///default",
        "image": "debian-12",
        "cpus": 2,
        "memory_mb": 2048,
        "disk_gb": 8,
        "free_gb": 0,
        "accel": "tcg",
        "nested": True,
        "hugepages": False,
        "nics": [],
        "ssh_port": 18499,
        "folder": str(folder / "vm"),
        "run_dir": str(folder / "run"),
        "user": "orrery",
        "key_owner": getpass.getuser(),
        "systemd": False,
        "templates": str(TEMPLATES / "cloud-init"),
        "ca_bundle": "",
        "http_proxy": "",
        "package_mirror": "",
    }
    return {**known, **values}
