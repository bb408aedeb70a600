"""Runs a VM's QEMU in the foreground, for role `service`: TERM shuts the VM down in good order.

`python -m orrery.vm.supervise FOLDER` ends when QEMU ends. The service starts it again, so that a
VM that was killed, or was switched off from inside, is back a second later.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from orrery import shell
from orrery.errors import GuestError, HostError, OrreryError
from orrery.guest.monitor import Monitor
from orrery.guest.waiting import how
from orrery.vm import qemu
from orrery.vm.running import Run
from orrery.vm.spec import VmSpec, description

STOP_TIMEOUT_S = 75.0
"""For a shutdown from inside: systemd's own bound of a unit is 90 s, and TCG needs some ten."""
PRESS_AGAIN_S = 10.0
"""A kernel that boots still does not hear the power button."""
QUIT_TIMEOUT_S = 5.0
IMAGE_TIMEOUT_S = 60.0
DISCARD_FILE = "discard"
"""Where it is, the VM is about to be removed, and nothing in it is worth a shutdown."""
GIB = 1 << 30
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopError(Exception):
    """Somebody wants the VM to end."""


def run(spec: VmSpec) -> int:
    """Run QEMU until it ends, or TERM comes; the exit code of the service.

    Raises:
        OrreryError: It cannot be started.
    """
    spec.run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    if spec.console_log.exists():
        spec.console_log.replace(spec.console_log.with_suffix(".log.1"))
    log = spec.run_dir / "qemu.log"
    log.write_text("", encoding="utf-8")
    (spec.run_dir / DISCARD_FILE).unlink(missing_ok=True)
    grow(spec)
    # QEMU dies with this process, whatever that dies of.
    argv = ["setpriv", "--pdeathsig", "KILL", "--", *qemu.argv(spec)]
    for number in SIGNALS:
        signal.signal(number, _stop)
    try:
        return _watch(spec, shell.start(argv, stdout=log), log)
    except StopError:
        return 0


def _watch(spec: VmSpec, process: shell.Process, log: Path) -> int:
    Run(process.pid, time.monotonic()).write(spec.run_dir)
    print(f"VM {spec.name}: QEMU runs, pid {process.pid} ({spec.accel})", flush=True)
    try:
        code = process.wait()
    except StopError:
        power_down(spec, process)
        return 0
    finally:
        shell.stop(process, timeout_s=QUIT_TIMEOUT_S)
    said = log.read_text(encoding="utf-8", errors="replace").strip()
    print(f"VM {spec.name}: QEMU ended {how(code)}.\n{said}".rstrip(), flush=True)
    return 1


def power_down(spec: VmSpec, process: shell.Process, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Press the power button until the VM is off; switch it off when it does not listen."""
    if (spec.run_dir / DISCARD_FILE).exists():
        return
    end = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < end:
        try:
            with Monitor(spec.monitor, f"monitor of VM {spec.name}", QUIT_TIMEOUT_S) as monitor:
                if not monitor.execute("query-status")["running"]:
                    break
                monitor.execute("system_powerdown")
        except GuestError as error:
            if process.poll() is None:
                print(f"VM {spec.name}: {error}", flush=True)
            break
        shell.ended(process, min(PRESS_AGAIN_S, max(end - time.monotonic(), 0.1)))
    if process.poll() is None:
        print(f"VM {spec.name}: it did not shut down, and is switched off", flush=True)


def grow(spec: VmSpec) -> None:
    """Give the disk the size that the description says, where that is more than it has.

    Raises:
        HostError: The disk is not there, or cannot be grown.
    """
    if not spec.disk.exists():
        raise HostError(f"VM {spec.name}: its disk {spec.disk} is gone. Run ./lab up.")
    asked: list[str | Path] = ["qemu-img", "info", "--output=json", spec.disk]
    size = int(json.loads(shell.run(asked, timeout_s=IMAGE_TIMEOUT_S).stdout)["virtual-size"])
    if size < spec.disk_gb * GIB:
        shell.run(["qemu-img", "resize", spec.disk, f"{spec.disk_gb}G"], timeout_s=IMAGE_TIMEOUT_S)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    # A second one does not break off what the first began.
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise StopError(number, frame is None)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m orrery.vm.supervise", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the VM")
    folder = parser.parse_args().folder
    try:
        spec = VmSpec.read(description(folder))
        if spec is None:
            raise HostError(f"{folder}: there is no VM. Run ./lab up.")
        return run(spec)
    except OrreryError as error:
        print(error, flush=True)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
