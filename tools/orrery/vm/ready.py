"""Waiting until a VM can be worked in: SSH answers, and cloud-init is done."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from orrery import shell
from orrery.errors import GuestError
from orrery.guest.machine import Accel
from orrery.guest.monitor import Monitor
from orrery.guest.waiting import Standstill, telling
from orrery.measure.cpu import process_seconds
from orrery.vm import cloud_init
from orrery.vm.connect import ADDRESS, login
from orrery.vm.running import Run, running
from orrery.vm.spec import Driver, VmSpec

READY_TIMEOUT_S = {Accel.KVM: 180.0, Accel.TCG: 900.0}
READY_FILE = "ready.json"
BANNER = b"SSH-"
BANNER_TIMEOUT_S = 3.0
LONGEST_BANNER_TIMEOUT_S = 20.0
"""At first nobody is there, and it is asked often; one that is there and busy needs time."""
POLL_S = 0.2
GONE_TIMEOUT_S = 30.0
"""A VM that was killed is back in two seconds; one that cannot be started stays away."""
COMMAND_TIMEOUT_S = 60.0
REFUSED = ("Permission denied", "Host key verification failed", "REMOTE HOST IDENTIFICATION")
MONITOR_TIMEOUT_S = 5.0
LOOK_S = 5.0
NO_TIMER = "kthread timer wakeup didn't happen"
STILL_S = 30.0
"""A VM under TCG that does nothing for so long, and has not started, has lost its timer."""
PAUSED = "io-error"


@dataclass(frozen=True)
class Ready:
    """A VM that can be worked in.

    Attributes:
        began_s: Of its start, which tells it from a later one [s].
        boot_s: From its start to SSH; 0 where that was not watched [s].
        cloud_init_s: From its start until cloud-init was done; 0 likewise [s].
    """

    began_s: float
    boot_s: float
    cloud_init_s: float

    @classmethod
    def read(cls, run_dir: Path) -> Ready | None:
        """What was found out before; None where nothing was."""
        try:
            return cls(**json.loads((run_dir / READY_FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


@dataclass(frozen=True)
class Waiting:
    """A VM on its way.

    Attributes:
        spec: What it is.
        end: When patience ends [s].
    """

    spec: VmSpec
    end: float

    def ssh(self) -> bool:
        """Wait until SSH answers; whether that had to be waited for.

        Raises:
            GuestError: It does not in time, or refuses the key.
        """
        watched = False
        patience_s = BANNER_TIMEOUT_S
        look_at = time.monotonic()
        gone_since: float | None = None
        still: Standstill | None = Standstill(STILL_S, time.monotonic())
        while not self._banner(patience_s):
            watched = True
            patience_s = min(patience_s * 1.2, LONGEST_BANNER_TIMEOUT_S)
            now = time.monotonic()
            # A greeting is waited for longer than a VM may be gone: counted from when that is seen.
            gone_since = None if self._runs() else gone_since or now
            if gone_since is not None and now - gone_since > GONE_TIMEOUT_S:
                raise GuestError(f"VM {self.spec.name}: it does not run.\n{self.last_words()}")
            if now > look_at:
                look_at = now + LOOK_S
                self._not_paused()
                still = self._shaken(still)
            self._in_time("SSH does not answer")
            time.sleep(POLL_S)
        self._log_in()
        return watched

    def command(self, text: str, *, check: bool = True) -> shell.Completed:
        """Run a command line in the VM.

        Raises:
            CommandError: It failed, or did not end before patience did.
        """
        left = max(self.end - time.monotonic(), COMMAND_TIMEOUT_S)
        argv = login(self.spec).argv(text, batch=True)
        return shell.run(argv, timeout_s=left, check=check)

    def last_words(self) -> str:
        """The ends of the logs."""
        said = []
        for path in (self.spec.run_dir / "qemu.log", self.spec.console_log):
            with contextlib.suppress(OSError):
                text = path.read_text(encoding="utf-8", errors="replace")
                said += [f"{path.name}: {line}" for line in telling(text)]
        return "\n".join(said) or "(neither QEMU nor the console said anything)"

    def _log_in(self) -> None:
        while True:
            done = self.command("true", check=False)
            if done.returncode == 0:
                return
            refused = next((text for text in REFUSED if text in done.stderr), "")
            if refused:
                raise GuestError(
                    f"VM {self.spec.name}: SSH on port {self.spec.ssh_port} says '{refused}': "
                    f"cloud-init did not get that far, or that is another machine.\n"
                    f"{self.last_words()}"
                )
            self._in_time(f"SSH answers, and no command runs ({done.stderr.strip()[-200:]})")
            time.sleep(POLL_S)

    def _banner(self, timeout_s: float) -> bool:
        # QEMU takes every connection at once; only the VM's own words show that it is there.
        try:
            address = (ADDRESS, self.spec.ssh_port)
            with socket.create_connection(address, timeout_s) as probe:
                return probe.recv(len(BANNER)) == BANNER
        except OSError:
            return False

    def _runs(self) -> bool:
        if self.spec.driver is Driver.LIBVIRT:
            return True
        return running(self.spec.run_dir, self.spec.lab_name) is not None

    def _not_paused(self) -> None:
        """Let a VM go on that waited for space on the disk.

        Raises:
            GuestError: There is none still.
        """
        if self.spec.driver is Driver.LIBVIRT:
            return
        try:
            with Monitor(self.spec.monitor, "monitor", MONITOR_TIMEOUT_S) as monitor:
                if monitor.execute("query-status")["status"] != PAUSED:
                    return
                monitor.execute("cont")
                if monitor.execute("query-status")["status"] != PAUSED:
                    return
        except GuestError:
            # It is being started, or somebody else talks to it.
            return
        raise GuestError(
            f"VM {self.spec.name}: it is paused, because its disk could not be written. Free space "
            f"in {self.spec.folder}; the next ./lab up lets it go on."
        )

    def _shaken(self, still: Standstill | None) -> Standstill | None:
        """End a QEMU under TCG that stands still, once; the service starts it again."""
        run = running(self.spec.run_dir, self.spec.lab_name)
        if still is None or run is None or self.spec.accel is not Accel.TCG:
            return still
        if self.spec.driver is Driver.LIBVIRT:
            return None
        idle = still.noticed(time.monotonic(), process_seconds(run.pid))
        if not idle and not self._lost_its_timer():
            return still
        os.kill(run.pid, signal.SIGKILL)
        return None

    def _lost_its_timer(self) -> bool:
        """Whether the kernel says that a CPU gets no ticks any more.

        TCG loses the end of an interrupt of the local APIC's timer while that is periodic, which
        it is until the kernel has chosen its clock (seen in QEMU 10.0.2: vector 236 stays in
        service on CPU 0). The other CPU goes on, so such a VM is not quite idle.
        """
        try:
            text = self.spec.console_log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        return NO_TIMER in text

    def _in_time(self, what: str) -> None:
        if time.monotonic() > self.end:
            raise GuestError(
                f"VM {self.spec.name}: {what} in time ({self.spec.accel}; vm_ready_timeout_s).\n"
                f"{self.last_words()}"
            )


def wait(spec: VmSpec, limit_s: float = 0) -> Ready:
    """Wait until a VM can be worked in.

    Args:
        spec: The VM.
        limit_s: How long it may take [s]; 0 for what its acceleration usually needs.

    Raises:
        GuestError: It cannot in time, or cloud-init failed.
    """
    limit_s = limit_s or READY_TIMEOUT_S[spec.accel]
    waiting = Waiting(spec, time.monotonic() + limit_s)
    watched = waiting.ssh()
    run = Run.read(spec.run_dir)
    began_s = run.began_s if run is not None else 0.0
    up_s = time.monotonic() - began_s
    known = Ready.read(spec.run_dir)
    if known is not None and known.began_s == began_s:
        return known
    try:
        cloud_init.finish(spec.name, waiting.command)
    except GuestError as error:
        raise GuestError(f"{error}\n{waiting.last_words()}") from error
    done_s = time.monotonic() - began_s
    seen = watched and run is not None
    ready = Ready(began_s, round(up_s, 1) if seen else 0.0, round(done_s, 1) if seen else 0.0)
    (spec.run_dir / READY_FILE).write_text(json.dumps(asdict(ready)) + "\n", encoding="utf-8")
    return ready
