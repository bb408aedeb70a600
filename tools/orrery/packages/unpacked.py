"""A program out of a package, with the libraries that the host lacks, in a folder of its own."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orrery import shell
from orrery.errors import HostError
from orrery.packages import apt, elf, files
from orrery.packages.apt import Apt, Package, UnreachableError
from orrery.packages.store import WORK_PREFIX, digest, locked, write

HOST = Path("/")
STATUS = Path("/var/lib/dpkg/status")
MANIFEST, PROGRAMS, LIBRARIES = "manifest.json", "bin", "lib"
QUERY_TIMEOUT_S = 30
# What packages for developers depend on and no program is linked with.
UNNEEDED = ("*-dev", "*-dev-bin", "*-bin", "*-doc", "python3*", "perl*", "debconf*", "libc6")


@dataclass(frozen=True)
class Wanted:
    """A program.

    Attributes:
        package: The package that has it.
        version: Of the package.
        program: Name of its file.
    """

    package: str
    version: str
    program: str


@dataclass(frozen=True)
class Unpacked:
    """A program that is there.

    Attributes:
        changed: Whether it was made now, or would be.
        libraries: Folder that the loader has to look into first.
        note: What the user should know.
    """

    changed: bool
    folder: Path
    program: Path
    libraries: Path
    note: str = ""


def ensure(wanted: Wanted, source: Apt, *, offline: bool, check: bool) -> Unpacked:
    """Have a program.

    Args:
        wanted: Which.
        source: Where packages come from; its cache is where the program goes.
        offline: Whether nothing may be fetched.
        check: Only say what would be made.

    Raises:
        UnreachableError: It is not there and cannot be had.
        HostError: The package holds no such program, a library is missing, or the disk is full;
            nothing of it is left then.
    """
    try:
        return _ensured(wanted, source, offline=offline, check=check)
    except OSError as error:
        raise HostError(
            f"{source.what}: {error.filename or source.cache}: {error.strerror}. Free space in "
            f"{source.cache}, or set lab_cache_dir."
        ) from error


def _ensured(wanted: Wanted, source: Apt, *, offline: bool, check: bool) -> Unpacked:
    try:
        plan = _planned(wanted, source, offline=offline, check=check)
    except UnreachableError as error:
        return _older(wanted, source.cache, error)
    folder = source.cache / _identity(wanted, plan)
    if complete(folder) is not None:
        return _at(folder, wanted)
    if check:
        return _at(folder, wanted, changed=True)
    with locked(source.cache, source.what):
        if complete(folder) is not None:
            return _at(folder, wanted)
        try:
            source.fetch(plan, offline=offline)
        except UnreachableError as error:
            return _older(wanted, source.cache, error)
        _make(wanted, source, plan, folder)
    return _at(folder, wanted, changed=True)


def complete(folder: Path) -> dict[str, Any] | None:
    """Manifest of a complete folder; None where there is none, or files of it are missing."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sizes = {name: (folder / name).stat().st_size for name in manifest["sizes"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if sizes == manifest["sizes"] else None


def installed_version(package: str) -> str:
    """Version of a package that the host has; empty where it has none."""
    argv = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Version}", package]
    done = shell.run(argv, timeout_s=QUERY_TIMEOUT_S, check=False)
    state, _, version = done.stdout.partition(" ")
    return version.strip() if done.returncode == 0 and state.startswith("ii") else ""


def choose(
    wanted: Wanted, stanzas: Iterable[Mapping[str, str]], installed: set[str]
) -> list[Package]:
    """Packages to unpack: the program's own, and what it depends on that the host does not have.

    Args:
        wanted: The program.
        stanzas: What apt says of the package and all that it depends on.
        installed: Names of packages that the host has.

    Raises:
        UnreachableError: apt does not know the package in this version.
    """
    known = {one["Package"]: dict(one) for one in stanzas}
    own = known.get(wanted.package, {}).get("Version")
    if own != wanted.version:
        raise UnreachableError(
            f"apt knows {wanted.package} {own or 'in no version'}, and {wanted.version} is needed. "
            f"{apt.ADVICE}"
        )
    chosen: dict[str, Package] = {}
    waiting = [wanted.package]
    while waiting:
        name = waiting.pop()
        unneeded = any(fnmatch.fnmatch(name, pattern) for pattern in UNNEEDED)
        if name in chosen or name not in known:
            continue
        if name != wanted.package and (unneeded or name in installed):
            continue
        chosen[name] = apt.package(known[name])
        waiting += apt.parse_depends(known[name].get("Depends", ""))
    return sorted(chosen.values())


