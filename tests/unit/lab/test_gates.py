"""Results of gates and tests are counted as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery.errors import UsageError, VerifyError
from orrery.lab import gates

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
