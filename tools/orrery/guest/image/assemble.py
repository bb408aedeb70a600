"""The guest's initial file system, out of unpacked packages, the role's scripts and the probe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orrery import shell
from orrery.errors import ConfigurationError, HostError
from orrery.guest.image import cpio, modules
from orrery.guest.image.contents import Source
from orrery.packages.files import LIBRARIES, PROGRAM_FOLDERS, find, libraries, library

UNNEEDED = "Take its package out of packages.unneeded in contents.toml."
LIST_TIMEOUT_S = 10
# Programs of busybox that /sbin/shutdown stands for, which ends the guest without its init.
ENDINGS = ("shutdown", "poweroff", "halt", "reboot")
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/shells": "/bin/sh\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    # What `mount` without a type tries.
    "etc/filesystems": "ext4\n",
    # The power button's event, as busybox's acpid calls it.
    "etc/acpi/PWRF/00000080": "#!/bin/sh\nexec /sbin/shutdown -P\n",
    "etc/profile": "export PS1='\\h:\\w# '\n",
}
FOLDERS = ("dev", "proc", "sys", "run", "mnt", "root", "root/.ssh", "tmp", "etc/dropbear", "var")
SECRET = ("root", "root/.ssh", "etc/dropbear")
LINKS = {"usr/bin": "../bin", "usr/sbin": "../sbin", "var/run": "../run", "sbin/init": "../init"}


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel.

    Attributes:
        image: The file that QEMU starts.
        modules: Folder lib/modules/<version>.
    """

    version: str
    image: Path
    modules: Path


def find_kernel(unpacked: Path) -> Kernel:
    """The kernel in a folder of unpacked packages.

    Raises:
        HostError: There is none, or there are several.
    """
    images = sorted((unpacked / "boot").glob("vmlinuz-*"))
    if len(images) != 1:
        found = ", ".join(path.name for path in images) or "none"
        raise HostError(f"guest image: kernels in the kernel's package: {found}; one is needed.")
    version = images[0].name.removeprefix("vmlinuz-")
    roots = (unpacked / "lib/modules" / version, unpacked / "usr/lib/modules" / version)
    for folder in roots:
        if folder.is_dir():
            return Kernel(version, images[0], folder)
    raise HostError(f"guest image: the package of kernel {version} holds no modules.")


def entries(source: Source, unpacked: Path, kernel: Kernel, probe: bytes) -> list[cpio.Entry]:
    """Everything that is in the guest when it starts.

    Raises:
        ConfigurationError: A program or module that is asked for does not exist.
        HostError: A library is missing, or a file cannot be read.
    """
    root = unpacked / "programs"
    return [
        *programs(source.contents.programs, root),
        *busybox_links(root, source.contents.programs),
        *kernel_modules(source, kernel),
        *skeleton(),
        *(cpio.link(f"sbin/{name}", "shutdown") for name in ENDINGS[1:]),
        cpio.file("sbin/shutdown", source.scripts["shutdown"], 0o755),
        cpio.file("init", source.scripts["init"], 0o755),
        cpio.file("bin/orrery-probe", probe, 0o755),
    ]


def skeleton() -> list[cpio.Entry]:
    """Folders, links and small files that every system has."""
    return [
        *(cpio.folder(path, 0o700 if path in SECRET else 0o755) for path in FOLDERS),
        *(cpio.link(path, target) for path, target in LINKS.items()),
        *(
            cpio.file(path, text.encode(), 0o755 if text.startswith("#!") else 0o644)
            for path, text in FILES.items()
        ),
        # Without these two nothing of /init's own messages would be seen.
        cpio.character_device("dev/console", 5, 1),
        cpio.character_device("dev/null", 1, 3, 0o666),
    ]


def programs(names: Iterable[str], root: Path) -> list[cpio.Entry]:
    """Programs, their loader and all libraries that they need, from a folder of packages."""
    found: list[cpio.Entry] = []
    binaries = {}
    for name in names:
        path = find(root, name, PROGRAM_FOLDERS)
        if path is None:
            raise ConfigurationError(
                f"guest image: no package holds the program {name}. Add its package to "
                "packages.names in contents.toml."
            )
        binaries[name] = path.read_bytes()
        found.append(cpio.file(f"bin/{name}", binaries[name], 0o755))

    def read(name: str) -> bytes | None:
        path = library(root, name)
        return None if path is None else path.read_bytes()

    for name, data in libraries(binaries, read, "guest image", UNNEEDED).items():
        loader = name.startswith("ld-linux")
        found.append(cpio.file(f"{'lib64' if loader else LIBRARIES}/{name}", data, 0o755))
    return found


def busybox_links(root: Path, taken: Iterable[str]) -> list[cpio.Entry]:
    """A link for each program that is part of busybox, where no program of its own is."""
    path = find(root, "busybox", PROGRAM_FOLDERS)
    if path is None:
        return []
    # It is linked statically: it says here what it can do, whatever is installed here.
    listed = shell.run([path, "--list"], timeout_s=LIST_TIMEOUT_S).stdout.split()
    names = set(listed) - {*taken, *ENDINGS, "busybox", "init", "linuxrc", "["}
    links = [cpio.link(f"bin/{name}", "busybox") for name in sorted(names)]
    # The kernel calls this path when it misses a module.
    return [*links, cpio.link("bin/[", "busybox"), cpio.link("sbin/modprobe", "../bin/busybox")]


def kernel_modules(source: Source, kernel: Kernel) -> list[cpio.Entry]:
    """The modules, and what modprobe has to know of them."""
    contents = source.contents
    listed = kernel.modules / "modules.builtin"
    builtin_text = listed.read_text(encoding="utf-8") if listed.is_file() else ""
    found = modules.resolve(
        [*contents.boot_modules, *contents.on_demand_modules],
        modules.index(kernel.modules / "kernel"),
        modules.builtin(builtin_text),
        optional=contents.optional_modules,
    )
    boot = [modules.normal(name) for name in contents.boot_modules]
    folder = f"lib/modules/{kernel.version}"
    texts = {
        f"{folder}/modules.dep": modules.dependencies(found),
        f"{folder}/modules.alias": modules.aliases(found),
        # So that modprobe does not complain of what is part of the kernel.
        f"{folder}/modules.builtin": builtin_text,
        "etc/modules": " ".join(name for name in boot if name in found) + "\n",
    }
    return [
        *(cpio.file(f"{folder}/{module.file}", module.data) for module in found.values()),
        *(cpio.file(path, text.encode()) for path, text in texts.items()),
    ]
