"""Logging in over SSH with a key of the lab's, to a machine whose host key is known in advance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONNECT_TIMEOUT_S = 60
"""An emulated machine that is busy takes seconds for its greeting, and more for a key exchange."""


@dataclass(frozen=True)
class Login:
    """A way in.

    Attributes:
        key: Private key.
        known_hosts: File with the machine's host key.
        alias: Name of the machine in it.
        control: Socket of a connection that later ones share; None for one of its own each.
    """

    address: str
    port: int
    user: str
    key: Path
    known_hosts: Path
    alias: str
    control: Path | None = None

    def argv(self, command: str = "", *, batch: bool = False) -> list[str | Path]:
        """The command line of ssh.

        Args:
            command: What the machine's shell gets; empty for a session.
            batch: Whether nobody is there to be asked.
        """
        options = {
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "StrictHostKeyChecking": "yes",
            "HostKeyAlias": self.alias,
            "LogLevel": "ERROR",
            "ConnectTimeout": str(CONNECT_TIMEOUT_S),
            # A machine that was reset says no good-bye.
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "8",
        }
        if batch:
            options["BatchMode"] = "yes"
        if self.control is not None:
            shared = {"ControlMaster": "auto", "ControlPersist": "30", "ControlPath": self.control}
            options |= {name: str(value) for name, value in shared.items()}
        words: list[str | Path] = ["ssh", "-F", "none", "-i", self.key, "-p", str(self.port)]
        for name, value in options.items():
            words += ["-o", f"{name}={value}"]
        return [*words, f"{self.user}@{self.address}", *(["--", command] if command else [])]
