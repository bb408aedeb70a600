"""Processor time, as the kernel accounts it. Reads /proc, runs nothing."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

# proc(5): of the fields behind the name utime and stime; of the line `cpu` idle and iowait.
_UTIME, _STIME = 11, 12
_IDLE, _IOWAIT = 3, 4
# user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in these already.
_STATES = 8


def process_seconds(pid: int, proc: Path = PROC) -> float:
    """Processor time that all threads of a process have used [s]; 0 where there is none."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / TICKS_PER_S


def busy_seconds(stat: str) -> float:
    """Time that all processors of a machine were not idle [s].

    Args:
        stat: Text of its /proc/stat.

    Returns:
        Interrupts included; 0 where the text has no such line.
    """
    words = stat.partition("\n")[0].split()
    if len(words) <= _STATES or words[0] != "cpu":
        return 0.0
    states = [int(word) for word in words[1 : _STATES + 1]]
    return (sum(states) - states[_IDLE] - states[_IOWAIT]) / TICKS_PER_S
