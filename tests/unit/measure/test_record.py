from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from orrery import shell
from orrery.errors import MeasurementError
from orrery.measure import record
from orrery.measure.record import Record, Row
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


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = record.save(example(), tmp_path)
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "schema": 2}))
    with pytest.raises(MeasurementError, match=r"no valid record: \$\.schema: 1 was expected"):
        record.load(path)


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
