"""Root filesystem archives, made with mmdebstrap from the mirror that the host installs from."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.lab_mirror import (
    DPKG_OPTIONS,
    INDEX_TARGETS,
    SETTINGS,
    apt_settings,
    mirror_lines,
)

# Raised when the way of building changes, so that older images are not taken for new ones.
RECIPE = "1"
# Settings of the host's apt (a proxy may hold a password) do not stay in the image. Where the
# distribution's default Python is too old, a newer one among the packages becomes python3.
CLEAN = (
    'rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap" "$1/etc/apt/sources.list" '
    '"$1/etc/hostname" "$1/etc/resolv.conf"'
)
# Lays the links /bin -> usr/bin out first, which spares the package usrmerge, and with it Perl.
MERGED_USR = Path("/usr/share/mmdebstrap/hooks/merged-usr")
LINK_PYTHON = (
    'test -e "$1/usr/bin/python3" || '
    'ln -s "/usr/bin/$(cd "$1/usr/bin" && ls | grep -x "python3[.][0-9]*" | sort -V | tail -n 1)" '
    '"$1/usr/local/bin/python3"'
)


class RefusedError(Exception):
    """There is no base image, for a reason the user can act on."""


def digest(*parts: Any) -> str:
    """Twelve hexadecimal digits over JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def bootstrap_key(arguments: dict[str, Any]) -> str:
    """Key of everything that decides what a bootstrapped image holds."""
    return digest(
        RECIPE,
        arguments["suite"],
        arguments["architecture"],
        sorted(arguments["packages"]),
        arguments["revision"],
        DPKG_OPTIONS,
    )


def output_of(*argv: str) -> str:
    """What a quick program of the host prints."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


def release_date() -> int:
    """Newest date of the host's package lists, Unix time [s].

    No file of a package is younger, so clamping to it leaves file times, and with them the
    compiled Python modules, valid.
    """
    lists = Path("/var/lib/apt/lists").glob("*Release")
    return max((int(one.stat().st_mtime) for one in lists), default=0)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two labs do not bootstrap the same archive at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def archive_path(arguments: dict[str, Any]) -> Path:
    """Where the bootstrapped archive of this key is kept."""
    name = f"{arguments['suite']}-{arguments['architecture']}-{bootstrap_key(arguments)}.tar"
    return Path(arguments["cache_dir"]) / "base" / name


def checksum_file(archive: Path) -> Path:
    """File beside an archive that holds its SHA-256."""
    return archive.with_suffix(".tar.sha256")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as handle:
        total = hashlib.sha256()
        while chunk := handle.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()


def cached(archive: Path) -> bool:
    """Whether a whole archive is there; a damaged one is removed."""
    beside = checksum_file(archive)
    if not (archive.is_file() and beside.is_file()):
        return False
    if beside.read_text(encoding="ascii").split()[:1] == [sha256_of(archive)]:
        return True
    archive.unlink()
    return False


def bootstrap(arguments: dict[str, Any], archive: Path) -> None:
    """Make the archive under a temporary name and put it in place when whole.

    Raises:
        RefusedError: There is no mirror, or mmdebstrap failed.
    """
    for left in archive.parent.glob("*.partial*"):
        left.unlink()
    lines = mirror_lines(arguments["suite"], arguments["mirror"], output_of(*INDEX_TARGETS))
    if not lines:
        raise RefusedError(
            f"base image: apt on this host has no mirror of '{arguments['suite']}'. "
            "Set lab_package_mirror to one."
        )
    partial = archive.with_suffix(".tar.partial")
    # Closed by the with statement that follows; one line would be too long.
    settings = tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8")  # noqa: SIM115
    with settings:
        dump = output_of(*SETTINGS)
        settings.write(apt_settings(dump, arguments["proxy"], arguments["ca_bundle"]))
        settings.flush()
        run_mmdebstrap(arguments, lines, Path(settings.name), partial)
    checksum_file(archive).write_text(f"{sha256_of(partial)}  {archive.name}\n", encoding="ascii")
    partial.rename(archive)


def run_mmdebstrap(
    arguments: dict[str, Any], lines: list[str], settings: Path, target: Path
) -> None:
    """Run mmdebstrap into `target`.

    Raises:
        RefusedError: It failed or took too long.
    """
    argv = ["mmdebstrap", "--variant=essential", "--format=tar", f"--aptopt={settings}"]
    argv += [f"--architectures={arguments['architecture']}"]
    argv += [f"--include={','.join(sorted(arguments['packages']))}"]
    argv += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    if "usr-is-merged" in arguments["packages"]:
        argv.append(f"--hook-dir={MERGED_USR}")
    argv += [f"--customize-hook={LINK_PYTHON}", f"--customize-hook={CLEAN}"]
    argv += [arguments["suite"], str(target), *lines]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    if date := release_date():
        environment["SOURCE_DATE_EPOCH"] = str(date)
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
    )
    bound_s = arguments["bootstrap_timeout_s"]
    try:
        _, messages = process.communicate(timeout=bound_s)
    except subprocess.TimeoutExpired as error:
        # TERM lets it unmount what it mounted in its folder.
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        raise RefusedError(
            f"base image: mmdebstrap took longer than {bound_s} s. Set lab_package_mirror to a "
            "nearer mirror or base_image_bootstrap_timeout_s to more."
        ) from error
    if process.returncode != 0:
        last = " | ".join(messages.strip().splitlines()[-8:])
        raise RefusedError(
            f"base image: mmdebstrap ended with {process.returncode}: {last}. Check that "
            f"{lines[0]} answers, or set lab_package_mirror or lab_http_proxy."
        )