def _planned(wanted: Wanted, source: Apt, *, offline: bool, check: bool) -> list[Package]:
    """Packages to unpack; kept as long as apt's lists and the host's packages stay as they are.

    Raises:
        UnreachableError: apt's lists do not name all, and cannot be refreshed.
    """
    path = source.cache / f"plan-{wanted.program}.json"
    stamp = _stamp(wanted, source)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["stamp"] == stamp:
            return [Package(**one) for one in kept["packages"]]
    try:
        plan = _plan(wanted, source)
    except UnreachableError:
        if offline or check:
            raise
        source.cache.mkdir(parents=True, exist_ok=True)
        source.update()
        plan = _plan(wanted, source)
    if not check:
        kept = {"stamp": _stamp(wanted, source), "packages": [asdict(one) for one in plan]}
        source.cache.mkdir(parents=True, exist_ok=True)
        write(path, json.dumps(kept, indent=1).encode())
    return plan


def _stamp(wanted: Wanted, source: Apt) -> str:
    has = STATUS.stat().st_mtime_ns if STATUS.exists() else 0
    return source.stamp_of(f"{wanted} {has} {_recipe()}")


def _recipe() -> str:
    """Hash of what decides about a folder, but the packages."""
    return digest(Path(module).read_bytes() for module in (__file__, files.__file__, elf.__file__))


def _plan(wanted: Wanted, source: Apt) -> list[Package]:
    names = source.closure([f"{wanted.package}={wanted.version}"])
    argv = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}\n"]
    rows = shell.run(argv, timeout_s=QUERY_TIMEOUT_S).stdout.splitlines()
    installed = {row.split()[1] for row in rows if row.startswith("ii ")}
    return choose(wanted, source.show([f"{name}={version}" for name, version in names]), installed)


def _identity(wanted: Wanted, plan: list[Package]) -> str:
    return digest([_recipe(), wanted.program, *(f"{one.file} {one.sha256}" for one in plan)])


def _at(folder: Path, wanted: Wanted, *, changed: bool = False, note: str = "") -> Unpacked:
    program = folder / PROGRAMS / wanted.program
    return Unpacked(changed, folder, program, folder / LIBRARIES, note)


def _make(wanted: Wanted, source: Apt, plan: list[Package], folder: Path) -> None:
    """Build the folder beside its place, then move it there as a whole."""
    with tempfile.TemporaryDirectory(dir=source.cache, prefix=WORK_PREFIX) as name:
        source.unpack(plan, Path(name) / "unpacked")
        ready = Path(name) / "ready"
        _collect(wanted, Path(name) / "unpacked", ready, source.what)
        sizes = {
            str(path.relative_to(ready)): path.stat().st_size
            for path in sorted(ready.rglob("*"))
            if path.is_file()
        }
        manifest = {
            "program": wanted.program,
            "package": wanted.package,
            "version": wanted.version,
            "packages": {one.name: one.version for one in plan},
            "sizes": sizes,
        }
        write(ready / MANIFEST, json.dumps(manifest, indent=2).encode())
        if folder.exists():
            shutil.rmtree(folder)
        ready.replace(folder)


def _collect(wanted: Wanted, root: Path, target: Path, what: str) -> None:
    """Copy the program, and of its libraries those that the host does not have.

    Raises:
        HostError: The program, or a library, is in no package.
    """
    program = files.find(root, wanted.program, files.PROGRAM_FOLDERS)
    if program is None:
        raise HostError(f"{what}: the package {wanted.package} holds no {wanted.program}.")
    for folder in (target, target / PROGRAMS, target / LIBRARIES):
        folder.mkdir()
        folder.chmod(0o755)
    data = program.read_bytes()
    write(target / PROGRAMS / wanted.program, data, 0o755)

    def read(name: str) -> bytes | None:
        path = files.library(HOST, name) or files.library(root, name)
        return None if path is None else path.read_bytes()

    advice = "Install what has it, then run ./lab up again."
    for name, library in files.libraries({wanted.program: data}, read, what, advice).items():
        if files.library(HOST, name) is None:
            write(target / LIBRARIES / name, library)


def _older(wanted: Wanted, cache: Path, error: UnreachableError) -> Unpacked:
    """The newest folder with the same program in the same version.

    Raises:
        UnreachableError: There is none.
    """
    made = [(folder, complete(folder)) for folder in cache.glob("[0-9a-f]*")]
    same = [
        (folder.stat().st_mtime, folder)
        for folder, manifest in made
        if manifest is not None
        and {key: manifest.get(key) for key in asdict(wanted)} == asdict(wanted)
    ]
    if not same:
        raise error
    folder = max(same)[1]
    return _at(folder, wanted, note=f"{wanted.program} of {folder.name} stays in use: {error}")
