"""Everything the project promises, checked: style, types, roles and tests."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console

from orrery import shell
from orrery.errors import UsageError, VerifyError

GATE_TIMEOUT_S = 900.0
TESTS_TIMEOUT_S = 3600.0
FAST_FOLDERS = ("tests/unit", "tests/templates", "tests/contracts")
# Ansible keeps one core busy at most, so these two go side by side; what they make has other names.
ROLE_FOLDERS = ("tests/roles",)
LAB_FOLDERS = ("tests/integration",)
# The lab inside a VM, which takes longest of these, and starting VMs alone.
SMOKE_STORY, SMOKE_VMS = "tests/smoke/test_smoke.py", "tests/smoke/vm"
# What leaves the running lab alone may go on either side: the longest first, so that both sides
# end at about the same time.
NEEDS_NO_LAB = {
    "fleet tests": "tests/integration/lab/test_fleet.py",
    "image tests": "tests/integration/vm_image",
    "page tests": "tests/integration/report",
    "engine tests": "tests/integration/engine",
}
# Beside a VM, which everything after it waits for, the others stand back.
STAND_BACK = ("nice", "-n", "5")
FAST_MARKERS = "not root and not docker and not lab and not disposable"
# Where a step fails, those after it have nothing to stand on.
STORY = ("--exitfirst",)
NO_TESTS_COLLECTED = 5


@dataclass(frozen=True)
class Gate:
    """One program that must find nothing."""

    name: str
    argv: tuple[str | Path, ...]


@dataclass(frozen=True)
class Result:
    """How a gate or a run of tests ended.

    Attributes:
        seconds: Wall time [s].
        counts: passed, failed, skipped; zeros for a gate that is no test runner.
    """

    name: str
    ok: bool
    seconds: float
    output: str
    counts: tuple[int, int, int] = (0, 0, 0)


def gates(checkout: Path) -> list[Gate]:
    """The style and type gates."""
    programs = Path(sys.executable).parent
    shell_files = [checkout / "lab", checkout / ".ci" / "run"]
    return [
        Gate("ruff check", (programs / "ruff", "check", ".")),
        Gate("ruff format", (programs / "ruff", "format", "--check", ".")),
        Gate("yamllint", (programs / "yamllint", "--strict", ".")),
        Gate("shellcheck", (programs / "shellcheck", *shell_files)),
        Gate("mypy", (programs / "mypy",)),
        Gate("ansible-lint", (programs / "ansible-lint", "--offline", "--profile", "production")),
    ]


@dataclass(frozen=True)
class Run:
    """A run of tests that is to be.

    Attributes:
        more: Further arguments of pytest.
    """

    name: str
    folders: Sequence[str]
    more: Sequence[str] = ()


class Beside:
    """Runs of tests one after the other, beside those on the terminal.

    Each one's output goes to a file in .lab/tests.
    """

    def __init__(self, checkout: Path, disposable: bool) -> None:
        self._checkout, self._disposable = checkout, disposable
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._stopped = threading.Event()
        self._process: shell.Process | None = None
        self._runs: list[tuple[Run, Future[Result]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._process is not None:
            shell.stop(self._process)
        self._pool.shutdown(cancel_futures=True)

    def add(self, run: Run) -> None:
        """Run these as soon as those that were added before are through."""
        self._runs.append((run, self._pool.submit(self._run, run)))

    def taken(self) -> Iterator[Run]:
        """Take away what has not begun, one after the other."""
        for run, future in self._runs:
            if not future.cancelled() and future.cancel():
                yield run

    def results(self) -> list[Result]:
        """How those that were not taken away ended, when they all have."""
        return [future.result() for _, future in self._runs if not future.cancelled()]

    def _run(self, run: Run) -> Result:
        argv, report = _pytest(self._checkout, run.name, run.folders, disposable=self._disposable)
        log = report.with_suffix(".log")
        log.unlink(missing_ok=True)
        began = time.monotonic()
        self._process = shell.start(
            [*argv, *run.more], cwd=self._checkout, env=_test_environment(), stdout=log
        )
        if self._stopped.is_set() or not shell.ended(self._process, TESTS_TIMEOUT_S):
            shell.stop(self._process)
        code = self._process.poll()
        output = log.read_text(encoding="utf-8", errors="replace")
        return Result(run.name, code == 0, time.monotonic() - began, output, read_counts(report))


def run(
    checkout: Path, *, fast: bool, disposable: bool, only: str = "", with_smoke: bool = False
) -> dict[str, int]:
    """Run all gates and tests; returns passed, failed, skipped.

    Args:
        checkout: The repository.
        fast: Only what needs neither root nor Docker.
        disposable: Also tests that change the host itself.
        only: A path below tests/; the gates are left out then.
        with_smoke: Also the lab inside a VM. It leaves half of a processor idle when it runs alone.

    Raises:
        UsageError: `only` names no path, or the VM is asked for with a part of the tests.
        VerifyError: Something failed; all of it has been printed.
    """
    console = Console(highlight=False)
    began = time.monotonic()
    if with_smoke and (fast or only):
        raise UsageError("--with-smoke runs beside all tests: leave out --fast and --only")
    if only and not (checkout / only.split("::")[0]).exists():
        raise UsageError(f"--only takes a path such as tests/unit/lab, not '{only}'")
    if only:
        results = [_tests(checkout, "tests", [only], fast, disposable, workers=0)]
        _print(console, results[0])
        return _conclude(console, results, time.monotonic() - began)
    with Beside(checkout, disposable) as beside:
        if with_smoke:
            beside.add(Run("smoke", [SMOKE_STORY], STORY))
        back = STAND_BACK if with_smoke else ()
        with ThreadPoolExecutor(max_workers=1) as pool:
            style = pool.submit(lambda: [_gate(checkout, gate, back) for gate in gates(checkout)])
            results = [
                _tests(checkout, "fast tests", FAST_FOLDERS, fast, disposable, 2, before=back)
            ]
            _print(console, results[0])
            results += _shown(console, style)
        if not fast:
            beside.add(
                Run("lab tests", LAB_FOLDERS, [f"--ignore={one}" for one in NEEDS_NO_LAB.values()])
            )
            either = {**({"VM tests": SMOKE_VMS} if with_smoke else {}), **NEEDS_NO_LAB}
            for name, path in either.items():
                beside.add(Run(name, [path]))
            for one in itertools.chain([Run("role tests", ROLE_FOLDERS)], beside.taken()):
                results.append(
                    _tests(checkout, one.name, one.folders, False, disposable, 0, before=back)
                )
                _print(console, results[-1])
        for result in beside.results():
            results.append(result)
            _print(console, result, always=True)
    return _conclude(console, results, time.monotonic() - began)


def smoke(checkout: Path) -> dict[str, int]:
    """Make a lab inside a VM, use it and take it down; returns passed, failed, skipped.

    Raises:
        VerifyError: Something failed; what was printed is in .lab/smoke.
    """
    console = Console(highlight=False)
    began = time.monotonic()
    result = _tests(checkout, "smoke", (SMOKE_STORY, SMOKE_VMS), False, False, 0, STORY)
    _print(console, result)
    console.print("what each step printed: .lab/smoke")
    return _conclude(console, [result], time.monotonic() - began)


def _shown(console: Console, style: Future[list[Result]]) -> Iterator[Result]:
    for result in style.result():
        _print(console, result)
        yield result


def _conclude(console: Console, results: Sequence[Result], seconds: float) -> dict[str, int]:
    passed, failed, skipped = (sum(r.counts[i] for r in results) for i in range(3))
    broken = [r.name for r in results if not r.ok]
    console.print(f"{seconds:.0f} s in all")
    # CI reads this line.
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    if broken:
        raise VerifyError(f"not in order: {', '.join(broken)} (see above)")
    return {"passed": passed, "failed": failed, "skipped": skipped}


def _print(console: Console, result: Result, *, always: bool = False) -> None:
    counts = "{} passed, {} failed, {} skipped".format(*result.counts) if any(result.counts) else ""
    console.print(
        f"{'ok    ' if result.ok else 'FAILED'} {result.name:<14} {result.seconds:6.1f} s  {counts}"
    )
    if result.output and (always or not result.ok):
        console.print(result.output, markup=False, soft_wrap=True)
    sys.stdout.flush()


def _gate(checkout: Path, gate: Gate, before: Sequence[str]) -> Result:
    # The gates' caches stay in .lab so that a second run is faster and the tree stays clean.
    env = {"MYPY_CACHE_DIR": str(checkout / ".lab" / "mypy"), "NO_COLOR": "1"}
    env["RUFF_CACHE_DIR"] = str(checkout / ".lab" / "ruff")
    argv = [*before, *gate.argv]
    done = shell.run(argv, timeout_s=GATE_TIMEOUT_S, cwd=checkout, env=env, check=False)
    return Result(gate.name, done.returncode == 0, done.seconds, done.stdout + done.stderr)


def _tests(
    checkout: Path,
    name: str,
    folders: Sequence[str],
    fast: bool,
    disposable: bool,
    workers: int,
    more: Sequence[str] = (),
    before: Sequence[str] = (),
) -> Result:
    argv, report = _pytest(checkout, name, folders, disposable=disposable, workers=workers)
    argv = [*before, *argv, *(["-m", FAST_MARKERS] if fast else []), *more]
    began = time.monotonic()
    code = shell.stream(argv, timeout_s=TESTS_TIMEOUT_S, cwd=checkout, env=_test_environment())
    counts = read_counts(report)
    return Result(name, code in (0, NO_TESTS_COLLECTED), time.monotonic() - began, "", counts)


def _pytest(
    checkout: Path, name: str, folders: Sequence[str], *, disposable: bool, workers: int = 0
) -> tuple[list[str | Path], Path]:
    """Command line of a run of tests, and where its report will be."""
    slug = name.replace(" ", "-")
    folder = checkout / ".lab" / "tests"
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / f"{slug}.xml"
    report.unlink(missing_ok=True)
    present = [path for path in folders if (checkout / path.split("::")[0]).exists()]
    argv: list[str | Path] = [sys.executable, "-m", "pytest", *present, f"--junitxml={report}"]
    argv += ["-o", f"cache_dir={checkout / '.lab' / f'pytest-{slug}'}", "--durations=15"]
    argv += [f"--numprocesses={workers}", "--dist=loadfile", "-q"] if workers else ["-v"]
    argv += ["--disposable-host"] if disposable else []
    return argv, report


def _test_environment() -> dict[str, str]:
    env = {"PYTHONDONTWRITEBYTECODE": ""}
    # Tests find programs of .venv first, as the lab itself does.
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if shutil.which("dockerd") is None:
        env["PATH"] += f"{os.pathsep}/usr/sbin{os.pathsep}/sbin"
    return env


def read_counts(report: Path) -> tuple[int, int, int]:
    """Passed, failed and skipped of a JUnit report; a missing one counts as one failure."""
    if not report.is_file():
        return (0, 1, 0)
    suites = ElementTree.parse(report).getroot().iter("testsuite")  # noqa: S314 (our own file)
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return (total - failed - skipped, failed, skipped)
