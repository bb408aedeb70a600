"""The role on this host, under lab names of its own and with a few pages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from orrery import shell
from tests.support.roles import RoleRun

# Tests of whole labs hold the pool for as long as an `up` takes.
pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]

RunRole = Callable[..., RoleRun]

LAB = "t-huge"
PAGES = 8
PAGE = 2 << 20
CONSUMER = Path(__file__).with_name("consumer.py")


def variables(folder: Path, lab: str = LAB, **more: Any) -> dict[str, Any]:
    return {
        "lab_name": lab,
        "lab_state_dir": str(folder / lab),
        "lab_config_dir": str(folder / f"etc-{lab}"),
        "hugepages_count": PAGES,
        **more,
    }


def absent(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "hugepages_state": "absent"}


def fact(folder: Path, lab: str = LAB) -> dict[str, Any]:
    state = json.loads((folder / lab / "state.json").read_text(encoding="utf-8"))
    found = state["facts"].get("hugepages", {})
    assert isinstance(found, dict)
    return found


class Pool(Protocol):
    """What conftest.py gives."""

    def size(self) -> int: ...

    def read(self, name: str) -> int: ...

    def add(self, pages: int) -> None: ...


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8")


def traces(lab: str = LAB) -> list[Path]:
    found = [Path("/run") / lab, Path("/run") / f"{lab}-hugepages"]
    found += [Path("/etc/init.d") / f"{lab}-hugepages"]
    found += [Path("/etc/systemd/system") / f"{lab}-hugepages.service"]
    links = Path("/etc").glob(f"rc?.d/???{lab}-hugepages")
    return [path for path in (*found, *links) if path.is_symlink() or path.exists()]


@pytest.fixture(autouse=True)
def nothing_stays(run_role: RunRole, pool: Pool, tmp_path: Path) -> Iterator[None]:
    yield
    for lab in (LAB, "t-huge2"):
        if traces(lab):
            run_role("hugepages", absent(variables(tmp_path, lab)))
        assert not traces(lab)
    assert f"{LAB}-hugepages" not in mounts()


@contextmanager
def consumer(folder: Path, pages: int) -> Iterator[subprocess.Popen[str]]:
    """A program that has pages of a mount."""
    argv = [sys.executable, str(CONSUMER), str(folder / "data"), str(pages)]
    program = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "mapped\n"
        yield program
    finally:
        if program.poll() is None:
            program.communicate(timeout=20)


@contextmanager
def users_pages(pool: Pool, folder: Path, pages: int) -> Iterator[subprocess.Popen[str]]:
    """A user's program with pages of its own, from a mount of its own."""
    folder.mkdir()
    pool.add(pages)
    shell.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "user", folder], timeout_s=10)
    try:
        with consumer(folder, pages) as program:
            yield program
    finally:
        shell.run(["umount", folder], timeout_s=10)
        pool.add(-pages)


def test_defaults_reserve_pages_once_and_give_them_back(
    run_role: RunRole, pool: Pool, tmp_path: Path
) -> None:
    values, before = variables(tmp_path), pool.size()
    dry = run_role("hugepages", values, check=True)
    assert dry.changed == 2
    assert re.search(rf"\+pages of 2048 kB: \d+, {PAGES} ours", dry.output)
    assert pool.size() == before
    assert not traces()

    run_role("hugepages", values)
    assert pool.size() == before + PAGES
    kept = fact(tmp_path)
    mount = f"/run/{LAB}/hugepages"
    assert {key: kept[key] for key in ("size_kb", "count", "added", "mount")} == {
        "size_kb": 2048,
        "count": PAGES,
        "added": PAGES,
        "mount": mount,
    }
    assert f" {mount} rw,relatime - hugetlbfs {LAB}-hugepages rw,pagesize=2M" in mounts()
    assert not any(Path(mount).iterdir())
    assert mount not in Path("/etc/fstab").read_text(encoding="utf-8")
    assert run_role("hugepages", values).changed == 0
    assert run_role("hugepages", values, check=True).changed == 0

    run_role("hugepages", absent(values))
    assert pool.size() == before
    assert not fact(tmp_path)
    assert run_role("hugepages", absent(values)).changed == 0


def test_two_labs_get_a_share_each_and_one_keeps_its_own(
    run_role: RunRole, pool: Pool, tmp_path: Path
) -> None:
    before = pool.size()
    first, second = variables(tmp_path), variables(tmp_path, "t-huge2", hugepages_count=4)
    run_role("hugepages", first)
    run_role("hugepages", second)
    assert pool.size() == before + PAGES + 4
    run_role("hugepages", absent(first))
    assert pool.size() == before + 4
    assert fact(tmp_path, "t-huge2")["added"] == 4
    assert "/run/t-huge2/hugepages" in mounts()
    assert run_role("hugepages", second).changed == 0
    run_role("hugepages", absent(second))
    assert pool.size() == before


