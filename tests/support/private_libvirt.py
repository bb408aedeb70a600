"""A libvirtd that a test starts: apart from everything of this host's."""

from __future__ import annotations

import time
from pathlib import Path

from orrery import shell

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


class PrivateLibvirt:
    """A libvirtd with folders of its own, in a mount namespace of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("etc", "lib", "cache", "run"):
            (folder / name).mkdir()
        for name, text in SETTINGS.items():
            (folder / "etc" / name).write_text(text.format(folder=folder))
        (folder / "start.sh").write_text(START.format(folder=folder))
        argv: list[str | Path] = ["unshare", "--mount", "--propagation", "private"]
        argv += ["sh", folder / "start.sh"]
        self.daemon = shell.start(argv, stdout=folder / "log")
        self._await(folder / "run" / "libvirt-sock")

    @property
    def uri(self) -> str:
        """How it is connected to."""
        return f"qemu+unix:///system?socket={self.folder}/run/libvirt-sock"

    def virsh(self, *words: str) -> str:
        """Ask this libvirt."""
        return shell.run(["virsh", "-c", self.uri, *words], timeout_s=60).stdout

    def end(self) -> None:
        """End the daemon; domains go on."""
        shell.stop(self.daemon)

    def _await(self, path: Path) -> None:
        end = time.monotonic() + 60
        while not path.exists():
            log = self.folder / "log"
            assert self.daemon.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
