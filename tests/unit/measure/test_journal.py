from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orrery import shell
from orrery.errors import MeasurementError
from orrery.measure.journal import Journal, header

HEADER = {"plan": "p", "host": "h", "boot": "b"}


def entry(number: int) -> dict[str, object]:
    return {"what": "trial", "scenario": "a", "block": number, "seconds": 0.1, "values": {}}


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal"
    with Journal.create(path, HEADER) as journal:
        journal.append(entry(1))
    with Journal.resume(path, HEADER) as journal:
        assert journal.entries == [entry(1)]
        journal.append(entry(2))
        assert journal.entries == [entry(1), entry(2)]
    with Journal.resume(path, HEADER) as journal:
        assert journal.entries == [entry(1), entry(2)]


@pytest.mark.parametrize("key", ["plan", "host", "boot"])
def test_the_journal_of_another_run_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "journal"
    Journal.create(path, HEADER).close()
    with pytest.raises(MeasurementError) as error:
        Journal.resume(path, {**HEADER, key: "x"})
    assert str(error.value) == (
        f"{path}: belongs to another {key}: '{HEADER[key]}' then, 'x' now. "
        "Trials of both are not comparable: begin anew."
    )


def test_a_line_that_was_cut_off_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal.create(path, HEADER) as journal:
        journal.append(entry(1))
    with path.open("a") as stream:
        stream.write('{"what": "tri')
    with Journal.resume(path, HEADER) as journal:
        journal.append(entry(2))
    with Journal.resume(path, HEADER) as journal:
        assert journal.entries == [entry(1), entry(2)]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal.create(path, HEADER).close()
    with path.open("a") as stream:
        stream.write("x\n")
    with pytest.raises(MeasurementError, match="line 2 is damaged. Begin the measurement anew."):
        Journal.resume(path, HEADER)


@pytest.mark.parametrize("text", ["", "{}\n", '{"journal": 99, "header": {}}\n'])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "journal"
    path.write_text(text)
    with pytest.raises(MeasurementError, match="no journal of a run"):
        Journal.resume(path, HEADER)


def test_a_journal_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal.create(path, HEADER).close()
    with pytest.raises(MeasurementError, match="there is a journal already. Resume it, or delete"):
        Journal.create(path, HEADER)


def test_a_journal_that_is_not_there_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="cannot be resumed: No such file"):
        Journal.resume(tmp_path / "journal", HEADER)


def test_two_runs_cannot_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with (
        Journal.create(path, HEADER),
        pytest.raises(MeasurementError, match="another run writes this journal"),
    ):
        Journal.resume(path, HEADER)
    Journal.resume(path, HEADER).close()


def test_a_full_disk_keeps_the_lines_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    with Journal.create(path, HEADER) as journal:
        journal.append(entry(1))

        def refuse(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            with pytest.raises(MeasurementError) as error:
                journal.append(entry(2))
    assert str(error.value) == (
        f"{path}: the disk is full, and the last trial is lost; the one before it is in the "
        f"journal. Free some space (df -h {tmp_path}), then resume this journal."
    )
    with Journal.resume(path, HEADER) as journal:
        assert journal.entries == [entry(1)]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    shell.run(["mount", "-t", "tmpfs", "-o", "size=64k", "orrery-test", folder], timeout_s=30)
    yield folder
    shell.run(["umount", folder], timeout_s=30)


@pytest.mark.root
def test_a_file_system_that_is_really_full_keeps_the_lines_before(small: Path) -> None:
    path = small / "journal"
    with Journal.create(path, HEADER) as journal:
        journal.append(entry(1))
        with pytest.raises(MeasurementError, match="the disk is full"):
            journal.append({**entry(2), "text": "x" * 100_000})
    with Journal.resume(path, HEADER) as journal:
        assert journal.entries == [entry(1)]
        journal.append(entry(2))


def test_the_header_names_plan_host_and_boot() -> None:
    found = header("p")
    assert found["plan"] == "p"
    assert len(found["boot"]) == 36
    assert found["host"]
