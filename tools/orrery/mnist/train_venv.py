"""The venv that `./lab mnist.train` runs in: what PyTorch needs and nobody else."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from orrery import shell
from orrery.errors import ConfigurationError

TORCH = "torch==2.13.0"
LOCK = "requirements-train.lock"
STAMP = ".complete"
VENV_TIMEOUT_S = 120.0
PIP_TIMEOUT_S = 1800.0
_PIN = re.compile(r"^([A-Za-z0-9._-]+==[^\s;\\]+(?:\s*;[^\\]+)?)", re.MULTILINE)


@dataclass(frozen=True)
class Origin:
    """Where packages come from.

    Attributes:
        torch_source: Wheel of PyTorch, a path or URL; empty takes it from the index.
        torch_sha256: Its checksum, needed with `torch_source`.
        wheel_dir: Folder of wheels to use instead of the index.
        ca_bundle: File of certificates to trust.
        proxy: HTTP proxy.
    """

    torch_source: str = ""
    torch_sha256: str = ""
    wheel_dir: str = ""
    ca_bundle: str = ""
    proxy: str = ""

    def pip_options(self) -> list[str]:
        """Options of pip that follow from it."""
        options = ["--no-index", "--find-links", self.wheel_dir] if self.wheel_dir else []
        options += ["--cert", self.ca_bundle] if self.ca_bundle else []
        return [*options, *(["--proxy", self.proxy] if self.proxy else [])]


def torch_requirement(origin: Origin) -> str:
    """What pip is asked for; a local wheel is checked here, pip checks a URL.

    Raises:
        ConfigurationError: The checksum is missing or wrong, or there is no such file.
    """
    source, wanted = origin.torch_source, origin.torch_sha256.removeprefix("sha256:")
    if not source:
        return TORCH
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise ConfigurationError(
            "lab_torch_source is set: lab_torch_checksum has to hold the wheel's SHA-256"
        )
    if source.startswith(("http://", "https://")):
        return f"torch @ {source}#sha256={wanted}"
    path = Path(source).expanduser().absolute()
    if not path.is_file():
        raise ConfigurationError(f"lab_torch_source: there is no {path}")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != wanted:
        raise ConfigurationError(f"lab_torch_source: SHA-256 {found} found, {wanted} needed")
    return str(path)


def pins(lock: str) -> str:
    """The versions of a lock without its hashes: constraints for a package outside of it."""
    return "\n".join(pin.strip() for pin in _PIN.findall(lock)) + "\n"


def ensure(folder: Path, checkout: Path, origin: Origin) -> Path:
    """Make the venv, or make it again where the lock or the origin of PyTorch changed.

    Returns:
        Its Python.

    Raises:
        ConfigurationError: `origin` is off.
        HostError: Making the venv or installing failed.
    """
    requirement = torch_requirement(origin)
    lock = checkout / LOCK
    text = lock.read_text(encoding="utf-8")
    stamp = hashlib.sha256(f"{sys.version}\n{requirement}\n{text}".encode()).hexdigest()
    python, done = folder / "bin" / "python", folder / STAMP
    if done.is_file() and done.read_text(encoding="utf-8") == stamp and python.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shell.run([sys.executable, "-m", "venv", folder], timeout_s=VENV_TIMEOUT_S)
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    pip += origin.pip_options()
    shell.run([*pip, "--require-hashes", "-r", lock], timeout_s=PIP_TIMEOUT_S)
    constraints = folder / "constraints.txt"
    constraints.write_text(pins(text), encoding="utf-8")
    shell.run([*pip, "-c", constraints, requirement], timeout_s=PIP_TIMEOUT_S)
    done.write_text(stamp, encoding="utf-8")
    return python
