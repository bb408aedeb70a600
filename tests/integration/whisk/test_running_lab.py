"""The client's side against the lab that runs: what the API promises, and a short benchmark."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from orrery.measure import record
from orrery.state import StateFile
from orrery.whisk import commands, credentials, options
from orrery.whisk.access import Access
from orrery.whisk.client import base_url

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def access(lab_state_path: Path) -> Access:
    """The functions API of the running lab."""
    facts = StateFile(lab_state_path).read().facts
    auth = credentials.read(Path(str(facts["credentials_file"]))).auth
    return Access(base_url(str(facts["api_url"])), auth)


def test_every_fact_about_the_api_holds_for_the_running_lab(access: Access) -> None:
    out = io.StringIO()
    result = commands.conformance(access, Console(file=out, width=160))
    assert result["failed"] == 0, out.getvalue()
    assert result["passed"] >= 40


def test_a_short_benchmark_of_the_running_lab_writes_a_valid_record(
    access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "CHECKOUT", tmp_path)
    chosen = options.parse(
        access.apihost,
        trials="2",
        warm_calls="40",
        connections="2",
        seconds="1",
        cold_trials="2",
        rss_after="100",
    )
    result = commands.bench(chosen, access, None, Console(file=io.StringIO(), width=160))
    made = record.load(Path(result["record"]))
    assert made.kind == "whisk-bench"
    assert made.summary["throughput_per_s"] == result["throughput_per_s"] > 0
    assert 0 < result["warm_overhead_ms"]["p50"] <= result["warm_overhead_ms"]["p99"]
    assert result["cold_ms"]["p50"] > result["warm_client_ms"]["p50"]
