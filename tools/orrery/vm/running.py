"""Whether a VM of ours runs, from what its supervisor wrote down and from /proc."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from orrery.guest.registry import LAB_MARK, alive, environment

RUN_FILE = "run.json"


@dataclass(frozen=True)
class Run:
    """One start of QEMU.

    Attributes:
        pid: QEMU.
        began_s: When, on the clock that `time.monotonic` reads [s].
    """

    pid: int
    began_s: float

    @classmethod
    def read(cls, run_dir: Path) -> Run | None:
        """The newest one; None where there was none since the host was booted."""
        try:
            data = json.loads((run_dir / RUN_FILE).read_text(encoding="utf-8"))
            return cls(int(data["pid"]), float(data["began_s"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, run_dir: Path) -> None:
        """Write it down, as a whole."""
        draft = run_dir / f".{RUN_FILE}"
        draft.write_text(json.dumps(vars(self)) + "\n", encoding="utf-8")
        draft.replace(run_dir / RUN_FILE)


def running(run_dir: Path, lab_name: str) -> Run | None:
    """The start of QEMU that still runs; None where none does."""
    run = Run.read(run_dir)
    if run is None or not alive(run.pid):
        return None
    # A number is given out again; the mark tells whose the process is.
    return run if environment(run.pid).get(LAB_MARK) == lab_name else None
