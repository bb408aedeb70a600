"""`./lab ssh` and `./lab console`: into the VM that a lab lives in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orrery import shell
from orrery.errors import GuestError
from orrery.lab.command import Lab, lab, lab_task, write_json
from orrery.lab.settings import CHECKOUT

INVENTORY = CHECKOUT / "inventory" / "vm"
"""Whose lab is in a VM, so that nobody has to type it."""
SESSION_TIMEOUT_S = 7 * 86400.0


def _lab(inventory: str, extra: Sequence[str]) -> Lab:
    return lab(inventory or str(INVENTORY), extra)


@lab_task
def ssh(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    command: str = "",
) -> None:
    """Log in to the lab's VM, or run what stands behind -- in it: ./lab ssh -- uptime."""
    from orrery.vm import connect

    found = connect.of(_lab(inventory, extra).state())
    argv = connect.login_of(found).argv(command)
    code = shell.stream(argv, timeout_s=SESSION_TIMEOUT_S)
    write_json(json, {"vm": found["name"], "code": code})
    if code != 0:
        raise GuestError(f"VM {found['name']}: ssh ended with code {code}")


@lab_task
def console(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    log: bool = False,
) -> None:
    """Attach to the serial console of the lab's VM, Ctrl-] leaves (--log: print what it said)."""
    from orrery.guest.console import attach
    from orrery.vm import connect

    found = connect.of(_lab(inventory, extra).state())
    said = connect.console_text(Path(str(found["console_log"])))
    write_json(json, {"vm": found["name"], "log": said.splitlines()})
    if log:
        sys.stdout.write(said)
        return
    print(f"console of {found['name']}; Ctrl-] leaves, Enter shows the prompt", file=sys.stderr)
    attach(Path(str(found["console"])), str(found["name"]), what="VM")
