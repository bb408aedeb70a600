"""What is decided and refused before anything of a VM is made."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from orrery import shell
from orrery.errors import ConfigurationError, HostError
from orrery.guest import pages
from orrery.vm import ports
from orrery.vm.running import running
from orrery.vm.spec import Driver, VmSpec, description
from orrery.vm.wish import AUTO, Wish

OVERHEAD_MB = 512
"""QEMU beside the VM's memory: most of it is code that TCG translated."""
MEMINFO = Path("/proc/meminfo")
MOUNTS = Path("/proc/mounts")
ASK_TIMEOUT_S = 10.0
GIB = 1 << 30
SIZES_KB = {"K": 1, "M": 1024, "G": 1024 * 1024}


@dataclass(frozen=True)
class Plan:
    """How a VM is going to be.

    Attributes:
        why: Why this driver.
        existing: What there is of it; None before the first time.
        runs: Whether it runs now.
    """

    driver: Driver
    why: str
    existing: VmSpec | None
    runs: bool


def plan(wish: Wish) -> Plan:
    """Decide, and refuse what this host cannot give.

    Raises:
        ConfigurationError: There is another VM in its place, or variables contradict each other.
        HostError: Memory, disk or a port is missing.
    """
    existing = VmSpec.read(description(wish.folder))
    driver, why = choose_driver(wish, existing)
    _same_machine(wish, existing, driver)
    runs = existing is not None and _runs(existing)
    check_ports(wish, existing if runs else None)
    check_memory(wish, existing.memory_mb if existing is not None and runs else 0)
    if existing is None or not existing.disk.exists():
        check_disk(wish)
    return Plan(driver, why, existing, runs)


def choose_driver(wish: Wish, existing: VmSpec | None = None) -> tuple[Driver, str]:
    """Which driver runs the VM, and why that one.

    Raises:
        ConfigurationError: libvirt is asked for, and does not answer.
    """
    if wish.driver == AUTO and existing is not None:
        return existing.driver, "the VM is there, and run by it"
    if wish.driver == Driver.QEMU:
        return Driver.QEMU, "vm_driver says so"
    silent = libvirt_silent(wish.uri)
    if wish.driver == Driver.LIBVIRT:
        if silent:
            raise ConfigurationError(
                f"vm_driver is libvirt, and {silent}. Start it, set vm_libvirt_uri, or set "
                "vm_driver to qemu."
            )
        return Driver.LIBVIRT, "vm_driver says so"
    if not wish.systemd:
        return Driver.QEMU, "systemd is not process 1, so nothing would start libvirt's machines"
    if silent:
        return Driver.QEMU, silent
    return Driver.LIBVIRT, f"libvirt answers at {wish.uri}"


def libvirt_silent(uri: str) -> str:
    """Why libvirt cannot be talked to; empty when it answers."""
    if shutil.which("virsh") is None:
        return "there is no virsh to ask libvirt with"
    argv = ["virsh", "--connect", uri, "version"]
    try:
        done = shell.run(argv, timeout_s=ASK_TIMEOUT_S, check=False)
    except shell.CommandError:
        return f"libvirt does not answer at {uri} within {ASK_TIMEOUT_S:g} s"
    return "" if done.returncode == 0 else f"libvirt does not answer at {uri}"


def check_ports(wish: Wish, mine: VmSpec | None) -> None:
    """Refuse ports that somebody else has.

    Args:
        wish: What is wanted.
        mine: The VM that runs, whose ports are its own.

    Raises:
        HostError: One is taken.
    """
    own = {mine.ssh_port} if mine is not None else set()
    if mine is not None:
        own |= {host for nic in mine.nics for host, _ in nic.forwards}
    for port in wish.ports:
        taker = "" if port in own else ports.holder(port)
        if taker:
            name = "vm_ssh_port" if port == wish.ssh_port else "vm_nics"
            raise HostError(
                f"VM {wish.name}: port {port} of 127.0.0.1 is taken by {taker}. "
                f"End that, or set {name} (or lab_port_base, which moves all ports)."
            )


