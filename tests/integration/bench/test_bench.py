"""`./lab bench` on the running lab: what comes out, and what happens when something dies."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.measure import record
from orrery.network import conditions
from orrery.network.layout import Layout, switch
from orrery.state import LabState, StateFile
from tests.support import live_switch

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.timeout(600)]

HEAD = """---
about: What tests measure, a second each.
trials: 5
most_trials: 5
seconds: 1
groups:
"""
GUESTS = """  - title: TCP between guests
    with: {path: guest-guest, traffic: tcp, streams: 1}
    variants: [{backend: vhost-user}]
"""
ENGINE = """  - title: The switch alone
    with: {path: engine, traffic: forward, frame: 64}
    variants: [{backend: engine-vhost-user}]
"""
COMPARED = """  - title: TCP between guests
    with: {path: guest-guest, traffic: tcp, streams: 1}
    variants:
      - {backend: vhost-user}
      - {backend: virtio-net, offloads: native}
      - {backend: virtio-net-kernel-ovs}
    ratios:
      - {of: {backend: vhost-user}, over: {backend: virtio-net, offloads: native}}
"""
RUN_TIMEOUT_S = 200.0


@pytest.fixture
def lab_state(lab_state_path: Path) -> LabState:
    return StateFile(lab_state_path).read()


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """One row with guests, and one without; starting guests is what takes time here."""
    path = tmp_path / "suite.yml"
    path.write_text(HEAD + GUESTS + ENGINE)
    return path


@pytest.fixture(autouse=True)
def nothing_stays(lab_state: LabState) -> Iterator[None]:
    """Guests, bridges and interfaces are afterwards what they were."""

    def seen() -> Any:
        this = switch(lab_state)
        return (
            sorted(one.name for one in this.ports()),
            sorted(Layout.of(lab_state).namespace.links()),
            sorted(path.name for path in Path(f"/run/{lab_state.lab_name}/guests").glob("*")),
            conditions.settings(this),
        )

    before = seen()
    yield
    assert seen() == before


@pytest.fixture
def bench(checkout: Path, lab_state: LabState, tmp_path: Path) -> Callable[..., Any]:
    """Run `./lab bench`; exit code, text, JSON."""

    def run(*words: str | Path) -> tuple[int, str, Any]:
        answer = tmp_path / "answer.json"
        answer.unlink(missing_ok=True)
        done = shell.run(argv(checkout, lab_state, *words, "-j", answer), timeout_s=RUN_TIMEOUT_S,
                         check=False)  # fmt: skip
        data = json.loads(answer.read_text()) if answer.exists() else None
        return done.returncode, done.stdout + done.stderr, data

    return run


def argv(checkout: Path, state: LabState, *words: str | Path) -> list[str | Path]:
    return [checkout / "lab", "bench", "-e", f"lab_name={state.lab_name}", *words]


def qemus(state: LabState) -> dict[str, int]:
    folders = Path(f"/run/{state.lab_name}/guests").glob("bench*/guest.json")
    found = (json.loads(path.read_text()) for path in folders)
    return {one["name"]: one["pid"] for one in found if one["ready"]}


def await_line(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"'{text}' was never printed:\n{seen}")


def test_a_comparison_gives_rows_ratios_a_record_and_a_page(
    bench: Callable[..., Any], suite: Path
) -> None:
    suite.write_text(HEAD + COMPARED + ENGINE)
    code, text, found = bench("--suite", suite)
    assert code == 0, text
    assert [(row["metric"], row["unit"]) for row in found["rows"]] == [
        ("throughput", "Mbit/s"),
        ("throughput", "Mbit/s"),
        ("rate", "packets/s"),
    ]
    assert all(row["low"] <= row["median"] <= row["high"] for row in found["rows"])
    (ratio,) = found["ratios"]
    assert ratio["equal_offloads"] is False
    assert "offloads differ" in text
    kernel = Path("/sys/module/openvswitch").exists()
    assert found["skipped"] == (0 if kernel else 1)
    made = record.load(Path(found["record"]))
    assert len(made.rows[0].trials) == 5
    assert made.conditions[made.rows[0].scenario]["near"]["host_tso"] is False
    page = Path(found["page"]).read_text()
    assert page.count("<svg") >= 2
    assert "vhost-user" in page


def test_a_guest_that_dies_in_the_middle_costs_a_trial(
    checkout: Path, lab_state: LabState, suite: Path, tmp_path: Path
) -> None:
    answer = tmp_path / "answer.json"
    words = argv(checkout, lab_state, "--suite", suite, "-j", answer)
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        seen = await_line(process, "trial 2")
        name, pid = min(qemus(lab_state).items())
        os.kill(pid, signal.SIGKILL)
        rest, _ = process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == 0, seen + rest
    found = json.loads(answer.read_text())
    assert found["dropped"] >= 1, seen + rest
    assert "a trial is dropped (" in rest
    assert name in rest
    assert len(found["rows"]) == 2
    assert min(len(row["trials"]) for row in found["rows"]) < 5


@pytest.mark.disposable
@pytest.mark.parametrize(
    ("parameter", "row", "label"),
    [
        ("streams: 1", 0, "vhost-user, tcp, guest-guest, streams=1"),
        ("frame: 64", 1, "engine-vhost-user, forward, engine, frame=64"),
    ],
)
def test_a_switch_that_dies_in_the_middle_costs_trials_and_the_rest_goes_on(
    checkout: Path,
    lab_state: LabState,
    suite: Path,
    tmp_path: Path,
    parameter: str,
    row: int,
    label: str,
) -> None:
    # Long enough for a kill to be in the middle of it for sure.
    text = HEAD + GUESTS + ENGINE
    suite.write_text(text.replace(f"{parameter}}}", f"{parameter}, seconds: 4}}"))
    answer = tmp_path / "answer.json"
    words = argv(checkout, lab_state, "--suite", suite, "-j", answer)
    with (
        live_switch.held(),
        subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        seen = await_line(process, f"{label}: trial 3")
        time.sleep(2)
        os.kill(switch(lab_state).pid(), signal.SIGKILL)
        rest, _ = process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == 0, seen + rest
    found = json.loads(answer.read_text())
    assert found["dropped"] >= 1
    assert len(found["rows"]) == 2
    assert 3 <= len(found["rows"][row]["trials"]) <= 4
    # As it does where sockets of the one before are in the way.
    assert not any("failed to bind" in line for line in switch(lab_state).errors())


def test_ctrl_c_keeps_finished_trials_and_a_second_bench_is_refused(
    checkout: Path, lab_state: LabState, suite: Path, bench: Callable[..., Any]
) -> None:
    suite.write_text(HEAD + COMPARED)
    words = argv(checkout, lab_state, "--suite", suite)
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    ) as process:
        seen = await_line(process, "trial 3")
        code, text, _ = bench("--suite", suite)
        assert code == 3
        assert f"is being worked on by ./lab bench (pid {process.pid})" in text
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, seen + rest
    assert rest.strip().endswith("interrupted")
    (line,) = [line for line in rest.splitlines() if "--resume" in line]
    journal = Path(line.split()[-1])
    kept = sum('"trial"' in line for line in journal.read_text().splitlines())
    assert kept >= 4
    # As it is printed, word for word.
    done = shell.run(shlex.split(line), timeout_s=RUN_TIMEOUT_S, cwd=checkout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = record.load(_path_of(done.stdout, "record: "))
    assert {len(row.trials) for row in found.rows if row.listed} == {5}
    assert [ratio.equal_offloads for ratio in found.ratios] == [False]
    assert not journal.exists()


def _path_of(text: str, label: str) -> Path:
    (line,) = [line for line in text.splitlines() if line.startswith(label)]
    return Path(line.removeprefix(label))


def test_a_bench_that_was_killed_leaves_nothing_in_the_way_of_the_next(
    checkout: Path, lab_state: LabState, suite: Path, bench: Callable[..., Any]
) -> None:
    words = argv(checkout, lab_state, "--suite", suite)
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        await_line(process, "trial 2")
        process.kill()
        process.communicate(timeout=60)
    before = conditions.settings(switch(lab_state)).get("pmd-maxsleep")
    code, text, found = bench("--suite", suite)
    assert code == 0, f"{text}\n(PMDs slept {before} us after the kill)"
    assert len(found["rows"]) == 2
    assert conditions.of_switch(lab_state)["pmd_sleep_us"] == lab_state.facts["ovs"]["pmd_sleep_us"]


def test_guests_of_the_user_are_not_disturbed(
    checkout: Path, lab_state: LabState, suite: Path, bench: Callable[..., Any]
) -> None:
    name = f"lab_name={lab_state.lab_name}"
    own: list[str | Path] = [checkout / "lab", "guest.start", "t-own", "-e", name]
    shell.run(own, timeout_s=120)
    try:
        code, text, _ = bench("--suite", suite)
    finally:
        shell.run([checkout / "lab", "guest.stop", "t-own", "-e", name], timeout_s=60)
    assert code == 5
    assert "guests run (t-own) and would disturb what is measured" in text


def test_a_suite_that_is_wrong_is_refused_before_anything_starts(
    bench: Callable[..., Any], suite: Path
) -> None:
    suite.write_text((HEAD + GUESTS).replace("vhost-user}", "vhost}"))
    code, text, _ = bench("--suite", suite)
    assert code == 2
    assert "backend is 'vhost'; one of vhost-user" in text
