"""A libvirtd that a test starts: apart from everything of this host's."""

from __future__ import annotations

import importlib
import sys
import time
import uuid
from pathlib import Path

import pytest

from orrery import shell
from tests.contracts import tree

# What a libvirt needs where neither systemd nor its own users are there.
SETTINGS = {
    "libvirtd.conf": (
        'unix_sock_dir = "{folder}/run"\nauth_unix_rw = "none"\nhost_uuid = "{uuid}"\n'
    ),
    "qemu.conf": (
        'security_driver = "none"\nuser = "root"\ngroup = "root"\nremember_owner = 0\n'
        'cgroup_controllers = []\nnamespaces = []\nstdio_handler = "file"\n'
    ),
}
# In a mount namespace of its own the daemon sees these folders as libvirt's, and no huge pages: it
# ends where it cannot look into a mount of a lab that is up, which its /run hides. Two daemons take
# each other for another host by name and by host_uuid.
START = """set -e
hostname {name}
umount --lazy --all --types hugetlbfs
mkdir {folder}/shown
mount --bind {shown} {folder}/shown
mount -t tmpfs none /run
mkdir -p /run/libvirt {shown}
mount --move {folder}/shown {shown}
mount --bind {folder}/etc /etc/libvirt
mount --bind {folder}/lib /var/lib/libvirt
mount --bind {folder}/cache /var/cache/libvirt
exec libvirtd -f /etc/libvirt/libvirtd.conf -p {folder}/pid
"""


class PrivateLibvirt:
    """A libvirtd with folders of its own, in namespaces of its own, under a name of its own.

    Attributes:
        shown: Folder below /run that it sees as it is.
    """

    def __init__(self, folder: Path, name: str = "t-libvirt", shown: Path | None = None) -> None:
        self.folder = folder
        for part in ("etc", "lib", "cache", "run", "nothing"):
            (folder / part).mkdir()
        own = str(uuid.uuid4())
        for file, text in SETTINGS.items():
            (folder / "etc" / file).write_text(text.format(folder=folder, uuid=own))
        shows = shown or folder / "nothing"
        (folder / "start.sh").write_text(START.format(folder=folder, name=name, shown=shows))
        argv: list[str | Path] = ["unshare", "--mount", "--uts", "--propagation", "private"]
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


def bindings(folder: Path) -> None:
    """Have libvirt's Python bindings: those that role vm has built, or built here and now.

    Headers come from the package that fits the libvirt that is there, and are unpacked below the
    folder: nothing is installed.
    """
    try:
        importlib.import_module("libvirt")
    except ImportError:
        _build(folder)
        sys.path.append(str(folder / "python"))
        importlib.invalidate_caches()


def _build(folder: Path) -> None:
    version = shell.run(
        ["dpkg-query", "--show", "--showformat=${Version}", "libvirt0"], timeout_s=20, check=False
    )
    if version.returncode:
        pytest.skip("there is no libvirt: run ./lab up first")
    # A newer libvirt may stay after ./lab down has taken its source away. The release's own headers
    # do then: bindings leave out what these do not know.
    known = shell.run(["apt-cache", "madison", "libvirt-dev"], timeout_s=60).stdout
    exact = f"={version.stdout}" if f" {version.stdout} " in known else ""
    shell.run(["apt-get", "download", f"libvirt-dev{exact}"], timeout_s=120, cwd=folder)
    (package,) = folder.glob("libvirt-dev_*.deb")
    unpacked = folder / "headers"
    shell.run(["dpkg-deb", "--extract", package, unpacked], timeout_s=60)
    for link in unpacked.glob("usr/lib/*/libvirt*.so"):
        library = Path("/") / link.relative_to(unpacked).with_name(link.readlink().name)
        link.unlink()
        link.symlink_to(library)
    (found,) = unpacked.glob("usr/lib/*/pkgconfig")
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    words += ["--no-build-isolation", "--no-deps", "--require-hashes", "--target"]
    shell.run(
        [*words, folder / "python", "-r", tree.ROOT / "requirements-libvirt.lock"],
        timeout_s=300,
        env={"PKG_CONFIG_PATH": str(found), "PKG_CONFIG_SYSROOT_DIR": str(unpacked)},
    )
