"""The way into a VM that runs, from its description or from the fact that role `vm` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError, GuestError
from orrery.ssh import Login
from orrery.state import LabState
from orrery.vm import keys
from orrery.vm.spec import CARGO, VmSpec

ADDRESS = "127.0.0.1"
FACT = "vm"


def login(spec: VmSpec) -> Login:
    """As the VM's user, over one connection that is shared."""
    return Login(
        address=ADDRESS,
        port=spec.ssh_port,
        user=spec.user,
        key=spec.keys / keys.USER_KEY,
        known_hosts=spec.keys / keys.KNOWN_HOSTS,
        alias=spec.name,
        control=spec.run_dir / "ssh.sock",
    )


def fact(spec: VmSpec, *, running: bool, **more: Any) -> dict[str, Any]:
    """What inventories and tasks read from the lab's state file."""
    way = login(spec)
    return {
        "name": spec.name,
        "driver": str(spec.driver),
        "image": spec.image.as_mapping(),
        "accel": str(spec.accel),
        "address": way.address,
        "port": way.port,
        "user": way.user,
        "key": str(way.key),
        "known_hosts": str(way.known_hosts),
        "console": str(spec.console),
        "console_log": str(spec.console_log),
        "monitor": str(spec.monitor) if not spec.uri else "",
        "uri": spec.uri,
        "domain": spec.domain,
        "disk": str(spec.disk),
        "folder": str(spec.folder),
        "cargo": ":".join(map(str, CARGO)) if spec.cargo else "",
        "running": running,
        **more,
    }


def of(state: LabState) -> Mapping[str, Any]:
    """The lab's VM.

    Raises:
        ConfigurationError: The lab is not in a VM.
        GuestError: The VM is stopped.
    """
    found = state.facts.get(FACT)
    if not found:
        raise ConfigurationError(
            f"the lab '{state.lab_name}' has no VM. ./lab up -i inventory/vm makes one; another "
            "lab's is reached with -i."
        )
    if not found.get("running", True):
        raise GuestError(f"VM {found['name']} is stopped. ./lab up -i inventory/vm starts it.")
    return dict(found)


def login_of(found: Mapping[str, Any]) -> Login:
    """The way in that a fact describes."""
    return Login(
        address=str(found["address"]),
        port=int(found["port"]),
        user=str(found["user"]),
        key=Path(str(found["key"])),
        known_hosts=Path(str(found["known_hosts"])),
        alias=str(found["name"]),
    )


def console_text(path: Path) -> str:
    """What the console has said.

    Raises:
        GuestError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise GuestError(
            f"{path}: {error.strerror}. The VM has not run since the host was booted, or root is "
            "needed: use sudo ./lab console."
        ) from error
