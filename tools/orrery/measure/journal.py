"""The journal of a run: one JSON line for each thing that is finished, so that it can go on later.

The only part of a run that writes. A line is on the disk when `append` returns.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from orrery.errors import MeasurementError
from orrery.measure import host

FORMAT = 1
TRIAL, DROP, CONDITIONS = "trial", "drop", "conditions"
Entry = Mapping[str, Any]


class Journal:
    """An open journal, which no other run can have open. Made by `create` or `resume`.

    Attributes:
        path: Its file.
        entries: What it held when it was opened, then what was appended.
    """

    def __init__(self, path: Path, descriptor: int, entries: list[Entry]) -> None:
        self.path = path
        self.entries = entries
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path, header: Mapping[str, Any]) -> Self:
        """Begin a journal; the header says what run it belongs to.

        Raises:
            MeasurementError: There is a file already, or it cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except FileExistsError as error:
            raise MeasurementError(
                f"{path}: there is a journal already. Resume it, or delete it to begin anew."
            ) from error
        except OSError as error:
            raise MeasurementError(f"{path}: cannot be written: {error.strerror}") from error
        journal = cls(path, descriptor, [])
        try:
            journal._lock()
            journal._write({"journal": FORMAT, "header": dict(header)})
        except BaseException:
            journal.close()
            path.unlink(missing_ok=True)
            raise
        return journal

    @classmethod
    def resume(cls, path: Path, header: Mapping[str, Any]) -> Self:
        """Open a journal to go on with it; a last line that was cut off is taken away.

        Raises:
            MeasurementError: It cannot be read, another run writes it, or it belongs to another
                plan, host or boot.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise MeasurementError(
                f"{path}: cannot be resumed: {error.strerror}. Begin the measurement anew."
            ) from error
        journal = cls(path, descriptor, [])
        try:
            journal._lock()
            journal._read(header)
        except BaseException:
            journal.close()
            raise
        return journal

    def append(self, entry: Entry) -> None:
        """Add a line, and wait until the disk has it.

        Raises:
            MeasurementError: The disk is full, or fails; the lines before stay whole.
        """
        self._write(entry)
        self.entries.append(entry)

    def close(self) -> None:
        """Let go of the file; it stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MeasurementError(
                f"{self.path}: another run writes this journal. Wait until it ends."
            ) from error

    def _write(self, entry: Entry) -> None:
        data = json.dumps(entry, allow_nan=False).encode() + b"\n"
        before = os.fstat(self._descriptor).st_size
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            # Half a line would be in the way of the next one. Cutting needs no space.
            os.ftruncate(self._descriptor, before)
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> MeasurementError:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return MeasurementError(f"{self.path}: cannot be written: {error.strerror}")
        count = sum(entry.get("what") == TRIAL for entry in self.entries)
        kept = {0: "none was before it", 1: "the one before it is in the journal"}.get(
            count, f"the {count} before it are in the journal"
        )
        return MeasurementError(
            f"{self.path}: the disk is full, and the last trial is lost; {kept}. "
            f"Free some space (df -h {self.path.parent}), then resume this journal."
        )

    def _read(self, header: Mapping[str, Any]) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.splitlines()
        found = [self._parse(line, number) for number, line in enumerate(lines, start=1)]
        if not found or found[0].get("journal") != FORMAT:
            raise MeasurementError(f"{self.path}: no journal of a run. Begin the measurement anew.")
        self._compare(found[0].get("header") or {}, header)
        os.ftruncate(self._descriptor, len(whole))
        self.entries = list(found[1:])

    def _parse(self, line: bytes, number: int) -> Entry:
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise MeasurementError(
                f"{self.path}: line {number} is damaged. Begin the measurement anew."
            )
        return entry

    def _compare(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        for key in dict.fromkeys((*old, *new)):
            if old.get(key) != new.get(key):
                raise MeasurementError(
                    f"{self.path}: belongs to another {key}: '{old.get(key)}' then, "
                    f"'{new.get(key)}' now. Trials of both are not comparable: begin anew."
                )


def header(plan: str) -> dict[str, str]:
    """What a journal of this plan, on this host since it booted, begins with.

    Args:
        plan: `Plan.fingerprint`.
    """
    return {"plan": plan, "host": platform.node(), "boot": host.boot_id()}
