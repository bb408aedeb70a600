"""A small SSH server on loopback that lets one key in and carries ports, as sshd in a VM does."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_CONNECT_FAILED,
    OPEN_SUCCEEDED,
)

from orrery import shell

ALIAS = "lab-vm"
USER = "orrery"
IDLE_S = 30


class _Server(paramiko.ServerInterface):
    def __init__(self, key: paramiko.PKey) -> None:
        self.key = key
        self.targets: dict[int, tuple[str, int]] = {}

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return AUTH_SUCCESSFUL if username == USER and key == self.key else AUTH_FAILED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        if destination[0] != "127.0.0.1":
            return OPEN_FAILED_CONNECT_FAILED
        self.targets[chanid] = destination
        return OPEN_SUCCEEDED


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        key: Private key that it lets in.
        known_hosts: File with its own key.
    """

    port: int
    key: Path
    known_hosts: Path


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Running]:
    """Run one until the block ends."""
    for name in ("user", "host"):
        argv: list[str | Path] = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-f",
            folder / name,
        ]
        shell.run(argv, timeout_s=20)
    user = paramiko.Ed25519Key.from_private_key_file(str(folder / "user"))
    host = paramiko.Ed25519Key.from_private_key_file(str(folder / "host"))
    known = folder / "known_hosts"
    known.write_text(f"{ALIAS} {host.get_name()} {host.get_base64()}\n", encoding="ascii")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=_accept, args=(listener, user, host), daemon=True).start()
        yield Running(port, folder / "user", known)


def _accept(listener: socket.socket, user: paramiko.PKey, host: paramiko.PKey) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, user, host), daemon=True).start()


def _serve(connection: socket.socket, user: paramiko.PKey, host: paramiko.PKey) -> None:
    server = _Server(user)
    transport = paramiko.Transport(connection)
    transport.add_server_key(host)
    with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
        transport.start_server(server=server)
        while transport.is_active():
            channel = transport.accept(1)
            if channel is not None:
                target = server.targets[channel.get_id()]
                threading.Thread(target=_carry, args=(channel, target), daemon=True).start()


def _carry(channel: paramiko.Channel, target: tuple[str, int]) -> None:
    with contextlib.suppress(OSError), socket.create_connection(target, 10) as there:
        while True:
            readable, _, _ = select.select([channel, there], [], [], IDLE_S)
            for end in readable:
                data = end.recv(65536)
                if not data:
                    channel.close()
                    return
                (there if end is channel else channel).sendall(data)
    channel.close()
