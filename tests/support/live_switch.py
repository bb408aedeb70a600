"""The running lab's switch, which some tests kill and others need."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

LOCK = Path(tempfile.gettempdir()) / "orrery-live-switch.lock"


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Keep tests of the other process from killing it, or from needing it while we do."""
    handle = os.open(LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
