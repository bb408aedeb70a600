"""A libvirt of a user's with a running domain, apart from everything of this host's."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.private_libvirt import PrivateLibvirt

DOMAIN = """<domain type='qemu'>
  <name>users-own</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><emulator>{program}</emulator></devices>
</domain>
"""


class UsersLibvirt(PrivateLibvirt):
    """A libvirtd that the test started, with one emulated domain."""

    def __init__(self, folder: Path, program: Path) -> None:
        super().__init__(folder)
        (folder / "domain.xml").write_text(DOMAIN.format(program=program))
        self.virsh("create", str(folder / "domain.xml"))

    def domain(self) -> tuple[str, str]:
        """State and process of the domain, as the monitor and /proc have them."""
        state = self.virsh("domstate", "users-own").strip()
        marked = [
            path.parent.name
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if b"guest=users-own" in _read(path)
        ]
        return state, ",".join(marked)

    def end(self) -> None:
        """End domain and daemon."""
        if self.daemon.poll() is None:
            for pid in filter(None, self.domain()[1].split(",")):
                os.kill(int(pid), signal.SIGKILL)
        super().end()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
