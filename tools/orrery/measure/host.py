"""What a record says about the host it was made on. Reads /proc and /etc, runs nothing."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Host:
    """One host at one moment.

    Attributes:
        cores: Cores this process may use.
        memory_mb: Memory of the machine [MiB].
        load_average: Runnable tasks over 1, 5 and 15 minutes.
        work: What `quiet.Work` found while it was measured on; empty where nobody looked.
    """

    cpu_model: str
    cores: int
    memory_mb: int
    kernel: str
    distro: str
    load_average: tuple[float, float, float]
    work: Mapping[str, Any] = field(default_factory=dict)

    def as_mapping(self) -> dict[str, Any]:
        """The JSON object that is stored."""
        found = {**asdict(self), "load_average": list(self.load_average), "work": dict(self.work)}
        return found if self.work else {key: found[key] for key in found if key != "work"}


def describe(proc: Path = Path("/proc"), etc: Path = Path("/etc")) -> Host:
    """Look at this host; whatever cannot be read is called unknown."""
    return Host(
        cpu_model=parse_cpu_model(_read(proc / "cpuinfo")) or platform.machine() or UNKNOWN,
        cores=len(os.sched_getaffinity(0)),
        memory_mb=parse_memory_mb(_read(proc / "meminfo")),
        kernel=platform.release(),
        distro=parse_distro(_read(etc / "os-release")),
        load_average=parse_load(_read(proc / "loadavg")),
    )


def boot_id(proc: Path = Path("/proc")) -> str:
    """What the kernel calls this boot; unknown where it does not say."""
    return _read(proc / "sys" / "kernel" / "random" / "boot_id").strip() or UNKNOWN


def parse_cpu_model(cpuinfo: str) -> str:
    """The first model name in the text of /proc/cpuinfo, or nothing."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Model"}:
            return " ".join(value.split())
    return ""


def parse_memory_mb(meminfo: str) -> int:
    """MemTotal in the text of /proc/meminfo [MiB]; 0 where it is missing."""
    for line in meminfo.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "MemTotal:" and words[1].isdigit():
            return int(words[1]) // 1024
    return 0


def parse_distro(os_release: str) -> str:
    """PRETTY_NAME in the text of /etc/os-release."""
    for line in os_release.splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "PRETTY_NAME":
            return " ".join(shlex.split(value)) or UNKNOWN
    return UNKNOWN


def parse_load(loadavg: str) -> tuple[float, float, float]:
    """The three averages in the text of /proc/loadavg; zeros where it is missing."""
    words = loadavg.split()
    if len(words) < 3:
        return (0.0, 0.0, 0.0)
    return (float(words[0]), float(words[1]), float(words[2]))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
