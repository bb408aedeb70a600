"""Guests of other systems: they start from a disk, and cloud-init makes them the lab's."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError, HostError
from orrery.guest.image import keys as lab_keys
from orrery.network.layout import part
from orrery.state import LabState
from orrery.vm.image import catalogue
from orrery.vm.image.choose import Chooser, Result, Wish
from orrery.vm.image.image import Image, Method, overlay
from orrery.vm.image.mirrors import Host
from orrery.vm.image.store import Store
from orrery.vm.seed import Seed, SeedNic, host_apt_settings
from orrery.vm.seed import write as write_seed

DEFAULT_MEMORY_MB = 1024
"""Below that the installer of packages of some systems is killed."""
SIZE_GB = 12
"""As the guest sees it; what it writes is what it takes."""
SOURCES = Path("playbooks/group_vars/all/sources.yml")
TEMPLATES = Path("templates/cloud-init")
KEYS = "disks"
"""Folder beside the guests' keys: OpenSSH reads another format than the guests' dropbear."""
STYLE = lab_keys.Style("guest", lab_keys.HOST_ALIAS, dropbear=False)
READY = "printf '\\nREADY %s\\n' \"$(hostname)\" > /dev/ttyS0"


@dataclass(frozen=True)
class Disk:
    """What a guest starts from.

    Attributes:
        image: The base that it shares with others.
        folder: Its own files, which are gone when it is stopped.
    """

    image: Image
    folder: Path

    @property
    def file(self) -> Path:
        """What it writes."""
        return self.folder / "disk.qcow2"

    @property
    def seed(self) -> Path:
        """What cloud-init reads."""
        return self.folder / "seed" / "seed.iso"

    def boot(self, options: str) -> list[str]:
        """What starts first: a kernel beside the disk, or what is on it.

        Args:
            options: For a kernel, besides those of the image.
        """
        if not self.image.kernel:
            return []
        words = ["-kernel", self.image.kernel, "-initrd", self.image.initrd]
        return [*words, "-append", f"{self.image.append} {options}".strip()]

    def arguments(self) -> list[str]:
        """The devices' part of the command line; a guest that is stopped is gone: no flushing."""
        disk = f"file={self.file},if=none,id=disk0,format=qcow2,cache=unsafe,discard=unmap"
        seed = f"file={self.seed},if=none,id=seed0,format=raw,readonly=on"
        return [
            *["-drive", disk, "-device", "virtio-blk-pci,drive=disk0,bootindex=0"],
            *["-drive", seed, "-device", "virtio-blk-pci,drive=seed0"],
        ]


def of(state: LabState, name: str, image: Image | None) -> Disk | None:
    """The disk of a guest; None for one that starts from memory."""
    return None if image is None else Disk(image, folder(state.lab_name, name))


def folder(lab_name: str, name: str) -> Path:
    """Folder of one guest's disk; not in /run, which is memory."""
    return Path("/var/lib") / lab_name / "guests" / name


def keys(state: LabState) -> Path:
    """Folder of the keys of guests with disks."""
    return Path(str(part(state, "guest_image")["keys"])) / KEYS


def prepare(state: LabState, disk: Disk, run: str, nics: tuple[SeedNic, ...]) -> None:
    """Make the disk and the seed of a guest that is about to start.

    Args:
        state: The lab.
        disk: Its disk.
        run: Of this start only; cloud-init does all anew for another one.
        nics: Its interfaces.

    Raises:
        HostError: Something cannot be made.
    """
    own = keys(state)
    lab_keys.ensure(own, state.lab_name, check=False, style=STYLE)
    _, kind, key, *_ = (own / "known_hosts").read_text(encoding="ascii").split()
    seed = Seed(
        hostname=disk.folder.name,
        instance_id=run,
        user="root",
        authorized_key=(own / "id_ed25519.pub").read_text(encoding="ascii"),
        host_key=(own / "host_key").read_text(encoding="ascii"),
        host_key_pub=f"{kind} {key}",
        system=disk.image.system,
        nics=nics,
        apt_settings=host_apt_settings() if disk.image.method is Method.BOOTSTRAP else "",
        commands=(("sh", "-c", READY),),
    )
    remove(disk.folder)
    try:
        disk.folder.mkdir(mode=0o700, parents=True)
        overlay(disk.image, disk.file, max(SIZE_GB, -(-disk.image.size_mb // 1024)))
        write_seed(seed, checkout() / TEMPLATES, disk.seed.parent)
    except OSError as error:
        raise HostError(
            f"guest {disk.folder.name}: {error.filename or disk.folder}: {error.strerror}. Its "
            f"disk goes to {disk.folder}."
        ) from error


def remove(place: Path) -> None:
    """Remove a guest's disk; what is not there is no fault."""
    shutil.rmtree(place, ignore_errors=True)


def find(state: LabState, name: str) -> Result:
    """Have the image of that name, from the cache or from outside.

    Raises:
        OrreryError: It is not known, or cannot be had.
    """
    cache = Path(str(part(state, "guest_image")["folder"])).parent.parent
    known = catalogue.parse(published(checkout() / SOURCES))
    return Chooser(known, Store(cache), Host()).ensure(Wish(name))


def published(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """The list of images.

    Raises:
        ConfigurationError: It cannot be read.
    """
    # The lab's own Python on a host has none, and never reads the list.
    import yaml

    try:
        images = yaml.safe_load(path.read_text(encoding="utf-8"))["vm_images"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path}: vm_images cannot be read: {error}") from error
    return dict(images)


def checkout() -> Path:
    """The repository; guests are started by hand from there."""
    return Path(__file__).resolve().parents[3]
