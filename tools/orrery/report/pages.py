"""Writes pages of records, and the list of them. Nothing is measured."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from orrery.errors import MeasurementError
from orrery.measure import record as records
from orrery.measure.record import Record
from orrery.report import view
from orrery.report.render import render

INDEX = "index.html"
SUFFIX = ".html"
LARGEST = 1e100
"""A larger figure is no measurement, and no plot can hold it."""


@dataclass(frozen=True)
class Skipped:
    """A file that has no page."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Entry:
    """A line of the list."""

    link: str
    title: str
    finding: str
    when: str
    host: str
    accel: str
    commit: str
    record: str


@dataclass(frozen=True)
class Index:
    """All that the template of the list needs.

    Attributes:
        folders: Where records were looked for.
    """

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class Written:
    """What a run made."""

    pages: tuple[Path, ...]
    index: Path
    skipped: tuple[Skipped, ...]


def write(record: Record, record_path: Path, folder: Path, *, index: str = "") -> Path:
    """Write the page of one record into a folder.

    Args:
        record: The record.
        record_path: Its file, which the page names and links.
        folder: Where the page goes, `<name of the record's file>.html`.
        index: Relative link to the list of pages; empty for none.

    Raises:
        MeasurementError: It cannot be written, or a figure of it is none.
    """
    return _write_page(record, record_path, folder / f"{record_path.stem}{SUFFIX}", index)


def write_all(sources: Sequence[Path], folder: Path) -> Written:
    """Write the pages of all records in folders, and the list of them.

    Files that are no records are named in the list and skipped. Pages of records that are gone
    are removed: the folder is ours.

    Raises:
        MeasurementError: Pages cannot be written.
    """
    pages: list[Path] = []
    entries: list[tuple[str, Entry]] = []
    skipped: list[Skipped] = []
    for path in _files(sources):
        try:
            record = records.load(path)
            target = _free(folder / f"{path.stem}{SUFFIX}", pages)
            pages.append(_write_page(record, path, target, INDEX))
        except MeasurementError as error:
            if isinstance(error, _UnwritableError):
                raise
            skipped.append(Skipped(path, str(error).removeprefix(f"{path}: ")))
            continue
        entries.append((record.started, _entry(record, path, target)))
    ordered = tuple(entry for _, entry in sorted(entries, key=lambda one: one[0], reverse=True))
    index = folder / INDEX
    _put(index, render("index.html.j2", Index(ordered, tuple(skipped), tuple(sources))))
    _clear(folder, {*pages, index})
    return Written(tuple(pages), index, tuple(skipped))


class _UnwritableError(MeasurementError):
    """A page cannot be written; the next one could not, either."""


def _unwritable(path: Path, error: OSError) -> _UnwritableError:
    """Why a page cannot be written, and what to do; by what the kernel said."""
    said = f"{path}: the page cannot be written: {error.strerror}."
    if error.errno in records.FULL:
        return _UnwritableError(
            f"{said} See what takes the space (df -h {path.parent}), free some, and run "
            "./lab report: the record is not touched."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return _UnwritableError(
            f"{said} The folder may belong to root, since ./lab bench is run with sudo: run "
            f"sudo ./lab report, or give {path.parent} to yourself. The record is not touched."
        )
    return _UnwritableError(
        f"{said} {path.parent} has to be a folder that can be written to. The record is not "
        "touched; run ./lab report when it is one."
    )


def _write_page(record: Record, record_path: Path, target: Path, index: str) -> Path:
    _check(record, record_path)
    link = quote(os.path.relpath(record_path, target.parent))
    found = view.page(record, record_path.name, link, index)
    _put(target, render("record.html.j2", found))
    return target


def _check(record: Record, path: Path) -> None:
    """Refuse figures that are none; JSON as Python reads it has NaN."""
    values = [v for row in record.rows for v in (row.median, row.low, row.high, *row.trials)]
    values += [v for one in record.ratios for v in (one.ratio, one.low, one.high)]
    wrong = [value for value in values if not math.isfinite(value) or abs(value) > LARGEST]
    if wrong:
        raise MeasurementError(f"{path}: no valid record: {wrong[0]} is no figure")


def _entry(record: Record, path: Path, page: Path) -> Entry:
    host = record.host
    return Entry(
        link=quote(page.name),
        title=view.title(record),
        finding=view.finding(record),
        when=view.when(record),
        host=f"{host['cpu_model']}, {host['cores']} cores",
        accel=record.accel,
        commit=record.git[:12],
        record=str(path),
    )


def _files(sources: Iterable[Path]) -> Iterator[Path]:
    """JSON files of the folders; one that is there twice, with the same content, comes once."""
    seen: dict[str, bytes] = {}
    for source in sources:
        for path in sorted(source.glob("*.json")):
            content = _bytes(path)
            if content and seen.get(path.name) == content:
                continue
            seen.setdefault(path.name, content)
            yield path


def _bytes(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def _free(target: Path, taken: Sequence[Path]) -> Path:
    """The path, or one beside it where records of two folders have one name."""
    number = 2
    free = target
    while free in taken or free.name == INDEX:
        free = target.with_name(f"{target.stem}-{number}{SUFFIX}")
        number += 1
    return free


def _clear(folder: Path, keep: set[Path]) -> None:
    for old in folder.glob(f"*{SUFFIX}"):
        if old not in keep:
            with contextlib.suppress(OSError):
                old.unlink()


def _put(path: Path, text: str) -> None:
    """Write a page as a whole or not at all.

    Raises:
        MeasurementError: It cannot be written.
    """
    draft: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".page-")
        draft = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)
