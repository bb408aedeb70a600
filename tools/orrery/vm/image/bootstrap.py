"""An image out of packages of the distribution's mirror, as a direct boot starts it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from orrery import shell
from orrery.errors import HostError
from orrery.guest.image import kernel as kernel_image
from orrery.mnist.download import Network
from orrery.packages import mirror
from orrery.packages.store import write
from orrery.vm.image.needs import MKE2FS, MMDEBSTRAP, QEMU_IMG, ZSTD, Program
from orrery.vm.image.recipe import DISABLED, Recipe

DISK, KERNEL, INITRD = "disk.qcow2", "vmlinuz", "initrd"
PROGRAMS: tuple[Program, ...] = (MMDEBSTRAP, MKE2FS, QEMU_IMG)
BOOTSTRAP_TIMEOUT_S = 900
DISK_TIMEOUT_S = 300
QUERY_TIMEOUT_S = 60
REASONS = 4
"""Lines of an error that are repeated."""
NO_SPACE = "No space left on device"
SPACE_MB = 3000
"""Needed while an image is made [MB]: the unpacked system, its file system, the disk."""
SMALLEST_MB = 4096
"""Of the disk that a machine without overlay would see; it takes what is in it only."""
# Whole or not at all holds for the image, so that dpkg need not see to it for each file.
FAST = "force-unsafe-io"
DPKG_SETTINGS = "etc/dpkg/dpkg.cfg.d/99mmdebstrap"
RESOLVED = "../run/systemd/resolve/stub-resolv.conf"
# What identifies one machine, and what mmdebstrap leaves of the host.
ONE_MACHINE = ("etc/ssh/ssh_host_*", "etc/hostname", "var/lib/dbus/machine-id")
OF_THE_HOST = ("etc/apt/apt.conf.d/99mmdebstrap", "var/log/*.log", "var/log/apt/*", "root/.cache")


def programs(recipe: Recipe) -> list[Program]:
    """Programs that it takes."""
    return [*PROGRAMS, *([ZSTD] if recipe.system == "ubuntu" else [])]


def make(recipe: Recipe, network: Network, work: Path, target: Path) -> int:
    """Make disk, kernel and initial file system.

    Args:
        recipe: What is in it.
        network: How packages are reached.
        work: Empty folder for what comes in between.
        target: Empty folder for what comes out.

    Returns:
        Size of the disk [MB].

    Raises:
        MissingProgramError: A program is not there.
        HostError: The mirror does not answer, or the disk is full.
    """
    root, skeleton, scratch = work / "root", work / "skeleton", work / "tmp"
    for folder in (skeleton, scratch):
        folder.mkdir()
        folder.chmod(0o755)
    write_skeleton(recipe, skeleton)
    settings = work / "apt.conf"
    dump = shell.run(mirror.SETTINGS, timeout_s=QUERY_TIMEOUT_S).stdout
    # The proxy may hold a password.
    write(settings, mirror.apt_settings(dump, network.proxy, network.ca_bundle).encode(), 0o600)
    argv = command(recipe, settings, skeleton, root)
    env = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "TMPDIR": str(scratch)}
    try:
        shell.run(argv, timeout_s=BOOTSTRAP_TIMEOUT_S, env=env)
    except shell.CommandError as error:
        # A full disk is told by who knows how much is needed.
        if NO_SPACE in str(error):
            raise
        raise HostError(
            f"VM image: mmdebstrap: {_reason(str(error))}. Check that {recipe.sources[0]} answers, "
            "or set lab_package_mirror or lab_http_proxy."
        ) from error
    disable(root)
    read_lists(root)
    forget(root)
    take_kernel(root, target)
    return pack(root, work / "disk.raw", target / DISK)


def _reason(said: str) -> str:
    """The lines in which programs say what is wrong; the last one where none does."""
    lines = said.strip().splitlines()
    told = [line.strip() for line in lines if line.lstrip().startswith(("E:", "Err:"))]
    return " | ".join(told[-REASONS:] or lines[-1:])


def command(recipe: Recipe, settings: Path, skeleton: Path, root: Path) -> list[str]:
    """Command line of mmdebstrap, with mounts of its own that end when it does."""
    return [
        *["unshare", "--mount", "--propagation", "private", "mmdebstrap", "--mode=root"],
        *["--variant=minbase", "--format=directory", f"--aptopt={settings}"],
        # An emulated VM fetches the mirror's lists for half a minute; old ones are renewed there.
        "--skip=cleanup/apt/lists",
        f"--include={','.join(recipe.packages)}",
        *(f"--dpkgopt={option}" for option in (*mirror.DPKG_OPTIONS, FAST)),
        # Before the kernel comes in: its initial file system is made by these settings.
        f'--essential-hook=sync-in "{skeleton}" /',
        *[recipe.release, str(root), *recipe.sources],
    ]


def write_skeleton(recipe: Recipe, folder: Path) -> None:
    """Lay out what is ours in the new system."""
    for name, text in recipe.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    for name, target in recipe.links.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    for path in (one for one in folder.rglob("*") if one.is_dir() and not one.is_symlink()):
        path.chmod(0o755)


def disable(root: Path) -> None:
    """Keep the units that roles start from starting by themselves."""
    folders = ("*.wants", "*.requires")
    for link in _matching(root / "etc/systemd/system", [f"{one}/*" for one in folders]):
        if link.name in DISABLED:
            link.unlink()


def read_lists(root: Path) -> None:
    """Have APT's cache of the mirror's lists: an emulated machine reads for 12 s, at every use."""
    argv: list[str | Path] = ["chroot", root, "apt-cache", "gencaches"]
    shell.run(argv, timeout_s=DISK_TIMEOUT_S, env={"LC_ALL": "C.UTF-8"})


def forget(root: Path) -> None:
    """Take out what belongs to one machine only; cloud-init and systemd make it anew."""
    for path in _matching(root, (*ONE_MACHINE, *OF_THE_HOST)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    settings = root / DPKG_SETTINGS
    if settings.exists():
        lines = settings.read_text(encoding="utf-8").splitlines()
        text = "".join(f"{line}\n" for line in lines if FAST not in line)
        settings.write_text(text, encoding="utf-8")
    (root / "etc/machine-id").write_bytes(b"")
    resolver = root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    resolver.symlink_to(RESOLVED)


def _matching(root: Path, patterns: Iterable[str]) -> list[Path]:
    return [path for pattern in patterns for path in root.glob(pattern)]


def take_kernel(root: Path, target: Path) -> None:
    """Put kernel and initial file system beside the disk.

    Raises:
        HostError: There is not exactly one of each.
    """
    found = {name: sorted((root / "boot").glob(f"{name}-*")) for name in ("vmlinuz", "initrd.img")}
    for name, paths in found.items():
        if len(paths) != 1:
            names = ", ".join(path.name for path in paths) or "none"
            raise HostError(f"VM image: {name} in /boot: {names}; one is needed.")
    # Unpacked, it spares an emulated start half a second and more.
    startable, _ = kernel_image.startable(found["vmlinuz"][0].read_bytes())
    write(target / KERNEL, startable)
    write(target / INITRD, found["initrd.img"][0].read_bytes())


def pack(root: Path, raw: Path, disk: Path) -> int:
    """Make a disk of a folder: one file system without partitions.

    Returns:
        Its size [MB].
    """
    used = shell.run(["du", "-sm", root], timeout_s=DISK_TIMEOUT_S).stdout.split()[0]
    size_mb = max(SMALLEST_MB, -(-int(used) * 3 // 2 // 1024) * 1024)
    # Zeros need not be written a second time, neither here nor by the machine in its first minutes.
    options = "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-E", options, "-d", str(root)]
    shell.run([*argv, str(raw), f"{size_mb}M"], timeout_s=DISK_TIMEOUT_S)
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk)]
    shell.run(argv, timeout_s=DISK_TIMEOUT_S)
    return size_mb
