"""A guest that a test starts from the image: QEMU, emulated, with its channels."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.guest.boot import boot_options

READY_TIMEOUT_S = 60
CPUS = 2
AGENT_PORT = "org.qemu.guest_agent.0"
PEOPLE_MAC = "52:54:00:ff:00:01"
MEASURED_MAC = "52:54:00:00:00:01"


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Agent:
    """QEMU's guest agent: one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r", encoding="utf-8")

    def send(self, command: str, **arguments: Any) -> None:
        """Send a command without waiting for its answer."""
        line = json.dumps({"execute": command, "arguments": arguments}) + "\n"
        self._socket.sendall(line.encode())

    def ask(self, command: str, **arguments: Any) -> Any:
        """Send a command; what it returns."""
        self.send(command, **arguments)
        answer = json.loads(self._lines.readline())
        assert "error" not in answer, answer
        return answer["return"]

    def run(self, path: str, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run a program in the guest to its end."""
        pid = self.ask("guest-exec", path=path, arg=words, **{"capture-output": True})["pid"]
        end = time.monotonic() + 30
        while not (status := self.ask("guest-exec-status", pid=pid))["exited"]:
            assert time.monotonic() < end, f"{path} did not end"
            time.sleep(0.05)
        out, err = (base64.b64decode(status.get(key, "")) for key in ("out-data", "err-data"))
        return subprocess.CompletedProcess([path, *words], status["exitcode"], out, err)

    def close(self) -> None:
        """Close the connection."""
        self._lines.close()
        self._socket.close()


@dataclass
class Guest:
    """A guest that said READY.

    Attributes:
        ready_s: From the start of QEMU to READY [s].
        console: Log of its console.
        ssh_port: Port of loopback that leads to its dropbear.
    """

    process: subprocess.Popen[bytes]
    agent: Agent
    console: Path
    ready_s: float
    ssh_port: int
    keys: Path

    def ssh(self, *words: str, key: Path | None = None, check: bool = True) -> shell.Completed:
        """Run a command as people do: with the lab's key, and the host key that is known."""
        argv = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]
        argv += ["-o", f"UserKnownHostsFile={self.keys}/known_hosts", "-o", "ConnectTimeout=30"]
        argv += ["-o", "HostKeyAlias=orrery-guest", "-o", "StrictHostKeyChecking=yes"]
        argv += ["-i", str(key or self.keys / "id_ed25519"), "-p", str(self.ssh_port)]
        return shell.run([*argv, "root@127.0.0.1", *words], timeout_s=60, check=check)


def programs_are_there(*names: str) -> None:
    """Skip where a program is missing."""
    for name in names:
        if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin") is None:
            pytest.skip(f"there is no {name}: run ./lab up first")


def command_line(image: dict[str, Any], folder: Path, port: int, *more: str) -> list[str]:
    """QEMU's command line; `more` is added at its end."""
    keys = image["keys"]
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"]
    argv += ["-no-reboot", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "qemu64"]
    argv += ["-smp", str(CPUS), "-m", "256", "-kernel", image["kernel"], "-initrd", image["initrd"]]
    argv += ["-append", boot_options(True, CPUS), "-serial", f"file:{folder}/console"]
    argv += [
        "-object",
        "rng-random,id=r0,filename=/dev/urandom",
        "-device",
        "virtio-rng-pci,rng=r0",
    ]
    argv += ["-netdev", f"user,id=u0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"]
    argv += ["-netdev", "hubport,id=m0,hubid=0", "-device", "virtio-serial-pci"]
    # The measured one comes first: names follow the address, not the order.
    argv += ["-device", f"virtio-net-pci,netdev=m0,romfile=,mac={MEASURED_MAC}"]
    argv += ["-device", f"virtio-net-pci,netdev=u0,romfile=,mac={PEOPLE_MAC}"]
    argv += ["-chardev", f"socket,id=ga,path={folder}/agent,server=on,wait=off"]
    argv += ["-device", f"virtserialport,chardev=ga,name={AGENT_PORT}"]
    argv += ["-fw_cfg", "name=opt/orrery/name,string=guest-t"]
    argv += ["-fw_cfg", "name=opt/orrery/address,string=10.161.210.2/24"]
    argv += ["-fw_cfg", f"name=opt/orrery/host_key,file={keys}/host_key"]
    argv += ["-fw_cfg", f"name=opt/orrery/authorized_key,file={keys}/id_ed25519.pub"]
    return [*argv, *more]


@contextlib.contextmanager
def booted(image: dict[str, Any], folder: Path, *more: str) -> Iterator[Guest]:
    """Start a guest and wait for READY; it is gone afterwards."""
    programs_are_there("qemu-system-x86_64")
    port, console = free_port(), folder / "console"
    argv = command_line(image, folder, port, *more)
    process, ready_s = ready_process(argv, folder, console)
    agent = None
    try:
        agent = Agent(folder / "agent")
        yield Guest(process, agent, console, ready_s, port, Path(image["keys"]))
    finally:
        if agent is not None:
            agent.close()
        shell.stop(process, timeout_s=5)


class CrashError(AssertionError):
    """QEMU ended by a fault of its own."""


def ready_process(
    argv: list[str], folder: Path, console: Path
) -> tuple[subprocess.Popen[bytes], float]:
    """QEMU with a guest that said READY, and after how long [s].

    One that crashes under TCG is started once more, as the lab does (`Guests.start`: a race in
    QEMU's own tables of memory).
    """
    try:
        return _ready_process(argv, folder, console)
    except CrashError:
        console.unlink(missing_ok=True)
    return _ready_process(argv, folder, console)


def _ready_process(
    argv: list[str], folder: Path, console: Path
) -> tuple[subprocess.Popen[bytes], float]:
    began = time.monotonic()
    process = shell.start(argv, stdout=folder / "qemu.log")
    try:
        while b"READY " not in (said := console.read_bytes() if console.exists() else b""):
            late = time.monotonic() - began > READY_TIMEOUT_S
            if late or process.poll() is not None:
                kind = CrashError if process.poll() == -signal.SIGABRT else AssertionError
                raise kind(f"no READY: {said!r}\n{(folder / 'qemu.log').read_text()}")
            time.sleep(0.02)
    except BaseException:
        shell.stop(process, timeout_s=5)
        raise
    return process, time.monotonic() - began
