"""Service managers, systemd and runit, behind one face: is it up, start it, stop it, remove it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ansible.module_utils import lab_processes

# Clock ticks a second of /proc/<pid>/stat.
TICKS = os.sysconf("SC_CLK_TCK")

Runner = Callable[[list[str]], tuple[int, str]]


class ManagerError(Exception):
    """A service could not be started or stopped; the text says why."""


class Manager(Protocol):
    """What runs services on a host."""

    def pid(self) -> int:
        """The service's process; 0 when it is down."""

    def start(self) -> None:
        """Start it, now and at boot."""

    def stop(self) -> None:
        """Stop it and what supervises it."""

    def traces(self) -> list[Path]:
        """Files and folders that make the service known to the host."""

    def forget(self) -> None:
        """Remove what makes it start at boot."""


@dataclass(frozen=True)
class Names:
    """Where a service lives."""

    name: str
    stop_timeout_s: int

    @property
    def folder(self) -> Path:
        """Its definition."""
        return Path("/etc") / self.name

    @property
    def run_dir(self) -> Path:
        """What exists while it runs."""
        return Path("/run") / self.name

    @property
    def init_script(self) -> Path:
        """What starts it at boot where systemd does not."""
        return Path("/etc/init.d") / self.name

    @property
    def unit(self) -> Path:
        """What starts it at boot where systemd does."""
        return Path("/etc/systemd/system") / f"{self.name}.service"

    @property
    def rotation(self) -> Path:
        """File of logrotate, where systemd writes the log."""
        return Path("/etc/logrotate.d") / self.name


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Look again and again until it holds; false when it never did."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def number(path: Path) -> int:
    """A pid in a file; 0 when there is none."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text().strip())
    return 0


def started_at(pid: int) -> float:
    """When a process began [s since 1970]; 0 when it is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        stat = (lab_processes.PROC / str(pid) / "stat").read_text()
        ticks = int(stat.rpartition(")")[2].split()[19])
        boot = time.time() - float((lab_processes.PROC / "uptime").read_text().split()[0])
        return boot + ticks / TICKS
    return 0.0


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    with contextlib.suppress(OSError, IndexError):
        stat = (lab_processes.PROC / str(pid) / "stat").read_text()
        return pid > 0 and stat.rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


class Runit:
    """One runsv for each service, started by an init script of its own."""

    def __init__(self, names: Names, run: Runner) -> None:
        self.names = names
        self.run = run

    def supervisor(self) -> int:
        """The runsv of this service; 0 when there is none."""
        pid = number(self.names.run_dir / "supervisor.pid")
        words = lab_processes.command(pid).split() if alive(pid) else []
        return pid if words[-1:] == [str(self.names.folder)] and "runsv" in words[0] else 0

    def recorded(self) -> int:
        """The process that runsv noted last."""
        return number(self.names.run_dir / "supervise" / "pid")

    def pid(self) -> int:
        """The service's process; 0 when it is down."""
        pid = self.recorded()
        return pid if self.supervisor() and alive(pid) else 0

    def orphan(self) -> int:
        """A process whose runsv was killed; 0 when there is none.

        The number may have been given to somebody else since: it is ours when it carries our mark,
        or when it began as runsv noted it.
        """
        pid = self.recorded()
        if self.supervisor() or not alive(pid):
            return 0
        mark = lab_processes.environment(pid).get("ORRERY_SERVICE") == self.names.name
        noted = (self.names.run_dir / "supervise" / "pid").stat().st_mtime
        return pid if mark or abs(started_at(pid) - noted) < 1.0 else 0

    def end_orphan(self) -> None:
        """Stop a process whose runsv was killed."""
        pid = self.orphan()
        if not pid:
            return
        for number_of_signal, bound_s in (
            (signal.SIGTERM, float(self.names.stop_timeout_s)),
            (signal.SIGKILL, 5.0),
        ):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number_of_signal)
            if wait_until(lambda: not alive(pid), bound_s):
                return
        raise ManagerError(f"{self.names.name}: pid {pid} does not end")

    def start(self) -> None:
        """Start it, now and at boot."""
        self.end_orphan()
        if not list(Path("/etc").glob(f"rc?.d/S??{self.names.name}")):
            self.call("update-rc.d", self.names.name, "defaults")
        self.call(str(self.names.init_script), "start")
        if not wait_until(lambda: self.pid() > 0, 10):
            raise ManagerError(f"{self.names.name}: runsv did not start it within 10 s")

    def stop(self) -> None:
        """Stop it and what supervises it."""
        supervisor = self.supervisor()
        if supervisor:
            bound_s = self.names.stop_timeout_s
            # force-shutdown waits, then kills, and returns 1 when it had to.
            self.run(["sv", "-w", str(bound_s), "force-shutdown", str(self.names.folder)])
            if not wait_until(lambda: not alive(supervisor), bound_s + 10):
                raise ManagerError(f"{self.names.name}: runsv, pid {supervisor}, does not end")
        self.end_orphan()

    def traces(self) -> list[Path]:
        """Files and folders that make the service known to the host."""
        links = Path("/etc").glob(f"rc?.d/[SK]??{self.names.name}")
        return [self.names.init_script, self.names.folder, self.names.run_dir, *links]

    def forget(self) -> None:
        """Remove what makes it start at boot."""
        if shutil.which("update-rc.d"):
            self.run(["update-rc.d", "-f", self.names.name, "remove"])

    def call(self, *argv: str) -> None:
        """Run a program that has to succeed."""
        code, text = self.run(list(argv))
        if code != 0:
            raise ManagerError(f"{self.names.name}: {' '.join(argv)} ended with {code}: {text}")


class Systemd:
    """Units of systemd units."""

    def __init__(self, names: Names, run: Runner) -> None:
        self.names = names
        self.run = run

    def pid(self) -> int:
        """The service's process; 0 when it is down."""
        code, text = self.run(["systemctl", "show", "--property=MainPID", "--value", self.unit])
        return int(text) if code == 0 and text.strip().isdigit() else 0

    @property
    def unit(self) -> str:
        """Name of the unit."""
        return self.names.unit.name

    def start(self) -> None:
        """Start it, now and at boot."""
        self.call("daemon-reload")
        self.call("enable", self.unit)
        self.call("restart", self.unit)

    def stop(self) -> None:
        """Stop it."""
        if self.names.unit.exists():
            self.call("stop", self.unit)

    def traces(self) -> list[Path]:
        """Files and folders that make the service known to the host."""
        return [self.names.unit, self.names.rotation, self.names.folder, self.names.run_dir]

    def forget(self) -> None:
        """Remove what makes it start at boot."""
        if self.names.unit.exists():
            self.call("disable", self.unit)

    def call(self, *arguments: str) -> None:
        """Run systemctl, which has to succeed."""
        code, text = self.run(["systemctl", *arguments])
        if code != 0:
            command = " ".join(arguments)
            raise ManagerError(f"{self.names.name}: systemctl {command} ended with {code}: {text}")


def existing(paths: Iterable[Path]) -> list[Path]:
    """Those that are there, dangling links included."""
    return [path for path in paths if path.is_symlink() or path.exists()]


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
