"""The lab's namespace on this host, beside one that somebody else made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.network.layout import Layout
from orrery.network.namespace import Namespace
from orrery.state import StateFile
from tests.support.roles import RoleRun

pytestmark = pytest.mark.root

RunRole = Callable[..., RoleRun]
NAME = "t-guestnet"
SPACE = Namespace(NAME)


def addresses() -> list[str]:
    """IPv4 addresses of the bridge."""
    found = SPACE.links()["br-lan"]["addr_info"]
    return [one["local"] for one in found if one["family"] == "inet"]


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
    assert SPACE.links()["br-lan"]["linkinfo"]["info_kind"] == "bridge"
    assert addresses() == ["10.161.95.1"]
    assert run_role("guest_network", values).changed == 0
    assert run_role("guest_network", values, check=True).changed == 0
    facts = StateFile(tmp_path / "lab" / "state.json").read().facts
    assert facts["network"]["namespace"] == NAME
    assert facts["network"]["lan_peers"] == []

    # As after a reboot: the record is there and the namespace is not.
    SPACE.remove()
    run_role("guest_network", values)
    assert SPACE.exists()
    run_role("guest_network", {**values, "lab_lan_subnet": "10.161.96.0/24"})
    assert addresses() == ["10.161.96.1"]

    run_role("guest_network", {**values, "guest_network_state": "absent"})
    assert not SPACE.exists()
    assert run_role("guest_network", {**values, "guest_network_state": "absent"}).changed == 0
    assert "br-lan" not in shell.run(["ip", "-brief", "link"], timeout_s=10).stdout


def test_the_namespace_goes_when_the_lab_s_python_is_gone(
    values: dict[str, Any], run_role: RunRole, tmp_path: Path
) -> None:
    run_role("guest_network", values)
    gone = {**values, "lab_python": str(tmp_path / "python"), "guest_network_state": "absent"}
    assert run_role("guest_network", gone, check=True).changed > 0
    assert SPACE.exists()
    run_role("guest_network", gone)
    assert not SPACE.exists()
    assert run_role("guest_network", gone).changed == 0


def test_what_goes_is_the_namespace_that_the_lab_made(
    values: dict[str, Any], run_role: RunRole
) -> None:
    run_role("guest_network", values)
    other = {**values, "lab_namespace": f"{NAME}-other"}
    run = run_role("guest_network", other, expect_failure=True)
    assert f"in the network namespace {NAME}. Set lab_namespace to {NAME}, or run" in run.text
    run_role("guest_network", {**other, "guest_network_state": "absent"})
    assert not SPACE.exists()


def test_a_bridge_that_cannot_be_made_leaves_no_namespace_that_the_next_run_refuses(
    values: dict[str, Any], run_role: RunRole
) -> None:
    # The loopback of a new namespace has that name, and is no bridge.
    run = run_role("guest_network", {**values, "guest_network_bridge": "lo"}, expect_failure=True)
    assert f"lo in the namespace {NAME} is no bridge" in run.text
    assert not SPACE.exists()


def test_a_namespace_of_somebody_else_is_refused_and_stays(
    values: dict[str, Any], run_role: RunRole
) -> None:
    SPACE.make()
    run = run_role("guest_network", values, expect_failure=True)
    assert f"a network namespace {NAME} exists, and this lab did not make it" in run.text
    assert "Set lab_namespace" in run.text
    run_role("guest_network", {**values, "guest_network_state": "absent"})
    assert SPACE.exists()


def test_what_a_broken_off_run_of_ours_left_is_taken_up(
    values: dict[str, Any], run_role: RunRole
) -> None:
    SPACE.make()
    SPACE.have_bridge("br-lan", "10.161.95.1/24", "orrery lab t-other")
    assert "did not make it" in run_role("guest_network", values, expect_failure=True).text
    SPACE.remove()
    Layout(NAME, SPACE, "br-lan", "10.161.95.1/24", {}).restore()
    run_role("guest_network", values)
    run_role("guest_network", {**values, "guest_network_state": "absent"})
    assert not SPACE.exists()


def test_an_address_that_is_none_is_refused(values: dict[str, Any], run_role: RunRole) -> None:
    bad = {**values, "lab_lan_subnet": "10.161.95.0/33"}
    run = run_role("guest_network", bad, expect_failure=True)
    assert "lab_lan_subnet: '10.161.95.0/33' is no IPv4 network" in run.text
    assert not SPACE.exists()


def test_peers_that_are_no_addresses_are_refused(values: dict[str, Any], run_role: RunRole) -> None:
    bad = {**values, "lab_lan_peers": ["peer.example"]}
    run = run_role("guest_network", bad, expect_failure=True)
    assert "lab_lan_peers is ['peer.example']; a list of IPv4 addresses is needed" in run.text
    assert not SPACE.exists()
