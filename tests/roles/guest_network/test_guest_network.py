"""The lab's namespace on this host, beside one that somebody else made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.network.namespace import Namespace
from orrery.state import StateFile
from tests.support.roles import RoleRun

pytestmark = pytest.mark.root

RunRole = Callable[..., RoleRun]
NAME = "t-guestnet"
SPACE = Namespace(NAME)


@pytest.fixture
def values(tmp_path: Path, run_role: RunRole) -> Iterator[dict[str, Any]]:
    chosen = {
        "lab_name": NAME,
        "lab_state_dir": str(tmp_path / "lab"),
        "lab_python": sys.executable,
        "lab_lan_subnet": "10.161.95.0/24",
    }
    yield chosen
    SPACE.remove()


def test_the_namespace_comes_with_its_bridge_and_goes_without_a_trace(
    values: dict[str, Any], run_role: RunRole, tmp_path: Path
) -> None:
    assert run_role("guest_network", values, check=True).changed > 0
    assert not SPACE.exists()

    run_role("guest_network", values)
    bridge = SPACE.links()["br-lan"]
    assert bridge["linkinfo"]["info_kind"] == "bridge"
    assert [one["local"] for one in bridge["addr_info"] if one["family"] == "inet"] == [
        "10.161.95.1"
    ]
    assert run_role("guest_network", values).changed == 0
    assert run_role("guest_network", values, check=True).changed == 0
    facts = StateFile(tmp_path / "lab" / "state.json").read().facts
    assert facts["network"]["namespace"] == NAME

    # As after a reboot: the record is there and the namespace is not.
    SPACE.remove()
    run_role("guest_network", values)
    assert SPACE.exists()

    run_role("guest_network", {**values, "guest_network_state": "absent"})
    assert not SPACE.exists()
    assert run_role("guest_network", {**values, "guest_network_state": "absent"}).changed == 0
    assert "br-lan" not in shell.run(["ip", "-brief", "link"], timeout_s=10).stdout


def test_a_namespace_of_somebody_else_is_refused_and_stays(
    values: dict[str, Any], run_role: RunRole
) -> None:
    SPACE.make()
    run = run_role("guest_network", values, expect_failure=True)
    assert f"a network namespace {NAME} exists, and this lab did not make it" in run.text
    assert "Set lab_namespace" in run.text
    run_role("guest_network", {**values, "guest_network_state": "absent"})
    assert SPACE.exists()


def test_an_address_that_is_none_is_refused(values: dict[str, Any], run_role: RunRole) -> None:
    bad = {**values, "lab_lan_subnet": "10.161.95.0/33"}
    run = run_role("guest_network", bad, expect_failure=True)
    assert "lab_lan_subnet: '10.161.95.0/33' is no IPv4 network" in run.text
    assert not SPACE.exists()
