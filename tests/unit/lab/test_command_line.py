"""The traps of Fabric and Invoke: exit codes, options, Ctrl-C."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from invoke.collection import Collection

CHECKOUT = Path(__file__).resolve().parents[3]
FAB = Path(sys.executable).parent / "fab"

FABFILE = """
import asyncio
import time
from invoke.collection import Collection
from orrery import errors, params
from orrery.lab.command import lab_task

@lab_task
def fails(c, inventory="", extra=(), json="", code="1"):
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.OrreryError):
            if kind.exit_code == int(code):
                raise kind("a sentence")

@lab_task
def queues(c, inventory="", extra=(), json="", queues="4"):
    print(params.integer("queues", queues, low=1, high=8))

@lab_task
def waits(c, inventory="", extra=(), json=""):
    print("waiting", flush=True)
    time.sleep(60)

@lab_task
def begins(c, inventory="", extra=(), json=""):
    async def work():
        pass
    begun = work()
    print("waiting", flush=True)
    time.sleep(60)
    asyncio.run(begun)

ns = Collection(fails, queues, waits, begins)
"""


@pytest.fixture
def fab(tmp_path: Path) -> list[str]:
    (tmp_path / "fabfile.py").write_text(FABFILE)
    return [str(FAB), "--search-root", str(tmp_path)]


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("code", ["1", "2", "3", "4", "5", "6", "7", "20"])
def test_every_kind_of_error_keeps_its_exit_code(fab: list[str], code: str) -> None:
    done = _run([*fab, "fails", "--code", code])
    assert done.returncode == int(code)
    assert done.stderr.strip() == "error: a sentence"


def test_a_wrong_value_is_a_sentence_and_no_traceback(fab: list[str]) -> None:
    done = _run([*fab, "queues", "--queues", "four"])
    assert done.returncode == 1
    assert done.stderr.strip() == "error: --queues takes a whole number, not 'four'"


@pytest.mark.parametrize("task", ["waits", "begins"])
def test_ctrl_c_gives_one_line_and_130(fab: list[str], task: str) -> None:
    with subprocess.Popen(
        [*fab, task], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == "interrupted"


def test_ctrl_c_inside_a_program_lets_it_clean_up(tmp_path: Path) -> None:
    note = tmp_path / "note"
    child = f"trap 'echo clean > {note}; exit 1' INT; echo ready; while :; do sleep 0.1; done"
    code = (
        "from orrery import shell\n"
        f"try:\n    shell.stream(['sh', '-c', {child!r}], timeout_s=60)\n"
        "except KeyboardInterrupt:\n    raise SystemExit(130)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    end = time.monotonic() + 20
    while not note.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert note.read_text() == "clean\n"


@pytest.mark.parametrize("option", ["-i", "--inventory", "-x", "--json=a"])
def test_options_before_the_task_are_refused(option: str) -> None:
    done = _run([str(CHECKOUT / "lab"), option, "inventory/local", "up"])
    assert done.returncode == 1
    assert f"'{option}' stands before the task" in done.stderr


def test_without_arguments_the_tasks_are_listed() -> None:
    plain, listed = _run([str(CHECKOUT / "lab")]), _run([str(CHECKOUT / "lab"), "--list"])
    assert plain.returncode == listed.returncode == 0
    assert plain.stdout == listed.stdout
    for name in ("up", "down", "verify", "status", "logs", "test", "mnist.evaluate", "whisk.bench"):
        assert f"  {name}" in plain.stdout


def test_a_missing_inventory_exits_with_2() -> None:
    done = _run([str(CHECKOUT / "lab"), "up", "-i", "nope"])
    assert done.returncode == 2
    assert "there is no nope" in done.stderr


def test_an_unknown_part_is_refused_before_anything_runs() -> None:
    done = _run([str(CHECKOUT / "lab"), "up", "--only", "storage"])
    assert done.returncode == 1
    assert "--only takes one of serverless, virtualisation, not 'storage'" in done.stderr


def test_completion_names_the_tasks() -> None:
    script = _run([str(CHECKOUT / "lab"), "completion", "bash"]).stdout
    words = "complete -p ./lab; COMP_WORDS=(./lab mnist.) COMP_CWORD=1; _orrery_lab"
    shown = 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{words}; {shown}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=CHECKOUT,
    )
    assert "mnist.evaluate" in done.stdout


def test_every_task_shares_its_first_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(CHECKOUT))
    import fabfile

    def bodies(collection: Collection, prefix: str = "") -> dict[str, object]:
        found = {f"{prefix}{name}": task.body for name, task in collection.tasks.items()}
        for name, inner in collection.collections.items():
            found.update(bodies(inner, f"{prefix}{name}."))
        return found

    tasks = bodies(fabfile.ns)
    assert len(tasks) > 10
    for name, body in tasks.items():
        assert callable(body)
        names = list(inspect.signature(body).parameters)
        assert names[:4] == ["c", "inventory", "extra", "json"], name
