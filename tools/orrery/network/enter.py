"""Run a program in the lab's namespace: `python -m orrery.network.enter --state-file F -- PROGRAM`.

The namespace is made when it is missing, so that services start after a reboot. A program whose
bridges lose their addresses when it ends (the switch) gets them back: a process stays behind until
the bridges have appeared. Sockets that a killed switch has left are removed, so that the next one
can listen there.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from orrery import shell
from orrery.errors import OrreryError
from orrery.network.layout import Layout
from orrery.network.testpmd import wiring
from orrery.state import LabState, StateFile

APPEAR_TIMEOUT_S = 90.0
POLL_S = 0.3
QUIET_S = 6.0


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Enter and run.

    Raises:
        OrreryError: The lab has no namespace, or the program cannot be started.
    """
    parser = argparse.ArgumentParser(prog="orrery.network.enter")
    parser.add_argument("--state-file", type=Path, required=True)
    parser.add_argument("program", nargs="+")
    options = parser.parse_args(argv)
    state = StateFile(options.state_file).read()
    layout = Layout.of(state)
    layout.restore()
    _forget_sockets(state)
    if layout.switch_addresses:
        _leave_behind(layout)
    shell.become(layout.namespace.argv(*options.program))


def _forget_sockets(state: LabState) -> None:
    """Remove what a switch that was killed has left; a lab that had none yet has no folder."""
    control = str((state.facts.get("ovs") or {}).get("control") or "")
    for path in wiring.forget_dead_sockets(Path(control).parent) if control else ():
        print(f"removed the socket of a switch that was killed: {path}", file=sys.stderr)


def _leave_behind(layout: Layout) -> None:
    """Give addresses in a process that nobody waits for."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if os.fork() == 0:
        try:
            _give_addresses(layout)
        except OrreryError as error:
            print(f"addresses of bridges: {error}", file=sys.stderr)
        finally:
            os._exit(0)
    os._exit(0)


def _give_addresses(layout: Layout) -> None:
    # What a killed switch left behind has its address still, and goes when the new one starts:
    # only what has been quiet for a while is done.
    end = time.monotonic() + APPEAR_TIMEOUT_S
    quiet_since = time.monotonic()
    while time.monotonic() < min(end, quiet_since + QUIET_S):
        if layout.give_addresses():
            quiet_since = time.monotonic()
        time.sleep(POLL_S)


if __name__ == "__main__":
    try:
        main()
    except OrreryError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
