"""Servers at the ends of a measurement: when they are ready, and what they said."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from orrery.errors import HostError, OrreryError
from orrery.guest.monitor import Ran

READY_TIMEOUT_S = 10.0
POLL_S = 0.01
LAST_LINES = 6

# include/net/tcp_states.h: a listening TCP socket; a UDP socket without a peer is "closed".
_STATES = {"tcp": "0A", "udp": "07"}


@dataclass(frozen=True)
class Listening:
    """A socket that a server has when it is ready, on the address of its place."""

    protocol: Literal["tcp", "udp"]
    port: int

    @property
    def table(self) -> str:
        """File below /proc that lists sockets of its kind."""
        return f"net/{self.protocol}"

    def among(self, table: str, address: str) -> bool:
        """Whether it is in the text of that file."""
        # The kernel prints the address as a number of the machine, which is x86.
        number = int.from_bytes(ipaddress.IPv4Address(address).packed, "little")
        local = f"{number:08X}:{self.port:04X}"
        rows = (line.split() for line in table.splitlines())
        return any(
            len(row) > 3 and row[1] == local and row[3] == _STATES[self.protocol] for row in rows
        )


class Server(Protocol):
    """A program that serves at a place."""

    def end(self) -> Ran:
        """End it with TERM now; what it printed. Afterwards the same again."""


def await_listening(
    name: str,
    argv: Sequence[str],
    listens: Callable[[], bool],
    ended: Callable[[], Ran | None],
    kind: type[OrreryError],
) -> None:
    """Wait until a server listens.

    Raises:
        OrreryError: It ended before, or took too long.
    """
    end = time.monotonic() + READY_TIMEOUT_S
    while not listens():
        ran = ended()
        if ran is not None:
            raise kind(f"{name}: {shlex.join(argv)} ended at once{last_lines(ran)}")
        if time.monotonic() > end:
            raise kind(f"{name}: {shlex.join(argv)} did not listen within {READY_TIMEOUT_S:g} s")
        time.sleep(POLL_S)


def checked(name: str, ran: Ran, check: bool, kind: type[OrreryError]) -> Ran:
    """The same, where its exit code is right or does not matter.

    Raises:
        OrreryError: It is not; with what the program said.
    """
    if check and ran.returncode != 0:
        raise kind(f"{name}: {shlex.join(ran.argv)}: exit code {ran.returncode}{last_lines(ran)}")
    return ran


def last_lines(ran: Ran) -> str:
    """The end of what a program said, each line after a line break."""
    lines = (ran.stderr or ran.stdout).strip().splitlines()[-LAST_LINES:]
    return "".join(f"\n{line}" for line in lines)


@contextlib.contextmanager
def memory_file() -> Iterator[Path]:
    """A file in memory, for as long as the block: no full disk loses what is written there.

    Raises:
        HostError: There is none to be had.
    """
    try:
        descriptor = os.memfd_create("orrery-said")
    except OSError as error:
        raise HostError(
            f"a file in memory for what a server says cannot be made: {error.strerror}. "
            "Raise the number of open files (ulimit -n), or free memory."
        ) from error
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
