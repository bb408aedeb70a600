"""The role on this host, on a mount of a few huge pages of the test's own."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from tests.support.roles import RoleRun

# Tests of whole labs hold the pool of pages for as long as an `up` takes.
pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]

RunRole = Callable[..., RoleRun]

LAB = "t-dpdk"
# Enough for a mempool of a thousand packets; less than the 24 MB of the mount.
TRIAL_MB = 16


def variables(folder: Path, huge_dir: Path, **more: Any) -> dict[str, Any]:
    return {
        "lab_name": LAB,
        "lab_state_dir": str(folder / LAB),
        "dpdk_huge_dir": str(huge_dir),
        "dpdk_mempool_mb": TRIAL_MB,
        **more,
    }


def facts(folder: Path) -> dict[str, Any]:
    state = json.loads((folder / LAB / "state.json").read_text(encoding="utf-8"))
    found = state["facts"]
    assert isinstance(found, dict)
    return found


def trial_folders() -> list[Path]:
    return list(Path("/run/dpdk").glob("orrery-trial-*"))


def default_interface() -> str:
    answer = shell.run(["ip", "-json", "-4", "route", "show", "default"], timeout_s=10).stdout
    routes = json.loads(answer or "[]")
    if not routes:
        pytest.skip("not here: this host has no default route")
    return str(routes[0]["dev"])


def test_defaults_install_drivers_prove_a_mempool_and_bind_nothing(
    run_role: RunRole, tmp_path: Path, huge_dir: Path
) -> None:
    values = variables(tmp_path, huge_dir)
    run_role("dpdk", values, check=True)
    assert not (tmp_path / LAB).exists()
    run_role("dpdk", values)
    found = facts(tmp_path)
    assert set(found) == {"dpdk"}
    drivers = list(Path("/usr/lib").glob(f"*/dpdk/pmds-{found['dpdk']['abi']}.*"))
    assert list(drivers[0].glob("librte_mempool_ring.so*"))
    assert found["dpdk"]["version"][:2].isdigit()
    assert run_role("dpdk", values).changed == 0
    assert run_role("dpdk", values, check=True).changed == 0
    run_role("dpdk", {**values, "dpdk_state": "absent"})
    assert facts(tmp_path) == {}
    assert not trial_folders()
    assert not any(huge_dir.iterdir())


def test_rejects_the_nic_that_carries_the_default_route(
    run_role: RunRole, tmp_path: Path, huge_dir: Path
) -> None:
    interface = default_interface()
    link = Path("/sys/class/net") / interface / "device"
    driver = (link / "driver").resolve() if link.exists() else None
    values = variables(tmp_path, huge_dir, dpdk_bind=[interface], dpdk_allow_no_iommu=True)
    text = run_role("dpdk", values, expect_failure=True).text
    assert f"dpdk_bind: {interface} carries the default route of this host" in text
    assert "Name another NIC in dpdk_bind." in text
    assert driver is None or (link / "driver").resolve() == driver


def test_rejects_a_release_whose_packages_are_not_known(run_role: RunRole, tmp_path: Path) -> None:
    values = variables(tmp_path, tmp_path, dpdk_abi="")
    text = run_role("dpdk", values, expect_failure=True).text
    assert "dpdk_abi is '' and dpdk_mempool_mb '16'" in text
    assert "apt-cache search librte-eal" in text


def test_too_few_huge_pages_name_the_variable(
    run_role: RunRole, tmp_path: Path, huge_dir: Path
) -> None:
    values = variables(tmp_path, huge_dir, dpdk_mempool_mb=64)
    text = run_role("dpdk", values, expect_failure=True).text
    assert f"12 huge pages of 2048 kB are free at {huge_dir}, 32 are needed" in text
    assert "Set hugepages_count higher" in text


def module(checkout: Path, huge_dir: Path, *before: str | Path) -> str:
    """What the module dpdk_mempool says, run by itself, perhaps through another program."""
    ansible = Path(sys.executable).with_name("ansible")
    inventory = huge_dir.parent / "hosts.yml"
    inventory.write_text("all: {hosts: {localhost: {ansible_connection: local}}}", encoding="utf-8")
    arguments = {"abi": _abi(), "huge_dir": str(huge_dir), "megabytes": TRIAL_MB}
    argv: list[str | Path] = [*before, ansible, "localhost", "-i", inventory]
    argv += ["-m", "dpdk_mempool", "-a", json.dumps(arguments)]
    argv += ["-e", f"ansible_python_interpreter={sys.executable}"]
    env = {"ANSIBLE_CONFIG": str(checkout / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = shell.run(argv, timeout_s=60, cwd=checkout, env=env, check=False)
    return " ".join((done.stdout + done.stderr).split())


def _abi() -> str:
    found = sorted(Path("/usr/lib").glob("*/dpdk/pmds-*"))
    if not found:
        pytest.skip("not here: DPDK is not installed; the test of the role before installs it")
    return found[-1].name.removeprefix("pmds-").partition(".")[0]


def test_a_missing_mempool_driver_names_its_package(
    checkout: Path, tmp_path: Path, huge_dir: Path
) -> None:
    abi = _abi()
    folder = next(iter(Path("/usr/lib").glob(f"*/dpdk/pmds-{abi}.*")))
    drivers = tmp_path / "drivers"
    hide = shutil.ignore_patterns("librte_mempool_ring*")
    shutil.copytree(folder, drivers, symlinks=True, ignore=hide)
    # In a mount namespace of its own: the host keeps its drivers.
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    hidden: list[str | Path] = ["unshare", "-m", "sh", "-c", script, "sh", drivers, folder]
    text = module(checkout, huge_dir, *hidden)
    assert "dpdk: no mempool can be made: Invalid argument" in text
    assert f"holds no librte_mempool_ring.so.{abi}" in text
    assert f"apt-get install --reinstall librte-mempool-ring{abi}" in text
    assert list(folder.glob("librte_mempool_ring*"))


def test_a_lab_that_uses_all_its_pages_is_tried_without_them(
    checkout: Path, huge_dir: Path
) -> None:
    handle = os.open(huge_dir / "everything", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(handle, 12 << 21)
        with mmap.mmap(handle, 12 << 21) as pages:
            pages[0] = 1
            text = module(checkout, huge_dir)
    finally:
        os.close(handle)
        (huge_dir / "everything").unlink()
    assert '"memory": "none free"' in text
    assert '"changed": false' in text


def test_a_mount_that_is_not_there_names_the_role(checkout: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    text = module(checkout, nothing)
    assert f"dpdk: no huge pages are mounted at {nothing}. Run the role hugepages first" in text
