"""Fixtures and rules that all tests share.

* With `CI=true` a skipped test is a failure, unless its reason begins with `not here:`.
* `disposable` tests change the host itself: they run with `CI=true` or `--disposable-host`.
* `root` tests need root; `lab` tests need the lab that `./lab up` made.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orrery.state import StateFile
from tests.support.docker import PrivateDocker
from tests.support.roles import RoleRun, run_role_on_this_host

# A runner that starts us in the background leaves SIGINT ignored, and programs that we start would
# inherit that: tests of Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHECKOUT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() == "true"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of our own."""
    parser.addoption(
        "--disposable-host",
        action="store_true",
        help="this host may be changed and broken by tests",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what may not run here, with the reason."""
    disposable = IN_CI or config.getoption("--disposable-host")
    for item in items:
        if item.get_closest_marker("disposable") and not disposable:
            reason = "changes the host itself: run with --disposable-host on a machine of no worth"
            item.add_marker(pytest.mark.skip(reason=reason))
        needs_root = any(item.get_closest_marker(name) for name in ("root", "docker"))
        if needs_root and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root: run sudo ./lab test"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skip is a failure: what can run here must run."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if "not here:" not in reason:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped in CI: {reason}"
    return report


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The repository."""
    return CHECKOUT


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Folder of the four gzipped IDX files of MNIST."""
    folder = Path(os.environ.get("ORRERY_TEST_DATA", CHECKOUT.parent / "shared" / "data")) / "mnist"
    if not (folder / "t10k-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"{folder} holds no MNIST: set ORRERY_TEST_DATA to a folder with mnist/ in it")
    return folder


@pytest.fixture
def run_role(tmp_path: Path) -> Callable[..., RoleRun]:
    """Run one role against this host: `run_role(role, vars, check=False, expect_failure=False)`."""

    def call(
        role: str,
        variables: Mapping[str, Any] | None = None,
        *,
        check: bool = False,
        expect_failure: bool = False,
        tasks_from: str = "main",
        timeout_s: float = 280,
    ) -> RoleRun:
        return run_role_on_this_host(
            CHECKOUT,
            tmp_path,
            role,
            variables or {},
            check=check,
            expect_failure=expect_failure,
            tasks_from=tasks_from,
            timeout_s=timeout_s,
        )

    return call


@pytest.fixture(scope="session")
def lab_state_path() -> Path:
    """State file of the running lab; skips where there is none."""
    name = os.environ.get("ORRERY_TEST_LAB", "orrery")
    path = Path("/var/lib") / name / "state.json"
    try:
        StateFile(path).read()
    except Exception as error:  # every reason is shown
        pytest.skip(f"the lab '{name}' is not up ({error}): run ./lab up first")
    return path


@pytest.fixture(scope="session")
def private_dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDocker]:
    """A dockerd of the test's own: data root, socket and bridge; gone afterwards."""
    if os.geteuid() != 0:
        pytest.skip("needs root: run sudo ./lab test")
    docker = PrivateDocker(tmp_path_factory.mktemp("dockerd"))
    docker.start()
    try:
        docker.load_base_image()
        yield docker
    finally:
        docker.destroy()
