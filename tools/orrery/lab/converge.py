"""Run a playbook of this repository, one at a time for a lab, and say how it ended."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from orrery import shell
from orrery.errors import (
    ConfigurationError,
    FunctionError,
    GuestError,
    HostError,
    OrreryError,
    VerifyError,
)
from orrery.lab.settings import Settings

LOCK_DIR = Path("/run/lock")
PLAYBOOK_TIMEOUT_S = 3 * 3600.0
RESULT_FILE = "ORRERY_RESULT_FILE"
STRATEGY = "ANSIBLE_STRATEGY"
MITOGEN: Mapping[str, str] = {
    STRATEGY: "lab_mitogen",
    # ansible-core 2.19 says with every run that it promises nothing to strategies of others.
    "ANSIBLE_DEPRECATION_WARNINGS": "False",
}

FAILED_ROLE_ERROR: Mapping[str, type[OrreryError]] = {
    "preflight": HostError,
    "docker": HostError,
    "service": HostError,
    "host_python": HostError,
    "function_network": HostError,
    "hugepages": HostError,
    "dpdk": HostError,
    "qemu": HostError,
    "guest_image": GuestError,
    "guest_network": HostError,
    "traffic_tools": HostError,
    "ovs": HostError,
    "testpmd": HostError,
    "guests": GuestError,
    "vm": GuestError,
    "preload": HostError,
    "vm_forward": GuestError,
    "migration_target": HostError,
    "base_image": FunctionError,
    "container_image": FunctionError,
    "whisk_embedded": FunctionError,
    "http_files": FunctionError,
    "mnist_data": ConfigurationError,
    "mnist_actions": FunctionError,
}
"""Ansible's own exit codes are never passed on; the role that failed decides."""

VERIFY_PLAYS = "Verify the lab"


@dataclass(frozen=True)
class Converged:
    """A playbook that ran to its end.

    Attributes:
        seconds: Wall time [s].
        messages: What roles said.
    """

    changed: int
    failed: int
    seconds: float
    changed_tasks: tuple[str, ...]
    messages: tuple[str, ...]


def playbook(settings: Settings, name: str, *options: str) -> Converged:
    """Run a playbook, with its output on the terminal.

    Args:
        settings: Which lab and inventory.
        name: Path inside the repository, `site.yml`.
        options: More options of ansible-playbook.

    Raises:
        OrreryError: The class follows from the role that failed.
    """
    argv: list[str | Path] = [Path(sys.executable).parent / "ansible-playbook", name]
    argv += ["-i", settings.inventory, *options]
    for text in settings.extra:
        argv += ["-e", text]
    argv += _become(settings)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="orrery-") as folder:
        result = Path(folder) / "result.json"
        env = {RESULT_FILE: str(result), "ANSIBLE_CONFIG": str(settings.checkout / "ansible.cfg")}
        env |= strategy(os.environ)
        code = shell.stream(argv, timeout_s=PLAYBOOK_TIMEOUT_S, cwd=settings.checkout, env=env)
        data = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    if code != 0:
        raise error_for(name, code, data)
    return Converged(
        changed=int(data.get("changed", 0)),
        failed=int(data.get("failed", 0)),
        seconds=round(time.monotonic() - began, 1),
        changed_tasks=tuple(data.get("changed_tasks", ())),
        messages=tuple(data.get("messages", ())),
    )


def strategy(environment: Mapping[str, str]) -> dict[str, str]:
    """How tasks get to the hosts; nothing for Ansible's own way, which starts Python for each.

    Each such start compiles Ansible's modules anew, which takes half the time of an `up` that finds
    all in order, and seconds in an emulated VM. Mitogen keeps one Python there that has them. Who
    sets ANSIBLE_STRATEGY gets what they set.
    """
    known = importlib.util.find_spec("ansible_mitogen") is not None
    return dict(MITOGEN) if known and STRATEGY not in environment else {}


@contextlib.contextmanager
def exclusively(settings: Settings, purpose: str) -> Iterator[None]:
    """Hold the lab's lock, which the kernel frees when the process ends, however it ends.

    Raises:
        HostError: Somebody else holds it.
    """
    path = LOCK_DIR / f"orrery-{settings.lab_name}.lock"
    with _opened(path) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = " ".join(stream.read().split()) or "another process"
            raise HostError(
                f"lab '{settings.lab_name}' is being worked on by {holder}. "
                "Wait until it is done, then run the command again."
            ) from None
        if not path.exists() or path.stat().st_ino != os.fstat(stream.fileno()).st_ino:
            raise HostError(
                f"lab '{settings.lab_name}' was being worked on until just now. "
                "Run the command again."
            )
        stream.truncate(0)
        stream.write(f"./lab {purpose} (pid {os.getpid()})\n")
        stream.flush()
        try:
            yield
        finally:
            # Another user could not open a file that stays.
            path.unlink(missing_ok=True)


def _opened(path: Path) -> TextIO:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise HostError(
            f"{path}: {error.strerror}. Another user's ./lab made it: wait until that is done, "
            "then remove the file if it is still there."
        ) from error
    return os.fdopen(handle, "r+", encoding="utf-8")


def _become(settings: Settings) -> list[str]:
    here = settings.in_vm or settings.inventory.resolve() == _local_inventory(settings)
    if os.geteuid() == 0 or not here:
        return []
    try:
        if shell.run(["sudo", "-n", "true"], timeout_s=20, check=False).returncode == 0:
            return []
    except shell.CommandError:
        raise HostError(
            "not root, and there is no sudo. Run the command as root, or install sudo."
        ) from None
    if sys.stdin.isatty():
        return ["--ask-become-pass"]
    user = Path("~").expanduser().name
    raise HostError(
        "not root, sudo asks for a password and there is no terminal to ask on. Add this line "
        f"with visudo, or run the command as root:\n  {user} ALL=(ALL) NOPASSWD: ALL"
    )


def _local_inventory(settings: Settings) -> Path:
    return (settings.checkout / "inventory" / "local").resolve()


def error_for(name: str, code: int, data: Mapping[str, Any]) -> OrreryError:
    """The error that a playbook's exit code and the callback's totals amount to.

    Raises:
        KeyboardInterrupt: The playbook was interrupted.
    """
    if code in (99, 130, -2):
        raise KeyboardInterrupt
    failures = data.get("failures") or []
    if not failures:
        return ConfigurationError(
            f"{name} could not be run (see above); a variable or the inventory is wrong"
        )
    first = failures[0]
    where = f"{first['role']}: {first['task']}" if first["role"] else first["task"]
    text = f"{where}\n{first['message']}"
    if first["play"].startswith(VERIFY_PLAYS):
        return VerifyError(text)
    return FAILED_ROLE_ERROR.get(first["role"], HostError)(text)
