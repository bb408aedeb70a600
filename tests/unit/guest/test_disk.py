from __future__ import annotations

from pathlib import Path

import pytest

from orrery.errors import ConfigurationError
from orrery.guest import disk
from orrery.guest.machine import Accel, Machine
from orrery.state import LabState
from orrery.vm.image import catalogue
from orrery.vm.image.image import Image

BOOTABLE = Image("centos-stream-9", "0" * 12, "centos", "CentOS", Path("/c/disk"), "qcow2", 4096)
DIRECT = Image(
    name="debian-12",
    id="1" * 12,
    system="debian",
    title="Debian 12",
    disk=Path("/c/disk.qcow2"),
    format="qcow2",
    size_mb=4096,
    kernel="/c/vmlinuz",
    initrd="/c/initrd",
    append="root=/dev/vda",
)


def machine(image: Image | None) -> Machine:
    return Machine(
        name="a",
        program=Path("qemu"),
        kernel=Path("/lab/vmlinuz"),
        initrd=Path("/lab/initrd"),
        folder=Path("/run/lab/guests/a"),
        accel=Accel.TCG,
        disk=disk.of(LabState("lab"), "a", image),
    )


def words(image: Image | None) -> str:
    return " ".join(map(str, machine(image).argv()))


def test_a_guest_without_a_disk_starts_as_ever() -> None:
    said = words(None)
    assert "-kernel /lab/vmlinuz -initrd /lab/initrd" in said
    assert "-drive" not in said
    assert "-cpu qemu64" in said


def test_a_disk_that_starts_by_itself_gets_no_kernel() -> None:
    said = words(BOOTABLE)
    assert "-kernel" not in said
    assert "file=/var/lib/lab/guests/a/disk.qcow2" in said
    assert "bootindex=0" in said


def test_a_bootstrapped_disk_starts_with_its_own_kernel() -> None:
    said = words(DIRECT)
    assert "-kernel /c/vmlinuz -initrd /c/initrd -append root=/dev/vda net.ifnames=0" in said


def test_the_seed_can_only_be_read() -> None:
    assert "seed.iso,if=none,id=seed0,format=raw,readonly=on" in words(BOOTABLE)


def test_a_system_of_today_gets_a_processor_that_it_is_compiled_for() -> None:
    assert "-cpu max" in words(BOOTABLE)


def test_the_list_of_images_is_the_one_of_the_roles() -> None:
    known = catalogue.parse(disk.published(disk.checkout() / disk.SOURCES))
    assert "centos-stream-9" in known.entries


def test_a_list_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "sources.yml"
    path.write_text("other: 1\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="sources.yml: vm_images cannot be read"):
        disk.published(path)


def test_a_guest_that_is_gone_leaves_no_disk(tmp_path: Path) -> None:
    place = tmp_path / "a"
    (place / "seed").mkdir(parents=True)
    disk.remove(place)
    disk.remove(place)
    assert not place.exists()
