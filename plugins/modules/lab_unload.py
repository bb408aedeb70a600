#!/usr/bin/python
"""Ansible module: reads an archive from a stream and unpacks it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_unload
short_description: Unpacks an archive that a connection hands out
description:
  - Connects, reads until the end, and unpacks what came when its checksum is the expected one. The
    other side is the hypervisor's end of this machine's own network device.
options:
  source:
    description: Address and port.
    type: str
    required: true
  sha256:
    description: Checksum that the archive has to have.
    type: str
    required: true
  size_mb:
    description: About how large it is [MB]; much more is refused.
    type: int
    required: true
  dest:
    description: Folder that gets what is in it.
    type: path
    required: true
  stamp:
    description: Last file in it, relative; where it is, all is there already.
    type: str
    required: true
  timeout_s:
    description: How long the connection may be silent [s].
    type: int
    default: 60
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
author: Orrery
"""

EXAMPLES = r"""
- name: Load the VM
  lab_unload:
    source: 10.0.2.100:4000
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    size_mb: 180
    dest: /var/cache/orrery
    stamp: cargo/loaded-0a1b
"""

import hashlib
import os
import socket
import tarfile
import tempfile
from pathlib import Path
from typing import IO

from ansible.module_utils.basic import AnsibleModule

CHUNK = 1 << 20
# Headers and padding of an archive, beside what is in it.
SLACK_MB = 64


class UnloadError(Exception):
    """The archive did not come as it should; the text says how."""


def receive(source: str, target: IO[bytes], limit: int, timeout_s: float) -> str:
    """Read a connection to its end into a file; its SHA-256.

    Raises:
        UnloadError: More than `limit` bytes come.
        OSError: Nobody answers, or it is silent for too long.
    """
    host, _, port = source.rpartition(":")
    digest, size = hashlib.sha256(), 0
    with socket.create_connection((host, int(port)), timeout_s) as connection:
        while data := connection.recv(CHUNK):
            size += len(data)
            if size > limit:
                raise UnloadError(f"{source} sends more than {limit} bytes")
            digest.update(data)
            target.write(data)
    target.flush()
    return digest.hexdigest()


def unload(source: str, sha256: str, limit: int, dest: Path, stamp: str, timeout_s: float) -> None:
    """Receive, check and unpack; the stamp comes when all else is on the disk.

    Raises:
        UnloadError: It is not what was expected.
        OSError, tarfile.TarError: It cannot be received or unpacked.
    """
    dest.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=dest) as arrived:
        found = receive(source, arrived, limit, timeout_s)
        if found != sha256:
            raise UnloadError(f"{source} sent an archive of checksum {found}, not {sha256}")
        arrived.seek(0)
        with tarfile.open(fileobj=arrived) as archive:
            # Debian 12's Python is older than filters, and the checksum vouches for the content.
            safe = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
            content = archive.getmembers()
            last = [one for one in content if one.name.removeprefix("./") == stamp]
            rest = [one for one in content if one not in last]
            for part in (rest, last):
                archive.extractall(dest, part, **safe)  # type: ignore[arg-type] # noqa: S202 (see above)
                # A machine that is killed now would have files without content.
                os.sync()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "size_mb": {"type": "int", "required": True},
            "dest": {"type": "path", "required": True},
            "stamp": {"type": "str", "required": True},
            "timeout_s": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    dest = Path(params["dest"])
    changed = not (dest / params["stamp"]).exists()
    try:
        if changed and not module.check_mode:
            limit = (params["size_mb"] + SLACK_MB) * 1_000_000
            wanted = (params["source"], params["sha256"], limit)
            unload(*wanted, dest, params["stamp"], params["timeout_s"])
    except (UnloadError, OSError, tarfile.TarError) as error:
        module.fail_json(msg=f"cargo: {error}. Run ./lab up again.")
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