def check_memory(wish: Wish, given_mb: int) -> None:
    """Refuse a VM for which there is not enough memory.

    Args:
        wish: What is wanted.
        given_mb: What the VM has already, since it runs [MB].

    Raises:
        HostError: There is not.
    """
    if wish.hugepages:
        _, size_kb = hugepage_mount()
        needed = -(-(wish.memory_mb - given_mb) * 1024 // size_kb)
        free = pages.available(size_kb)
        if free < needed:
            raise HostError(
                f"VM {wish.name}: {free} huge pages of {size_kb} kB are free, {needed} are needed. "
                "Reserve more (hugepages_count), or set vm_hugepages to false."
            )
        return
    available = available_mb() + (given_mb + OVERHEAD_MB if given_mb else 0)
    needed = wish.memory_mb + OVERHEAD_MB
    if available < needed:
        raise HostError(
            f"VM {wish.name}: {needed} MB of memory are needed ({wish.memory_mb} and "
            f"{OVERHEAD_MB} for QEMU), {available} MB are available. Set vm_memory_mb to "
            f"{max(available - OVERHEAD_MB, 0) // 256 * 256} or less, or end what uses memory."
        )


def check_disk(wish: Wish) -> None:
    """Refuse to make a disk where it would soon be full.

    Raises:
        HostError: Too little is free.
    """
    place = wish.folder
    while not place.exists():
        place = place.parent
    found = os.statvfs(place)
    free_gb = found.f_bavail * found.f_frsize / GIB
    if free_gb < wish.free_gb:
        raise HostError(
            f"VM {wish.name}: {free_gb:.1f} GB are free in {place}, and {wish.free_gb} GB are "
            "needed for what a lab writes. Free some, or set vm_folder to another disk."
        )


def available_mb() -> int:
    """Memory that programs can get without others losing theirs [MB]."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", MEMINFO.read_text(), re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


def hugepage_mount() -> tuple[str, int]:
    """Where huge pages are mounted, and their size [kB].

    Raises:
        HostError: Nowhere.
    """
    for line in MOUNTS.read_text(encoding="utf-8").splitlines():
        _, mount, kind, options, *_ = line.split()
        size = re.search(r"pagesize=(\d+)([KMG])", options)
        if kind == "hugetlbfs" and size:
            return mount, int(size[1]) * SIZES_KB[size[2]]
    raise HostError(
        "vm_hugepages is true, and no huge pages are mounted (hugetlbfs). Reserve and mount some, "
        "or set vm_hugepages to false."
    )


def _runs(existing: VmSpec) -> bool:
    if existing.driver is Driver.LIBVIRT:
        # Its port is open as long as it runs, and then it is nobody else's.
        return ports.owner(existing.ssh_port).startswith("qemu")
    return running(existing.run_dir, existing.lab_name) is not None


def _same_machine(wish: Wish, existing: VmSpec | None, driver: Driver) -> None:
    if existing is None:
        return
    pairs = (
        ("vm_name", existing.name, wish.name),
        ("vm_image", existing.asked_image, wish.image),
        ("vm_driver", str(existing.driver), str(driver)),
        ("vm_user", existing.user, wish.user),
    )
    for variable, found, wanted in pairs:
        if found != wanted:
            raise ConfigurationError(
                f"{variable}: the VM in {wish.folder} was made with '{found}', and '{wanted}' is "
                "wanted. ./lab down removes it with all that is in it; then ./lab up makes another."
            )
    if existing.disk_gb > wish.disk_gb:
        raise ConfigurationError(
            f"vm_disk_gb: the disk has {existing.disk_gb} GB, and {wish.disk_gb} are wanted. "
            "A disk only grows; ./lab down removes it."
        )
