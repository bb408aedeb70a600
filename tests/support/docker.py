"""A dockerd that a test made, so that breaking it breaks nobody else's."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from orrery import shell

BRIDGE = "orr-test0"
SUBNET = "10.98.7.1/24"
NETWORK = "10.98.7.0/24"
MAC = "02:42:0a:62:07:01"
BASE_LABEL = "orrery.image=base"


class PrivateDocker:
    """A dockerd with its own data root, socket, containerd and bridge.

    Attributes:
        socket: Its unix socket.
        base_image: Name of an image with python3 in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.base_image = "test-base:1"
        self.log = folder / "dockerd.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the daemon."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        dockerd = shutil.which("dockerd", path="/usr/sbin:/usr/bin:/usr/local/bin")
        if dockerd is None:
            pytest.skip("there is no dockerd: run ./lab up first")
        if not Path(f"/sys/class/net/{BRIDGE}").exists():
            # A bridge without its own address takes that of a port, and loses it with the port.
            shell.run(["ip", "link", "add", BRIDGE, "address", MAC, "type", "bridge"], timeout_s=10)
            shell.run(["ip", "addr", "add", SUBNET, "dev", BRIDGE], timeout_s=10)
            shell.run(["ip", "link", "set", BRIDGE, "up"], timeout_s=10)
        argv: list[str | Path] = [dockerd, "--host", f"unix://{self.socket}"]
        argv += ["--data-root", self.folder / "data", "--exec-root", self.folder / "exec"]
        argv += ["--pidfile", self.folder / "docker.pid", "--bridge", BRIDGE]
        self._process = shell.start(argv, stdout=self.log)
        self._await(lambda: self._answers(), 60)

    def kill(self) -> None:
        """SIGKILL the daemon and what it started (its containerd, shims and containers stay)."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """TERM the daemon and wait for its end."""
        if self._process is not None:
            shell.stop(self._process, timeout_s=40)

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def docker(self, *words: str, timeout_s: float = 60) -> str:
        """Run the docker client against it; its standard output."""
        env = {"DOCKER_BUILDKIT": "0"}
        argv = ["docker", "-H", f"unix://{self.socket}", *words]
        return shell.run(argv, timeout_s=timeout_s, env=env).stdout

    def load_base_image(self) -> None:
        """Copy an image with python3 from the lab's daemon."""
        source = os.environ.get("ORRERY_TEST_IMAGES_FROM", "/var/run/docker.sock")
        client = ["docker", "-H", f"unix://{source}"]
        listed = shell.run(
            [*client, "images", "--filter", f"label={BASE_LABEL}", "--format", "{{.ID}}"],
            timeout_s=30,
            check=False,
        )
        name = (listed.stdout.split() or [os.environ.get("ORRERY_TEST_BASE_IMAGE", "")])[0]
        if not name:
            pytest.skip("the lab's base image is not there: run ./lab up first")
        archive = self.folder / "base.tar"
        shell.run([*client, "save", "--output", archive, name], timeout_s=120)
        loaded = self.docker("load", "--input", str(archive), timeout_s=120)
        archive.unlink()
        identity = loaded.split("Loaded image")[-1].split(": ", 1)[-1].strip()
        self.docker("tag", identity, self.base_image)

    def destroy(self) -> None:
        """Remove containers, the daemon, its mounts, its bridge and its files."""
        with contextlib.suppress(shell.CommandError):
            ids = self.docker("ps", "--all", "--quiet").split()
            if ids:
                self.docker("rm", "--force", *ids, timeout_s=120)
        with contextlib.suppress(shell.CommandError):
            for network in self.docker(
                "network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"
            ).split():
                self.docker("network", "rm", network)
        self.stop()
        # A daemon that was killed leaves its data root mounted on itself.
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        inside = [line.split()[4] for line in mounts if str(self.folder) in line.split()[4]]
        for mount in sorted(inside, key=len, reverse=True):
            shell.run(["umount", "--lazy", mount], timeout_s=10, check=False)
        shell.run(["ip", "link", "del", BRIDGE], timeout_s=10, check=False)
        # dockerd leaves the rule of its default bridge behind.
        rule = ["POSTROUTING", "-s", NETWORK, "!", "-o", BRIDGE, "-j", "MASQUERADE"]
        shell.run(["iptables", "-t", "nat", "-D", *rule], timeout_s=10, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"dockerd ended:\n{self.log.read_text()[-3000:]}")
        argv = ["docker", "-H", f"unix://{self.socket}", "version", "--format", "{{.Server}}"]
        return shell.run(argv, timeout_s=20, check=False).returncode == 0

    @staticmethod
    def _await(condition: object, timeout_s: float) -> None:
        assert callable(condition)
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"dockerd did not answer within {timeout_s:g} s")
            time.sleep(0.1)
