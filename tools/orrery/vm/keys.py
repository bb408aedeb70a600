"""The keys of a VM: the one that people come in with, and the one that it shows."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from orrery.errors import ConfigurationError, HostError
from orrery.guest.image import keys as lab_keys

USER_KEY, USER_PUBLIC, HOST_KEY, KNOWN_HOSTS = (
    "id_ed25519",
    "id_ed25519.pub",
    "host_key",
    "known_hosts",
)
FOR_PEOPLE = (USER_KEY, USER_PUBLIC, KNOWN_HOSTS)
"""The host's key stays root's: whoever has it can pretend to be the VM."""


def ensure(folder: Path, lab_name: str, vm: str, owner: str, *, check: bool) -> bool:
    """Have both keys; what is there is never replaced.

    Args:
        folder: Theirs.
        lab_name: Named in the keys.
        vm: Name of the VM, which is its alias in `known_hosts`.
        owner: User of this host who logs in.
        check: Whether nothing is made.

    Returns:
        Whether something was made, or would be.

    Raises:
        ConfigurationError: There is no such user.
        HostError: Half of a pair is missing, or keys cannot be made.
    """
    try:
        account = pwd.getpwnam(owner)
    except KeyError:
        raise ConfigurationError(
            f"vm_user_key_owner: there is no user '{owner}' on this host; needed is the one who "
            "runs ./lab"
        ) from None
    style = lab_keys.Style("VM", vm, dropbear=False)
    changed = lab_keys.ensure(folder, lab_name, check=check, style=style)
    places = [path for path in (folder, *(folder / name for name in FOR_PEOPLE)) if path.exists()]
    others = [path for path in places if path.stat().st_uid != account.pw_uid]
    for path in () if check else others:
        try:
            os.chown(path, account.pw_uid, account.pw_gid)
        except OSError as error:
            raise HostError(f"{path}: cannot be given to {owner}: {error.strerror}") from error
    return changed or bool(others)


def authorized(folder: Path) -> str:
    """The public half of the key that people come in with, one line."""
    return (folder / USER_PUBLIC).read_text(encoding="ascii").strip()


def host_key(folder: Path) -> tuple[str, str]:
    """The VM's own key: the private half as OpenSSH keeps it, and the public one."""
    _, kind, key, *_ = (folder / KNOWN_HOSTS).read_text(encoding="ascii").split()
    return (folder / HOST_KEY).read_text(encoding="ascii"), f"{kind} {key}"
