"""Packages of a lock file, installed on this host for the Python of an image: one archive."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.module_utils.lab_bootstrap import only_one
from ansible.module_utils.lab_wheels import (
    Target,
    WheelsError,
    collect,
    key_of,
    matching,
    reduced,
    run,
)

PLACE = "orrery-build/packages"
"""Folder inside the archive; install.py of the role container_image takes it from there."""
COMPILE_TIMEOUT_S = 300
WITHOUT = "# without: "
"""Begins a line of a lock: paths below site-packages that the image can do without."""

# Only the same Python can compile for the image; elsewhere the image does it. Its user cannot
# write beside the modules, and what is in it never changes.
_COMPILE = """
import compileall, py_compile, sys
folder, version = sys.argv[1:]
if version == "%d.%d" % sys.version_info[:2]:
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, quiet=2, workers=0, stripdir=folder, invalidation_mode=mode)
"""


def archive_of(lock: str, target: Target, arguments: dict[str, Any]) -> Path:
    """Where the installed packages of a lock are cached, or will be."""
    return Path(arguments["cache_dir"]) / "installed" / f"{key_of(lock, target)}-lean.tar"


def install(lock: str, target: Target, arguments: dict[str, Any]) -> Path:
    """Archive with what a lock's wheels put beside each other; from the cache where it is there.

    Args:
        lock: Text of the lock file, complete and with hashes.
        target: The Python that the packages are for.
        arguments: Those of `lab_wheels.collect`.

    Raises:
        WheelsError: A wheel cannot be had or installed.
        OSError: There is no room for it.
    """
    archive = archive_of(lock, target, arguments)
    if archive.is_file():
        return archive
    wheels = collect(lock, target, arguments)
    with only_one(archive.parent):
        if not archive.is_file():
            partial = archive.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                fill(partial / "site", lock, target, arguments, wheels)
                with tarfile.open(partial / archive.name, "w") as content:
                    content.add(partial / "site", PLACE, filter=owned_by_root)
                (partial / archive.name).rename(archive)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return archive


def fill(site: Path, lock: str, target: Target, arguments: dict[str, Any], wheels: Path) -> None:
    """Let pip install, and this Python compile where it is as the target's.

    Raises:
        WheelsError: A wheel is not what the lock says.
    """
    python = str(arguments["python"])
    wanted = site.with_name("requirements.txt")
    wanted.write_text(reduced(lock, target, python), encoding="utf-8")
    command = [python, "-m", "pip", "install", "--quiet", "--no-input", "--no-index"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--no-compile", "--no-deps"]
    command += ["--require-hashes", "--root-user-action=ignore", f"--find-links={wheels}"]
    command += [f"--target={site}", f"--requirement={wanted}", *matching(target)]
    run(command, timeout_s=arguments["timeout_s"])
    # A quarter of numpy's files; what they share may be needed, and stays.
    for test in site.glob("**/tests/**/test_*.py"):
        test.unlink()
    for path in (one for pattern in unneeded(lock) for one in site.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run([python, "-c", _COMPILE, str(site), target.python], timeout_s=COMPILE_TIMEOUT_S)


def unneeded(lock: str) -> list[str]:
    """Paths below site-packages, as the lock's lines beginning with `# without: ` say.

    Raises:
        WheelsError: One leads to somewhere else.
    """
    lines = [line for line in lock.splitlines() if line.startswith(WITHOUT)]
    found = [path for line in lines for path in line.removeprefix(WITHOUT).split()]
    for path in map(PurePosixPath, found):
        if path.is_absolute() or ".." in path.parts:
            raise WheelsError(f"'{WITHOUT}{path}' found in a lock; a path below it is needed.")
    return found


def owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry that nobody but root can change, whoever installed it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry
