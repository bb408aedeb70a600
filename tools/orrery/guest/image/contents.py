"""What goes into the image, read from the role's files, and the identity that follows."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError
from orrery.packages import elf, files
from orrery.packages.store import digest

BUILDERS = (
    *(
        Path(__file__).with_name(f"{name}.py")
        for name in ("assemble", "build", "cpio", "kernel", "modules")
    ),
    Path(elf.__file__),
    Path(files.__file__),
)
"""Modules that decide what an image looks like."""


@dataclass(frozen=True)
class Contents:
    """The file contents.toml."""

    kernels: dict[str, str]
    packages: tuple[str, ...]
    unneeded: tuple[str, ...]
    programs: tuple[str, ...]
    boot_modules: tuple[str, ...]
    on_demand_modules: tuple[str, ...]
    optional_modules: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """The role's files.

    Attributes:
        recipe: Hash of everything that decides about an image, but the packages' versions.
    """

    folder: Path
    contents: Contents
    recipe: str

    @property
    def scripts(self) -> dict[str, bytes]:
        """Text of init and shutdown."""
        return {name: (self.folder / name).read_bytes() for name in ("init", "shutdown")}

    @property
    def probe(self) -> list[Path]:
        """Files of the probe, in C."""
        return sorted((self.folder / "probe").glob("*.c"))


def load(folder: Path) -> Source:
    """Read the role's files.

    Raises:
        ConfigurationError: One is missing or wrong.
    """
    parts = [folder / "contents.toml", folder / "init", folder / "shutdown"]
    parts += sorted((folder / "probe").glob("*.[ch]"))
    parts += BUILDERS
    try:
        found = {path.name: path.read_bytes() for path in parts}
        contents = parse(tomllib.loads(found["contents.toml"].decode()))
    except OSError as error:
        raise ConfigurationError(
            f"guest image: {error.filename}: {error.strerror}. --source has to be the folder "
            "files of the role guest_image."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"guest image: {folder}/contents.toml: {error}.") from error
    if not any(name.endswith(".c") for name in found):
        raise ConfigurationError(f"guest image: {folder}/probe holds no C program.")
    return Source(folder, contents, digest(part for pair in found.items() for part in pair))


def parse(data: dict[str, Any]) -> Contents:
    """The contents from their file.

    Raises:
        ConfigurationError: A part is missing or of another type.
    """

    def names(section: str, key: str) -> tuple[str, ...]:
        found = data.get(section, {}).get(key)
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise ConfigurationError(
                f"guest image: contents.toml: {section}.{key} is {found!r}, a list of names is "
                "needed."
            )
        return tuple(found)

    kernels = data.get("kernel")
    if not isinstance(kernels, dict) or not kernels:
        raise ConfigurationError(
            f"guest image: contents.toml: kernel is {kernels!r}, a package for each distribution "
            "is needed."
        )
    return Contents(
        kernels={str(key): str(value) for key, value in kernels.items()},
        packages=names("packages", "names"),
        unneeded=names("packages", "unneeded"),
        programs=names("programs", "names"),
        boot_modules=names("modules", "boot"),
        on_demand_modules=names("modules", "on_demand"),
        optional_modules=names("modules", "optional"),
    )
