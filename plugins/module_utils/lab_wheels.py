"""Wheels of a lock file, collected on this host for the Python of an image."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.lab_bootstrap import only_one

# pip evaluates markers for the Python it runs under, not for --python-version; so a lock is
# first reduced to the lines that hold inside the image. Standard input to standard output.
_REDUCE = """
import sys
from pip._vendor.packaging.requirements import Requirement
version, machine = sys.argv[1:]
where = {"python_version": version, "python_full_version": version + ".0",
         "implementation_name": "cpython", "platform_python_implementation": "CPython",
         "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
         "platform_machine": machine, "extra": ""}
for line in sys.stdin.read().replace("\\\\\\n", " ").splitlines():
    line = line.split(" #")[0].strip()
    if not line or line.startswith("#"):
        continue
    wanted, *hashes = line.split(" --hash=")
    wanted = Requirement(wanted.strip())
    if wanted.marker is None or wanted.marker.evaluate(where):
        print(wanted.name + str(wanted.specifier), *("--hash=" + one.strip() for one in hashes))
"""


class WheelsError(Exception):
    """The wheels cannot be had; the text says why and what to set."""


@dataclass(frozen=True)
class Target:
    """The Python that the wheels are for.

    Attributes:
        python: Version with two parts.
        machine: Architecture in the kernel's words.
        glibc: Version of the C library.
    """

    python: str
    machine: str
    glibc: str

    def platforms(self) -> list[str]:
        """Platform tags that run there, the newest first."""
        newest = int(self.glibc.partition(".")[2] or 17)
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in range(newest, 4, -1)]
        tags += [f"{old}_{self.machine}" for old in ("manylinux2014", "manylinux2010", "linux")]
        return tags


def key_of(lock: str, target: Target) -> str:
    """What the cache knows a lock by, for one target."""
    return hashlib.sha256(f"{target}\n{lock}".encode()).hexdigest()[:16]


def folder_of(lock: str, target: Target, arguments: dict[str, Any]) -> Path:
    """Where the wheels of a lock are cached, or will be."""
    return Path(arguments["cache_dir"]) / "wheels" / key_of(lock, target)


def reduced(lock: str, target: Target, python: str) -> str:
    """The lines of a lock that hold for the target.

    Raises:
        WheelsError: That Python has no pip.
    """
    return run([python, "-c", _REDUCE, target.python, target.machine], lock)


def matching(target: Target) -> list[str]:
    """Options by which pip takes wheels that fit the target, whatever Python it runs under."""
    options = ["--only-binary=:all:", f"--python-version={target.python}", "--implementation=cp"]
    return [*options, *(f"--platform={tag}" for tag in target.platforms())]


def collect(lock: str, target: Target, arguments: dict[str, Any]) -> Path:
    """Folder with every wheel of a lock; from the cache where it is there.

    Args:
        lock: Text of the lock file, complete and with hashes.
        target: The Python that they are for.
        arguments: `python`, `cache_dir`, `wheel_dir`, `proxy`, `ca_bundle`, `timeout_s`.

    Raises:
        WheelsError: A wheel cannot be had.
    """
    folder = folder_of(lock, target, arguments)
    if folder.is_dir():
        return folder
    with only_one(folder.parent):
        if folder.is_dir():
            return folder
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        wanted = partial / "requirements.txt"
        wanted.write_text(reduced(lock, target, str(arguments["python"])), encoding="utf-8")
        download(wanted, partial, target, arguments)
        wanted.unlink()
        partial.rename(folder)
    return folder


def download(wanted: Path, folder: Path, target: Target, arguments: dict[str, Any]) -> None:
    """Let pip fetch the wheels, from the local folder alone when that suffices.

    Raises:
        WheelsError: A wheel cannot be had.
    """
    command = [str(arguments["python"]), "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-deps", "--require-hashes"]
    command += ["--retries=2", "--timeout=20", f"--dest={folder}"]
    command += [f"--requirement={wanted}", *matching(target)]
    index = []
    if arguments["ca_bundle"]:
        index.append(f"--cert={arguments['ca_bundle']}")
    if arguments["proxy"]:
        index.append(f"--proxy={arguments['proxy']}")
    if arguments["wheel_dir"]:
        local = f"--find-links={arguments['wheel_dir']}"
        index.append(local)
        try:
            run([*command, "--no-index", local], timeout_s=arguments["timeout_s"])
        except WheelsError:
            pass  # what the folder lacks may be in the index
        else:
            return
    try:
        run([*command, *index], timeout_s=arguments["timeout_s"])
    except WheelsError as error:
        raise WheelsError(
            f"wheels for Python {target.python} cannot be had: {error}. Set lab_wheel_dir to a "
            "folder that holds them, or lab_http_proxy or lab_ca_bundle to reach the Python index."
        ) from error


def run(argv: list[str], stdin: str = "", timeout_s: float = 60) -> str:
    """Run a program and return its standard output.

    Raises:
        WheelsError: It failed, or there is no such program.
    """
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WheelsError(str(error)) from error
    if done.returncode != 0:
        raise WheelsError(" | ".join((done.stderr or done.stdout).strip().splitlines()[-5:]))
    return done.stdout
