"""A libvirt of a user's with a running domain, apart from everything of this host's."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from orrery import shell

DOMAIN = """<domain type='qemu'>
  <name>users-own</name>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><emulator>{program}</emulator></devices>
</domain>
"""
# What a libvirt needs where neither systemd nor its own users are there.
SETTINGS = {
    "libvirtd.conf": 'unix_sock_dir = "{folder}/run"\nauth_unix_rw = "none"\n',
    "qemu.conf": (
        'security_driver = "none"\nuser = "root"\ngroup = "root"\nremember_owner = 0\n'
        'cgroup_controllers = []\nnamespaces = []\nstdio_handler = "file"\n'
    ),
}
# In a mount namespace of its own the daemon sees these folders as libvirt's, and no huge pages: it
# ends where it cannot look into a mount of a lab that is up, which its /run hides.
START = """set -e
umount --lazy --all --types hugetlbfs
mount -t tmpfs none /run
mkdir /run/libvirt
mount --bind {folder}/etc /etc/libvirt
mount --bind {folder}/lib /var/lib/libvirt
mount --bind {folder}/cache /var/cache/libvirt
exec libvirtd -f /etc/libvirt/libvirtd.conf -p {folder}/pid
"""


class UsersLibvirt:
    """A libvirtd that the test started, with one emulated domain."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder = folder
        for name in ("etc", "lib", "cache", "run"):
            (folder / name).mkdir()
        for name, text in SETTINGS.items():
            (folder / "etc" / name).write_text(text.format(folder=folder))
        (folder / "domain.xml").write_text(DOMAIN.format(program=program))
        (folder / "start.sh").write_text(START.format(folder=folder))
        argv: list[str | Path] = ["unshare", "--mount", "--propagation", "private"]
        argv += ["sh", folder / "start.sh"]
        self.daemon = shell.start(argv, stdout=folder / "log")
        self._await(folder / "run" / "libvirt-sock")
        self.virsh("create", str(folder / "domain.xml"))

    def virsh(self, *words: str) -> str:
        """Ask this libvirt."""
        uri = f"qemu+unix:///system?socket={self.folder}/run/libvirt-sock"
        return shell.run(["virsh", "-c", uri, *words], timeout_s=60).stdout

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
        shell.stop(self.daemon)

    def _await(self, path: Path) -> None:
        end = time.monotonic() + 60
        while not path.exists():
            log = self.folder / "log"
            assert self.daemon.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
