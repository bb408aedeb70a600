from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from orrery import shell
from orrery.errors import MeasurementError
from orrery.measure import record, stats
from orrery.measure.record import Drop, Left, Ratio, Record, Row
from orrery.measure.scenario import Scenario


@dataclass(frozen=True)
class Example(Scenario):
    kind: ClassVar[str] = "example"

    size: int = 3


def example() -> Record:
    row = Row.of(Example(), "time", "ms", [1, 2, 3, 2, 2])
    return record.make(Example(), [row], {"time_ms": 2.0}, started="2026-02-03T04:05:06.000+00:00")


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = example()
    path = record.save(made, tmp_path / "records")
    assert path.name == "example-20260203T040506Z-1.json"
    assert record.load(path) == made
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_record_says_where_and_with_what_it_was_made() -> None:
    made = example()
    assert made.scenario == {"name": "example size=3", "size": 3}
    assert set(made.versions) == {"orrery", "python"}
    assert made.host["cores"] >= 1
    assert made.accel == "none"


def test_records_of_one_second_get_numbers(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: record.save(example(), tmp_path), range(8)))
    assert sorted(path.stem.rpartition("-")[2] for path in paths) == list("12345678")


def test_a_row_that_does_not_fit_the_schema_is_not_written(tmp_path: Path) -> None:
    row = dataclasses.replace(example().rows[0], trials=())
    broken = dataclasses.replace(example(), rows=(row,))
    with pytest.raises(MeasurementError) as error:
        record.save(broken, tmp_path)
    assert str(error.value).startswith("the new record: no valid record: $.rows[0].trials: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("git", "way"),
    [
        ("0123456789abcdef-dirty", "commit 0123456789ab, which wrote it (git checkout)"),
        ("unknown", "the version of orrery that wrote it"),
    ],
)
def test_a_record_of_another_schema_says_which_and_what_to_do(
    tmp_path: Path, git: str, way: str
) -> None:
    path = record.save(example(), tmp_path)
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "schema": 1, "git": git}))
    with pytest.raises(MeasurementError) as error:
        record.load(path)
    assert str(error.value) == (
        f"{path}: a record of schema 1; schema 2 is read here. "
        f"Measure again, or read it with {way}."
    )


def full_record() -> Record:
    a, b = Example(1), Example(2)
    rows = [
        Row.of(a, "time", "ms", [2, 4, 2, 2, 3]),
        Row.of(b, "time", "ms", [1, 2, 1, 1, 1], listed=False),
    ]
    found = stats.paired_ratio(rows[0].trials, rows[1].trials)
    return record.make(
        Example(),
        rows,
        {},
        started="2026-02-03T04:05:06.000+00:00",
        ratios=[Ratio.of(a.name, b.name, "time", found, equal_offloads=False)],
        scenarios=[Example(7)],
        conditions={a.name: {"mtu": 1500}},
        skipped=[Left(scenario=Example(7).name, reason="there is no seven")],
        dropped=[Drop(scenario=a.name, block=2, reason="the link was down")],
        failed=[Left(scenario=b.name, reason="given up")],
    )


def test_everything_beside_the_rows_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = full_record()
    assert record.load(record.save(made, tmp_path)) == made
    assert made.ratios[0].why == "offloads differ"
    assert made.scenarios == {f"example size={size}": {"size": size} for size in (7, 1, 2)}


def test_a_row_holds_the_interval_of_its_median_and_the_mad() -> None:
    row = Row.of("x", "time", "ms", [5, 1, 9, 4, 7, 3, 6, 2, 8], tolerance=2.0)
    assert (row.median, row.low, row.high, row.mad) == (5.0, 2.0, 8.0, 2.0)
    assert row.stable
    assert row.reason.endswith("200% allowed")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"ratios": [{"a": "x"}]}, "$.ratios[0]"),
        ({"dropped": [{"scenario": "x", "block": 0, "reason": "y"}]}, "$.dropped[0].block"),
        ({"skipped": [{"scenario": "x"}]}, "$.skipped[0]"),
        ({"conditions": {"x": 1}}, "$.conditions.x"),
    ],
)
def test_what_is_beside_the_rows_has_a_form(change: dict[str, Any], place: str) -> None:
    data = {**full_record().as_mapping(), **change}
    with pytest.raises(MeasurementError) as error:
        record.validate(data, "it")
    assert str(error.value).startswith(f"it: no valid record: {place}: ")


def test_a_full_disk_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(MeasurementError) as error:
        record.save(example(), tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: the disk is full, and the record is not written, not even in part. "
        f"See what takes the space (df -h {tmp_path}), free some, and run the command again."
    )
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    shell.run(["mount", "-t", "tmpfs", "-o", "size=64k", "orrery-test", folder], timeout_s=30)
    yield folder
    shell.run(["umount", folder], timeout_s=30)


@pytest.mark.root
def test_a_file_system_that_is_really_full_leaves_nothing(small: Path) -> None:
    long = dataclasses.replace(example(), summary={"text": "x" * 100_000})
    with pytest.raises(MeasurementError, match="small: the disk is full"):
        record.save(long, small)
    assert not list(small.iterdir())
    assert record.load(record.save(example(), small)) == example()


def test_the_records_of_this_repository_can_be_read() -> None:
    paths = [
        path
        for path in (record.CHECKOUT / "docs" / "results").glob("*.json")
        if not path.name.startswith("up-")
    ]
    assert paths
    for path in paths:
        found = record.load(path)
        assert all(row.scenario in found.scenarios for row in found.rows), path
        for row in found.rows:
            again = stats.spread(row.trials)
            assert (row.median, row.low, row.high, row.mad) == pytest.approx(
                (again.median, again.low, again.high, again.mad)
            )


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{")
    with pytest.raises(MeasurementError, match="cannot be read as a record"):
        record.load(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MeasurementError, match="file/records: cannot be written"):
        record.save(example(), tmp_path / "file" / "records")


def test_a_row_is_found_by_metric_and_scenario() -> None:
    made = example()
    assert made.row("time", "example") is made.rows[0]
    with pytest.raises(MeasurementError, match="the record has no row of size"):
        made.row("size")


def test_the_git_id_names_the_commit_and_whether_files_differ(tmp_path: Path) -> None:
    assert record.git_id(tmp_path) == "unknown"
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        shell.run(["git", "-C", tmp_path, *words], timeout_s=30)
    clean = record.git_id(tmp_path)
    assert len(clean) == 40
    (tmp_path / "file").write_text("x")
    shell.run(["git", "-C", tmp_path, "add", "file"], timeout_s=30)
    assert record.git_id(tmp_path) == f"{clean}-dirty"
