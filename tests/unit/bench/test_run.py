"""A run keeps what it has, whatever fails: records on full disks, pages, a hang-up."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from orrery.bench import run as runs
from orrery.bench import suite as suites
from orrery.errors import MeasurementError
from orrery.lab.settings import Settings
from orrery.measure import record
from orrery.measure.journal import Journal
from orrery.measure.runner import TrialError
from orrery.network.scenario import NetScenario
from orrery.state import LabState
from tests.unit.bench.test_comparison import TEXT, Fake

ASKED = ["--suite", "my two.yml", "--trials", "5"]


class Guests:
    """No guest runs."""

    def __init__(self) -> None:
        self.state = LabState("t", facts={"qemu": {"version": "10"}, "traffic_tools": {"a": "1"}})
        self.registry = self

    def sweep(self) -> None:
        pass

    def entries(self) -> list[Any]:
        return []


class Bench(Fake):
    """Stands for `Bench`; does something before a trial."""

    before_trial: Any = None

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def trial(self, scenario: NetScenario) -> Any:
        if self.before_trial is not None:
            self.before_trial(self)
        return super().trial(scenario)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, "t", tmp_path, ())


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    fake = Bench()
    monkeypatch.setattr(runs, "Bench", lambda *_: fake)
    monkeypatch.setattr(runs, "exclusively", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr("orrery.guest.choose.accel_of", lambda _: "tcg")
    return fake


def measured(settings: Settings, resumed: Path | None = None) -> runs.Done:
    suite = suites.parse(TEXT, "two")
    guests: Any = Guests()
    return runs.run(settings, guests, suite, resumed, ASKED, "my two.yml")


def journals(settings: Settings) -> list[Path]:
    return list((settings.checkout / ".lab" / "bench").glob("*"))


def test_a_run_leaves_a_record_and_a_page_and_no_journal(settings: Settings, bench: Bench) -> None:
    done = measured(settings)
    assert record.load(done.path).summary["asked_as"] == "my two.yml"
    assert done.page is not None
    assert done.page.exists()
    assert done.record.versions["a"] == "1"
    assert journals(settings) == []
    assert set(done.as_mapping()) >= {"suite", "rows", "ratios", "record", "page"}


def test_a_record_that_cannot_be_written_leaves_the_journal_to_go_on_from(
    settings: Settings,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any) -> Path:
        raise MeasurementError("records: the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("orrery.measure.record.save", full)
        with pytest.raises(MeasurementError, match="the disk is full"):
            measured(settings)
    (journal,) = journals(settings)
    said = capsys.readouterr().out
    assert f"./lab bench --suite 'my two.yml' --trials 5 --resume {journal}" in said
    trials = bench.count
    done = measured(settings, journal)
    assert bench.count == trials, "no trial is repeated"
    assert done.record.summary["resumed"] is True
    assert done.record.ratios[0].equal_offloads is True
    assert journals(settings) == []


def test_a_run_in_which_every_trial_was_lost_leaves_nothing_to_go_on_from(
    settings: Settings, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(_: Bench) -> None:
        raise TrialError("nothing arrives")

    bench.before_trial = lost
    with pytest.raises(MeasurementError, match="no scenario has a result:\n.*nothing arrives"):
        measured(settings)
    assert journals(settings) == []
    assert "--resume" not in capsys.readouterr().out


def test_a_page_that_cannot_be_written_costs_no_record(
    settings: Settings,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any) -> Path:
        raise MeasurementError("report: the disk is full")

    monkeypatch.setattr("orrery.report.pages.write", full)
    done = measured(settings)
    assert done.page is None
    assert done.as_mapping()["page"] is None
    assert record.load(done.path).rows
    assert "no page: report: the disk is full" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_hang_up_does_what_ctrl_c_does(
    settings: Settings, bench: Bench, number: signal.Signals
) -> None:
    before = signal.getsignal(number)

    def hang_up(fake: Bench) -> None:
        if fake.count == 6:
            os.kill(os.getpid(), number)

    bench.before_trial = hang_up
    with pytest.raises(KeyboardInterrupt):
        measured(settings)
    assert signal.getsignal(number) == before
    (journal,) = journals(settings)
    with Journal.resume(journal, _header(journal)) as kept:
        assert sum(entry["what"] == "trial" for entry in kept.entries) == 6


def _header(journal: Path) -> Any:
    import json

    return json.loads(journal.read_text().splitlines()[0])["header"]