def test_a_program_of_the_user_keeps_its_pages(
    run_role: RunRole, pool: Pool, tmp_path: Path
) -> None:
    values = variables(tmp_path)
    with users_pages(pool, tmp_path / "mine", 3) as program:
        before = pool.size()
        run_role("hugepages", values)
        assert pool.size() == before + PAGES
        assert program.poll() is None
        run_role("hugepages", absent(values))
        assert pool.size() == before
        answer, _ = program.communicate(timeout=20)
    assert answer == "kept\n"


def test_pages_in_use_are_told_and_go_with_their_program(
    run_role: RunRole, pool: Pool, tmp_path: Path
) -> None:
    values, before = variables(tmp_path), pool.size()
    run_role("hugepages", values)
    with consumer(Path(f"/run/{LAB}/hugepages"), PAGES) as program:
        assert run_role("hugepages", values).changed == 0
        # Free pages of others go first: the kernel does not tell whose is which.
        free = pool.read("free")
        run = run_role("hugepages", absent(values))
        assert pool.size() == before
        answer, _ = program.communicate(timeout=20)
    assert answer == "kept\n"
    waiting = PAGES - free
    if waiting > 0:
        assert f"hugepages: {waiting} of {PAGES} pages are still in use" in run.text


def test_systemd_gets_a_unit_of_the_lab(run_role: RunRole, tmp_path: Path) -> None:
    values = variables(tmp_path, hugepages_service_manager="systemd")
    run = run_role("hugepages", values, check=True)
    assert f"after: /etc/systemd/system/{LAB}-hugepages.service" in run.output
    assert f"+ExecStart={tmp_path}/etc-{LAB}/hugepages.sh" in run.output
    # What a user has in sysctl.conf or dpdk.conf sets the pool's size, and would undo ours later.
    assert "+After=systemd-sysctl.service dpdk.service" in run.output


def test_the_script_adds_the_pages_once_a_boot(
    run_role: RunRole, pool: Pool, tmp_path: Path, checkout: Path
) -> None:
    values, before = variables(tmp_path), pool.size()
    run_role("hugepages", values)
    script = Path(f"/etc/init.d/{LAB}-hugepages")
    if not script.exists():
        script = tmp_path / f"etc-{LAB}" / "hugepages.sh"
    shellcheck = Path(sys.executable).with_name("shellcheck")
    shell.run([shellcheck, tmp_path / f"etc-{LAB}" / "hugepages.sh"], timeout_s=60)
    if script.parent == Path("/etc/init.d"):
        shell.run([shellcheck, script], timeout_s=60)
        assert list(Path("/etc").glob(f"rcS.d/S??{LAB}-hugepages"))
    shell.run([script, "start"], timeout_s=20)
    assert pool.size() == before + PAGES, "a second time in one boot"

    # What a boot does: /run is empty, the pool is as small as before, the kernel has another id.
    shell.run(["umount", f"/run/{LAB}/hugepages"], timeout_s=10)
    Path(f"/run/{LAB}-hugepages").unlink()
    pool.add(-PAGES)
    path = tmp_path / LAB / "state.json"
    path.write_text(path.read_text().replace(fact(tmp_path)["boot_id"], "of-another-boot"))
    shell.run([script, "start"], timeout_s=20)
    assert pool.size() == before + PAGES
    assert f"/run/{LAB}/hugepages" in mounts()
    again = run_role("hugepages", values)
    assert again.changed == 0, again.changed_tasks
    run_role("hugepages", absent(values))
    assert pool.size() == before


def test_rejects_more_than_half_of_the_memory(run_role: RunRole, tmp_path: Path) -> None:
    values = variables(tmp_path, hugepages_count=10_000_000)
    text = run_role("hugepages", values, expect_failure=True).text
    assert "hugepages: 10000000 pages of 2048 kB are 20000000 MB, more than 50 % of the" in text
    assert "or hugepages_max_share_percent higher." in text


def test_rejects_what_somebody_else_mounted(run_role: RunRole, tmp_path: Path, pool: Pool) -> None:
    before, folder = pool.size(), tmp_path / "taken"
    folder.mkdir()
    shell.run(["mount", "-t", "tmpfs", "somebodys", folder], timeout_s=10)
    try:
        values = variables(tmp_path, hugepages_mount=str(folder))
        text = run_role("hugepages", values, expect_failure=True).text
        run_role("hugepages", absent(values))
        assert f" {folder} " in mounts()
    finally:
        shell.run(["umount", folder], timeout_s=10)
    assert f"somebodys (tmpfs) is mounted at {folder}, which is not the lab's" in text
    assert pool.size() == before


def test_rejects_a_size_that_no_kernel_has(run_role: RunRole, tmp_path: Path) -> None:
    values = variables(tmp_path, hugepages_size_kb=4)
    text = run_role("hugepages", values, expect_failure=True).text
    assert "hugepages_size_kb '4'" in text
    assert "2048 or 1048576" in text
