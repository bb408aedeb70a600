"""An image as data: what a machine starts from, and how it was had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from orrery import shell
from orrery.errors import ConfigurationError
from orrery.vm.image.needs import QEMU_IMG

MB = 1024 * 1024
OVERLAY_TIMEOUT_S = 60


class Method(StrEnum):
    """How an image was had."""

    DOWNLOAD = "download"
    BOOTSTRAP = "bootstrap"
    PATH = "path"


@dataclass(frozen=True)
class Image:
    """A base image: read only, shared by all machines of its kind.

    Attributes:
        name: `debian-12`; of what it is, which need not be what was asked for.
        id: Twelve hexadecimal digits over what decides its content.
        system: `debian`, `ubuntu`, `centos` or `fedora`.
        title: For people, `Debian 12`.
        disk: File that machines have overlays on.
        format: `qcow2` or `raw`.
        size_mb: Of the disk as a machine sees it [MB].
        kernel: File that QEMU starts; empty where the disk starts by itself.
        initrd: Initial file system for `kernel`.
        append: Command line for `kernel`.
        method: How it was had.
        why: One sentence that says why so.
        cloud_init: Whether it reads a seed.
    """

    name: str
    id: str
    system: str
    title: str
    disk: Path
    format: str
    size_mb: int
    kernel: str = ""
    initrd: str = ""
    append: str = ""
    method: Method = Method.DOWNLOAD
    why: str = ""
    cloud_init: bool = True

    def as_mapping(self) -> dict[str, Any]:
        """The JSON object that describes it."""
        return {**asdict(self), "disk": str(self.disk), "method": self.method.value}

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Image:
        """Read the JSON object back.

        Raises:
            ConfigurationError: It describes no image.
        """
        known = {one.name for one in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        try:
            disk, size_mb = Path(values.pop("disk")), int(values.pop("size_mb"))
            method = Method(values.pop("method"))
            return cls(**values, disk=disk, size_mb=size_mb, method=method)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"VM image: what is written down of it cannot be read ({error}). Run ./lab up."
            ) from error


def overlay(image: Image, target: Path, size_gb: int) -> None:
    """Make the disk of one machine: what it writes, on top of the image.

    Args:
        image: The base, which stays as it is.
        target: File to make, qcow2.
        size_gb: Of the disk as the machine sees it [GB]; cloud-init grows the file system to it.

    Raises:
        ConfigurationError: The image is larger.
        MissingProgramError: qemu-img is not there.
        CommandError: The file cannot be made.
    """
    if size_gb * 1024 < image.size_mb:
        raise ConfigurationError(
            f"VM disk: {size_gb} GB were asked for, and the image {image.name} has "
            f"{-(-image.size_mb // 1024)} GB. Set vm_disk_gb to that or more."
        )
    QEMU_IMG.look_for()
    part = target.with_name(f".{target.name}.part")
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", image.format, "-b", str(image.disk)]
    try:
        shell.run([*argv, str(part), f"{size_gb}G"], timeout_s=OVERLAY_TIMEOUT_S)
        part.chmod(0o600)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
