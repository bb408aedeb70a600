"""What can only be found out by trying, kept until the host or its QEMU is another one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orrery.network.layout import part
from orrery.state import LabState

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Verdict:
    """What a trial came to.

    Attributes:
        answer: One word.
        why: A sentence for the user.
        forced: Whether it was decided by a variable and not tried.
    """

    answer: str
    why: str
    forced: bool = False


class Trials:
    """Verdicts of one lab since the host was booted.

    Args of the constructor: `image_id`, of what is started in trials where that is no guest.

    Attributes:
        path: `/run/<lab_name>/trials.json`.
    """

    def __init__(self, state: LabState, path: Path | None = None, image_id: str = "") -> None:
        self.path = path or Path("/run") / state.lab_name / "trials.json"
        self._made_with = {
            "boot": BOOT_ID.read_text(encoding="utf-8").strip(),
            "qemu": str(part(state, "qemu")["version"]),
            "image": image_id or str(part(state, "guest_image")["id"]),
        }

    def known(self, name: str) -> Verdict | None:
        """What an earlier trial came to; None when it has to be made."""
        found = self._read().get(name)
        return Verdict(**found) if found else None

    def verdict(self, name: str, attempt: Callable[[], Verdict]) -> Verdict:
        """What an earlier trial came to, or comes to now; two at once make one trial."""
        known = self.known(name)
        if known is not None:
            return known
        with self._alone():
            return self.known(name) or self._keep(name, attempt())

    def _keep(self, name: str, verdict: Verdict) -> Verdict:
        verdicts = {**self._read(), name: asdict(verdict)}
        draft = self.path.with_suffix(".draft")
        draft.write_text(
            json.dumps({"made_with": self._made_with, "verdicts": verdicts}, indent=2) + "\n",
            encoding="utf-8",
        )
        draft.replace(self.path)
        return verdict

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from trying meanwhile: their trial's guest has the same name."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = self.path.with_suffix(".lock")
        handle = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read(self) -> Mapping[str, Mapping[str, Any]]:
        with contextlib.suppress(OSError, ValueError, KeyError, AttributeError):
            data = json.loads(self.path.read_text(encoding="utf-8"))
            if data.get("made_with") == self._made_with:
                return dict(data["verdicts"])
        return {}
