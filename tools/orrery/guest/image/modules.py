"""Kernel modules: found, unpacked, and their needs resolved from what they say of themselves.

An unpacked kernel package has no modules.dep: depmod makes it when a kernel is installed.
"""

from __future__ import annotations

import gzip
import lzma
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orrery import shell
from orrery.errors import ConfigurationError, HostError
from orrery.guest.image.needs import MissingProgramError
from orrery.packages import elf

ZSTD_TIMEOUT_S = 60


@dataclass(frozen=True)
class Module:
    """One module.

    Attributes:
        name: With underscores, as the kernel calls it.
        file: Name of its file, unpacked.
        data: The file.
        needs: Modules that have to be loaded before.
        aliases: Patterns by which the kernel asks for it.
    """

    name: str
    file: str
    data: bytes
    needs: tuple[str, ...]
    aliases: tuple[str, ...]


def normal(name: str) -> str:
    """A module's name as the kernel writes it."""
    return name.replace("-", "_")


def index(folder: Path) -> dict[str, Path]:
    """Every module below a folder, by name."""
    found = sorted(folder.rglob("*.ko*"))
    return {normal(path.name.partition(".ko")[0]): path for path in found if path.is_file()}


def builtin(text: str) -> frozenset[str]:
    """Names in a file modules.builtin."""
    names = (Path(line).name.partition(".ko")[0] for line in text.splitlines())
    return frozenset(normal(name) for name in names if name)


def unpacked(path: Path) -> bytes:
    """Content of a module, whatever it is packed with.

    Raises:
        HostError: It cannot be unpacked.
        MissingProgramError: It is packed with zstd, which is not there.
    """
    data = path.read_bytes()
    try:
        if path.suffix == ".xz":
            return lzma.decompress(data)
        if path.suffix == ".gz":
            return gzip.decompress(data)
    except (lzma.LZMAError, OSError, EOFError) as error:
        raise HostError(
            f"guest image: {path.name} cannot be unpacked: {error}. "
            "Remove the folder packages of the guest cache, and build again."
        ) from error
    return _from_zstd(path) if path.suffix == ".zst" else data


def _from_zstd(path: Path) -> bytes:
    MissingProgramError.look_for(
        "zstd", ("zstd",), f"the kernel's modules ({path.name}) are packed"
    )
    with tempfile.TemporaryDirectory(prefix="orrery-") as folder:
        target = Path(folder) / path.stem
        shell.run(["zstd", "-q", "-d", path, "-o", target], timeout_s=ZSTD_TIMEOUT_S)
        return target.read_bytes()


def parse(file: str, data: bytes) -> Module:
    """A module from its file.

    Raises:
        elf.ElfError: The bytes are no module.
    """
    pairs = elf.module_information(data)
    needs = [name for key, value in pairs if key == "depends" for name in value.split(",") if name]
    aliases = [value for key, value in pairs if key == "alias"]
    name = normal(file.removesuffix(".ko"))
    return Module(name, file, data, tuple(normal(n) for n in needs), tuple(aliases))


def resolve(
    wanted: Iterable[str],
    files: Mapping[str, Path],
    built_in: frozenset[str],
    *,
    optional: Iterable[str] = (),
    read: Callable[[Path], bytes] = unpacked,
) -> dict[str, Module]:
    """The wanted modules and all that they need, each after what it needs.

    Args:
        wanted: Names; those that are part of the kernel are left out.
        files: Every module that there is, by name.
        built_in: What is part of the kernel.
        optional: Names that may be missing.
        read: Gives a module's unpacked file.

    Raises:
        ConfigurationError: There is no such module.
    """
    there: dict[str, Module] = {}

    def add(name: str, asked_by: str) -> None:
        if name in there or name in built_in:
            return
        if name not in files:
            raise ConfigurationError(
                f"guest image: the kernel has no module {name} ({asked_by}). "
                "Correct its name, or move it to modules.optional in contents.toml."
            )
        path = files[name]
        module = parse(path.name.partition(".ko")[0] + ".ko", read(path))
        for need in module.needs:
            add(need, f"{name} needs it")
        there[name] = module

    for name in map(normal, wanted):
        add(name, "contents.toml names it")
    for name in map(normal, optional):
        if name in files:
            add(name, "contents.toml names it")
    return there


def dependencies(modules: Mapping[str, Module]) -> str:
    """Text of modules.dep: behind each module what it needs, to be loaded from right to left."""

    def below(name: str) -> list[str]:
        direct = [need for need in modules[name].needs if need in modules]
        return direct + [deeper for need in direct for deeper in below(need)]

    lines = []
    for name, module in modules.items():
        # What several need stays where it is loaded first: furthest to the right.
        needs = list(dict.fromkeys(reversed(below(name))))[::-1]
        lines.append(" ".join([f"{module.file}:", *(modules[need].file for need in needs)]))
    return "".join(f"{line}\n" for line in lines)


def aliases(modules: Mapping[str, Module]) -> str:
    """Text of modules.alias."""
    return "".join(
        f"alias {alias} {module.name}\n" for module in modules.values() for alias in module.aliases
    )
