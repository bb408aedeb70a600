"""The unit or init script that adds a lab's huge pages at boot: enabled or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ansible.module_utils.lab_hugepages_pool import HugepagesError

Runner = Callable[[list[str]], tuple[int, str, str]]


def enabled(name: str, manager: str, etc: Path = Path("/etc")) -> bool:
    """Whether it runs at the next boot."""
    if manager == "systemd":
        return (etc / "systemd/system/multi-user.target.wants" / f"{name}.service").is_symlink()
    return any(etc.glob(f"rc[S0-9].d/S[0-9][0-9]{name}"))


def disable(run: Runner, name: str, manager: str) -> None:
    """Have it run no more.

    Raises:
        HugepagesError: The host's own program failed.
    """
    remove = ["update-rc.d", "-f", name, "remove"]
    argv = ["systemctl", "disable", f"{name}.service"] if manager == "systemd" else remove
    code, out, err = run(argv)
    if code != 0:
        raise HugepagesError(f"hugepages: {' '.join(argv)} ended with {code}: {err or out}")
