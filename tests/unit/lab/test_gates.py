"""Results of gates and tests are counted as they are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orrery.errors import UsageError, VerifyError
from orrery.lab import gates
from tests.support.waiting import until

REPORT = """<testsuites><testsuite tests="10" failures="1" errors="1" skipped="2"/></testsuites>"""


def test_a_report_is_counted(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert gates.read_counts(report) == (6, 2, 2)


def test_a_missing_report_is_a_failure(tmp_path: Path) -> None:
    assert gates.read_counts(tmp_path / "none.xml") == (0, 1, 0)


def _checkout(folder: Path, text: str) -> Path:
    (folder / "tests").mkdir()
    (folder / "tests" / "test_one.py").write_text(text)
    return folder


def test_a_failing_test_fails_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    checkout = _checkout(tmp_path, "def test_no(): assert False\ndef test_yes(): pass\n")
    with pytest.raises(VerifyError, match="not in order: tests"):
        gates.run(checkout, fast=False, disposable=False, only="tests/test_one.py")
    assert "1 passed, 1 failed, 0 skipped\n" in capfd.readouterr().out


def test_a_passing_run_returns_its_counts(tmp_path: Path) -> None:
    checkout = _checkout(tmp_path, "def test_yes(): pass\n")
    counts = gates.run(checkout, fast=False, disposable=False, only="tests/test_one.py::test_yes")
    assert counts == {"passed": 1, "failed": 0, "skipped": 0}


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--only takes a path such as"):
        gates.run(tmp_path, fast=False, disposable=False, only="tests/nothing")


def _beside(checkout: Path, text: str) -> gates.Beside:
    made = gates.Beside(_checkout(checkout, text), disposable=False)
    made.add(gates.Run("first", ["tests/test_one.py"]))
    return made


def test_what_runs_beside_runs_in_its_order_and_is_counted(tmp_path: Path) -> None:
    with _beside(tmp_path, "def test_yes(): pass\ndef test_no(): assert not 'this'\n") as beside:
        without = ["--deselect=tests/test_one.py::test_no"]
        beside.add(gates.Run("second", ["tests/test_one.py"], without))
        first, second = beside.results()
    assert (first.name, first.ok, first.counts) == ("first", False, (1, 1, 0))
    assert "assert not 'this'" in first.output
    assert (second.name, second.ok, second.counts) == ("second", True, (1, 0, 0))
    assert (tmp_path / ".lab" / "tests" / "first.log").read_text() == first.output


def test_what_has_not_begun_is_taken_by_whoever_is_free(tmp_path: Path) -> None:
    text = "import time\ndef test_long(): open('began', 'w').close(); time.sleep(2)\n"
    with _beside(tmp_path, text) as beside:
        until((tmp_path / "began").exists, "the first run")
        for name in ("second", "third"):
            beside.add(gates.Run(name, ["tests/test_one.py"]))
        assert [run.name for run in beside.taken()] == ["second", "third"]
        (first,) = beside.results()
        assert list(beside.taken()) == []
    assert (first.name, first.ok) == ("first", True)
    assert not (tmp_path / ".lab" / "tests" / "second.log").exists()


def test_what_runs_beside_ends_with_what_it_is_beside(tmp_path: Path) -> None:
    text = "import time\ndef test_long(): open('began', 'w').close(); time.sleep(100)\n"
    with _beside(tmp_path, text):
        until((tmp_path / "began").exists, "the run")
        began = time.monotonic()
    assert time.monotonic() - began < 60


def test_the_vm_is_for_all_tests(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out --fast and --only"):
        gates.run(tmp_path, fast=True, disposable=False, with_smoke=True)
