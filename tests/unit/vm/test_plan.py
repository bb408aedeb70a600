"""What cannot be is refused before anything is made, with what was found, needed and to do."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.errors import ConfigurationError, HostError
from orrery.guest import pages
from orrery.vm import plan as planning
from orrery.vm import ports
from orrery.vm.spec import Driver, VmSpec, description
from orrery.vm.wish import Wish
from tests.support import vm

MEMINFO = "MemTotal:  8000000 kB\nMemAvailable:  4194304 kB\n"


def wish(folder: Path, **values: Any) -> Wish:
    return Wish.from_mapping(vm.wish(folder, **values))


def exists(folder: Path, **values: Any) -> VmSpec:
    """Write a VM down that has a disk."""
    spec = vm.spec(folder, **values)
    spec.folder.mkdir()
    spec.disk.touch()
    description(spec.folder).write_text(spec.text())
    return spec


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host with 4096 MB available."""
    path = tmp_path / "meminfo"
    path.write_text(MEMINFO)
    monkeypatch.setattr(planning, "MEMINFO", path)
    return path


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_a_host_that_has_what_is_needed_gets_a_plan(tmp_path: Path) -> None:
    found = planning.plan(wish(tmp_path))
    assert (found.driver, found.existing, found.runs) == (Driver.QEMU, None, False)


def test_too_little_memory_names_what_is_there_and_what_would_do(tmp_path: Path) -> None:
    text = r"4608 MB of memory are needed \(4096 and 512 for QEMU\), 4096 MB are available"
    with pytest.raises(HostError, match=text) as caught:
        planning.plan(wish(tmp_path, memory_mb=4096))
    assert "Set vm_memory_mb to 3584 or less" in str(caught.value)


def test_a_vm_that_runs_has_its_memory_already(tmp_path: Path) -> None:
    planning.check_memory(wish(tmp_path, memory_mb=4096), 4096)
    with pytest.raises(HostError, match="of memory are needed"):
        planning.check_memory(wish(tmp_path, memory_mb=16384), 4096)


def test_a_taken_port_is_named_with_its_owner(tmp_path: Path, taken: int) -> None:
    text = rf"port {taken} of 127.0.0.1 is taken by \S+ \(pid {os.getpid()}\).*vm_ssh_port"
    with pytest.raises(HostError, match=text):
        planning.plan(wish(tmp_path, ssh_port=taken))


def test_a_taken_port_of_a_further_interface_names_that_variable(
    tmp_path: Path, taken: int
) -> None:
    nics = [{"kind": "user", "forwards": [{"host": taken, "vm": 80}]}]
    with pytest.raises(HostError, match="set vm_nics"):
        planning.plan(wish(tmp_path, nics=nics))


def test_a_vm_that_runs_holds_its_own_port(tmp_path: Path, taken: int) -> None:
    mine = vm.spec(tmp_path, ssh_port=taken)
    planning.check_ports(wish(tmp_path, ssh_port=taken), mine)


def test_a_free_port_is_nobodys(taken: int) -> None:
    assert ports.owner(taken).endswith(f"(pid {os.getpid()})")
    assert ports.holder(0) == ""


def test_a_disk_without_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"GB are free in .*, and 999999 GB are needed"):
        planning.plan(wish(tmp_path, free_gb=999999))


def test_a_disk_that_is_there_needs_no_more_space(tmp_path: Path) -> None:
    exists(tmp_path)
    assert planning.plan(wish(tmp_path, free_gb=999999)).existing is not None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image": "fedora-cloud-44"}, "vm_image: .* made with 'debian-12', and 'fedora-cloud-44'"),
        ({"name": "other"}, "vm_name: .* made with 'lab-vm', and 'other' is wanted"),
        ({"user": "me"}, "vm_user: .* made with 'orrery', and 'me' is wanted"),
        ({"disk_gb": 4}, "vm_disk_gb: the disk has 8 GB, and 4 are wanted"),
    ],
)
def test_another_vm_in_its_place_is_not_overwritten(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    exists(tmp_path)
    with pytest.raises(ConfigurationError, match=message):
        planning.plan(wish(tmp_path, **values))


def test_a_vm_keeps_its_driver_when_none_is_named(tmp_path: Path) -> None:
    exists(tmp_path, driver=Driver.LIBVIRT)
    assert planning.plan(wish(tmp_path, driver="auto")).driver is Driver.LIBVIRT
    with pytest.raises(ConfigurationError, match="vm_driver: .* made with 'libvirt'"):
        planning.plan(wish(tmp_path, driver="qemu"))


def test_without_systemd_qemu_runs_by_itself(tmp_path: Path) -> None:
    driver, why = planning.choose_driver(wish(tmp_path, driver="auto"))
    assert driver is Driver.QEMU
    assert "systemd is not process 1" in why


@pytest.mark.parametrize(("code", "driver"), [(0, Driver.LIBVIRT), (1, Driver.QEMU)])
def test_with_systemd_libvirt_is_taken_where_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, driver: Driver
) -> None:
    asked = []

    def run(argv: list[str], **_: Any) -> shell.Completed:
        asked.append(argv)
        return shell.Completed(tuple(argv), code, "", "", 0.1)

    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/virsh")
    monkeypatch.setattr(shell, "run", run)
    chosen, why = planning.choose_driver(wish(tmp_path, driver="auto", systemd=True))
    assert chosen is driver
    assert "test:///default" in why
    assert asked == [["virsh", "--connect", "test:///default", "version"]]


def test_libvirt_that_is_asked_for_and_silent_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConfigurationError, match="vm_driver is libvirt, and there is no virsh"):
        planning.choose_driver(wish(tmp_path, driver="libvirt"))


def test_huge_pages_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("none /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\n")
    monkeypatch.setattr(planning, "MOUNTS", mounts)
    monkeypatch.setattr(pages, "available", lambda _: 1023)
    with pytest.raises(HostError, match="1023 huge pages of 2048 kB are free, 1024 are needed"):
        planning.check_memory(wish(tmp_path, hugepages=True), 0)
    monkeypatch.setattr(pages, "available", lambda _: 1024)
    planning.check_memory(wish(tmp_path, hugepages=True), 0)


def test_huge_pages_that_are_mounted_nowhere_name_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mounts").write_text("proc /proc proc rw 0 0\n")
    monkeypatch.setattr(planning, "MOUNTS", tmp_path / "mounts")
    with pytest.raises(HostError, match="vm_hugepages is true, and no huge pages are mounted"):
        planning.hugepage_mount()


def test_a_second_lab_gets_another_port_and_another_service(tmp_path: Path) -> None:
    one = exists(tmp_path)
    two = replace(wish(tmp_path / "two", ssh_port=18611), lab_name="t-vm2")
    planning.check_ports(two, None)
    assert two.ports != [one.ssh_port]
