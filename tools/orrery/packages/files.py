"""Programs and libraries in a folder of unpacked packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from orrery.errors import HostError
from orrery.packages import elf

LIBRARIES = "lib/x86_64-linux-gnu"
"""Where the loader of Debian and Ubuntu looks first."""
PROGRAM_FOLDERS = ("bin", "usr/bin", "sbin", "usr/sbin")
LIBRARY_FOLDERS = (LIBRARIES, f"usr/{LIBRARIES}", "lib", "usr/lib", "lib64", "usr/lib64")


def libraries(
    binaries: Mapping[str, bytes], read: Callable[[str], bytes | None], what: str, advice: str
) -> dict[str, bytes]:
    """Every library that programs need, directly or through another one, and the loader.

    Args:
        binaries: The programs, by name.
        read: Gives a library's file, or None where there is none.
        what: What they are for, as errors begin.
        advice: What to do about a missing one.

    Raises:
        HostError: One is missing, or a file cannot be read.
    """
    there: dict[str, bytes] = {}
    waiting = list(binaries.items())
    while waiting:
        name, data = waiting.pop()
        try:
            loader = elf.interpreter(data).rpartition("/")[2]
            needs = [*elf.needed(data), *([loader] if loader else [])]
        except elf.ElfError as error:
            raise HostError(f"{what}: {name} in its package: {error}.") from error
        for need in needs:
            if need in there:
                continue
            library = read(need)
            if library is None:
                raise HostError(f"{what}: {name} needs {need}, which no package holds. {advice}")
            there[need] = library
            waiting.append((need, library))
    return there


def library(root: Path, name: str) -> Path | None:
    """A library below a folder, or None."""
    return find(root, name, LIBRARY_FOLDERS)


def find(root: Path, name: str, folders: Iterable[str]) -> Path | None:
    """A file below a folder; links that lead out of the folder lead to the host, and are not it."""
    for folder in folders:
        path = (root / folder / name).resolve()
        if path.is_file() and path.is_relative_to(root.resolve()):
            return path
    return None
