"""A terminal on a machine's serial console; Ctrl-] leaves it."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

from orrery.errors import GuestError

LEAVE = b"\x1d"
CHUNK = 4096


def attach(path: Path, name: str, *, what: str = "guest") -> None:
    """Relay between the terminal and the console until Ctrl-], the end of input or of the machine.

    Args:
        path: Socket of the console.
        name: Of the machine, for messages.
        what: Kind of machine, for messages.

    Raises:
        GuestError: The console cannot be reached.
    """
    with socket.socket(socket.AF_UNIX) as console:
        try:
            console.connect(str(path))
        except OSError as error:
            raise GuestError(f"console of {what} {name}: {error.strerror}") from error
        with _raw(sys.stdin.fileno()):
            _relay(console, sys.stdin.fileno(), sys.stdout.fileno())


def _relay(console: socket.socket, keyboard: int, screen: int) -> None:
    while True:
        ready = select.select([console.fileno(), keyboard], [], [])[0]
        if console.fileno() in ready:
            # QEMU that is killed resets the connection.
            said = _received(console)
            if not said:
                return
            os.write(screen, said)
        if keyboard in ready:
            typed = os.read(keyboard, CHUNK)
            before, leave, _ = typed.partition(LEAVE)
            with contextlib.suppress(ConnectionError):
                console.sendall(before)
            if leave or not typed:
                return


def _received(console: socket.socket) -> bytes:
    try:
        return console.recv(CHUNK)
    except ConnectionError:
        return b""


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Hand every key on as it is; a file or pipe stays as it is."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
