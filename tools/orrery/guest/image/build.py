"""Makes the image, or finds it: one folder for each set of inputs, complete or not there."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery import shell
from orrery.errors import HostError
from orrery.guest.image import assemble, cpio, packages
from orrery.guest.image import kernel as kernel_image
from orrery.guest.image.contents import Source
from orrery.guest.image.needs import MissingProgramError
from orrery.packages.apt import UnreachableError
from orrery.packages.store import WORK_PREFIX, digest, locked, write

KERNEL, INITRD, PROBE, MANIFEST = "vmlinuz", "initrd.cpio", "orrery-probe", "manifest.json"
COMPILER = ("cc", "-O2", "-static", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror")
COMPILER_PACKAGES = ("gcc", "libc6-dev")
COMPILE_TIMEOUT_S = 120


@dataclass(frozen=True)
class Result:
    """An image.

    Attributes:
        changed: Whether it was made now, or would be.
        note: What the user should know.
    """

    changed: bool
    id: str
    folder: Path
    kernel_version: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Fields of the command's answer."""
        return {
            "changed": self.changed,
            "id": self.id,
            "folder": str(self.folder),
            "kernel": str(self.folder / KERNEL),
            "initrd": str(self.folder / INITRD),
            "probe": str(self.folder / PROBE),
            "kernel_version": self.kernel_version,
            "note": self.note,
        }


def ensure(source: Source, apt: packages.Apt, *, offline: bool, check: bool) -> Result:
    """Have the image of these inputs.

    Args:
        source: The role's files.
        apt: Where packages come from; its cache is where images go.
        offline: Whether nothing may be fetched.
        check: Only say what would be made.

    Raises:
        OrreryError: It cannot be made; nothing of it is left then.
    """
    try:
        plan = planned(source, apt, offline=offline, check=check)
    except UnreachableError as error:
        return _older(source, apt.cache, error)
    identity = image_id(source, plan)
    folder = apt.cache / identity
    manifest = complete(folder)
    if manifest is not None:
        return Result(False, identity, folder, manifest["kernel_version"])
    if check:
        return Result(True, identity, folder)
    with locked(apt.cache, packages.WHAT):
        manifest = complete(folder)
        if manifest is not None:
            return Result(False, identity, folder, manifest["kernel_version"])
        # Before the downloads: who has to install a compiler first is told at once.
        probe = compile_probe(source)
        try:
            apt.fetch(plan.all, offline=offline)
        except UnreachableError as error:
            return _older(source, apt.cache, error)
        manifest = make(source, apt, plan, probe, folder)
    return Result(True, identity, folder, manifest["kernel_version"])


def image_id(source: Source, plan: packages.Plan) -> str:
    """Name of the image of these inputs."""
    return digest([source.recipe, *(f"{one.file} {one.sha256}" for one in plan.all)])


def planned(source: Source, apt: packages.Apt, *, offline: bool, check: bool) -> packages.Plan:
    """Packages and versions; kept as long as apt's lists stay as they are, since apt is slow.

    Raises:
        UnreachableError: apt's lists do not name all, and cannot be refreshed.
    """
    path = apt.cache / "plan.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["stamp"] == apt.stamp(source.contents):
            return packages.from_json(kept)
    try:
        plan = apt.plan(source.contents)
    except UnreachableError:
        if offline or check:
            raise
        apt.cache.mkdir(parents=True, exist_ok=True)
        apt.update()
        plan = apt.plan(source.contents)
    if not check:
        kept = {"stamp": apt.stamp(source.contents), **packages.to_json(plan)}
        apt.cache.mkdir(parents=True, exist_ok=True)
        write(path, json.dumps(kept, indent=1).encode())
    return plan


def compile_probe(source: Source) -> bytes:
    """The static program of the probes.

    Raises:
        MissingProgramError: No compiler, or no static C library.
        CommandError: The program has a fault.
    """
    why = "the guest's probes are compiled here"
    MissingProgramError.look_for("cc", COMPILER_PACKAGES, why)
    with tempfile.TemporaryDirectory(prefix="orrery-") as name:
        folder = Path(name)
        empty = folder / "empty.c"
        empty.write_text("int main(void) { return 0; }\n", encoding="utf-8")
        argv = ["cc", "-static", "-o", str(folder / "empty"), str(empty)]
        if shell.run(argv, timeout_s=COMPILE_TIMEOUT_S, check=False).returncode != 0:
            raise MissingProgramError("a C library to link statically", COMPILER_PACKAGES, why)
        program = folder / PROBE
        shell.run([*COMPILER, "-o", program, *source.probe], timeout_s=COMPILE_TIMEOUT_S)
        return program.read_bytes()


def make(
    source: Source, apt: packages.Apt, plan: packages.Plan, probe: bytes, folder: Path
) -> dict[str, Any]:
    """Build the image in a folder beside its place, then move it there as a whole.

    Returns:
        Its manifest.

    Raises:
        OrreryError: Something is missing, or the disk is full; nothing is left then.
    """
    try:
        with tempfile.TemporaryDirectory(dir=apt.cache, prefix=WORK_PREFIX) as name:
            work = Path(name)
            apt.unpack(plan.kernel, work / "unpacked")
            apt.unpack(plan.programs, work / "unpacked" / "programs")
            kernel = assemble.find_kernel(work / "unpacked")
            archive = cpio.archive(assemble.entries(source, work / "unpacked", kernel, probe))
            image = work / "image"
            image.mkdir()
            image.chmod(0o755)
            write(image / INITRD, archive)
            write(image / PROBE, probe, 0o755)
            startable, direct = kernel_image.startable(kernel.image.read_bytes())
            write(image / KERNEL, startable)
            manifest = {
                "id": folder.name,
                "recipe": source.recipe,
                "kernel_version": kernel.version,
                "kernel_form": "unpacked" if direct else "packed",
                "packages": {one.name: one.version for one in plan.all},
                "sizes": {path.name: path.stat().st_size for path in sorted(image.iterdir())},
            }
            write(image / MANIFEST, json.dumps(manifest, indent=2).encode())
            if folder.exists():
                shutil.rmtree(folder)
            image.replace(folder)
    except OSError as error:
        raise HostError(
            f"guest image: {error.filename or apt.cache}: {error.strerror}. About 400 MB are "
            f"needed in {apt.cache} while it is built; free them or set lab_cache_dir."
        ) from error
    return manifest


def complete(folder: Path) -> dict[str, Any] | None:
    """Manifest of a complete image; None where there is none, or files of it are missing."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sizes = {name: (folder / name).stat().st_size for name in manifest["sizes"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = sizes == manifest["sizes"] and {KERNEL, INITRD, PROBE} <= sizes.keys()
    return manifest if whole else None


def _older(source: Source, cache: Path, error: UnreachableError) -> Result:
    """The newest image of the same recipe with other versions of packages.

    Raises:
        UnreachableError: There is none.
    """
    made = [(folder, complete(folder)) for folder in cache.glob("[0-9a-f]*")]
    same = [
        (folder.stat().st_mtime, folder, manifest)
        for folder, manifest in made
        if manifest is not None and manifest["recipe"] == source.recipe
    ]
    if not same:
        raise error
    _, folder, manifest = max(same, key=lambda one: one[0])
    note = f"The image {folder.name} stays in use: {error}"
    return Result(False, folder.name, folder, manifest["kernel_version"], note)
