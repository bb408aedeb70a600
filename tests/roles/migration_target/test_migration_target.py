"""The role migration_target: on this host with ports of its own, and the switch of a test."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.network.layout import switch
from orrery.state import LabState, StateFile
from tests.support import live_switch
from tests.support.roles import RoleRun
from tests.support.waiting import until

pytestmark = pytest.mark.root

RunRole = Callable[..., RoleRun]
NAME = "t-target"
TABLE = f"{NAME}-migration"
# Below the range that connections of this host get their ports from.
PORTS = ["29152-29160", "29809"]


def ruleset() -> str:
    """Tables of the role's family; nothing where there is no nft yet.

    Those of ip and ip6 are Docker's, whose networks other tests make and remove meanwhile.
    """
    if shutil.which("nft") is None:
        return ""
    return shell.run(["nft", "--stateless", "list", "ruleset", "inet"], timeout_s=20).stdout


def table() -> str:
    """The lab's own table; empty where there is none."""
    argv = ["nft", "--stateless", "list", "table", "inet", TABLE]
    return shell.run(argv, timeout_s=20, check=False).stdout


@pytest.fixture
def values(tmp_path: Path, run_role: RunRole) -> Iterator[dict[str, Any]]:
    chosen = {
        "lab_name": NAME,
        "lab_state_dir": str(tmp_path / "lab"),
        "lab_log_dir": str(tmp_path / "log"),
        "lab_config_dir": str(tmp_path / "etc"),
        "migration_target_ports": PORTS,
        "migration_target_sources": ["192.0.2.11", "198.51.100.0/24", "fd00::11"],
        "migration_target_bridge": "",
    }
    yield chosen
    run_role("migration_target", {**chosen, "migration_target_state": "absent"})
    assert not list(Path("/etc/init.d").glob(f"{NAME}*"))


def test_ports_are_open_to_the_senders_and_closed_again_without_a_trace(
    values: dict[str, Any], run_role: RunRole, tmp_path: Path
) -> None:
    before = ruleset()
    assert run_role("migration_target", values, check=True).changed > 0
    assert ruleset() == before

    assert run_role("migration_target", values).changed > 0
    made = table()
    assert "ip saddr { 192.0.2.11, 198.51.100.0/24 } accept" in made
    assert "ip6 saddr fd00::11 accept" in made
    assert "29152-29160" in made
    fact = StateFile(tmp_path / "lab" / "state.json").read().facts["migration_target"]
    assert fact["ports"] == PORTS
    assert run_role("migration_target", values).changed == 0
    assert run_role("migration_target", values, check=True).changed == 0

    fewer = {**values, "migration_target_sources": ["192.0.2.12"]}
    assert run_role("migration_target", fewer, check=True).changed > 0
    assert table() == made
    run_role("migration_target", fewer)
    assert "192.0.2.11" not in table()

    assert run_role("migration_target", {**values, "migration_target_state": "absent"}).changed > 0
    after = run_role("migration_target", {**values, "migration_target_state": "absent"})
    assert after.changed == 0
    assert ruleset() == before or not before
    assert not (tmp_path / "etc" / "migration.nft").exists()
    facts = StateFile(tmp_path / "lab" / "state.json").read().facts
    assert "migration_target" not in facts


def test_a_table_that_somebody_changed_or_flushed_is_mended(
    values: dict[str, Any], run_role: RunRole
) -> None:
    run_role("migration_target", values)
    made = table()
    rule = ["nft", "insert", "rule", "inet", TABLE, "input", "tcp", "dport", "29155", "accept"]
    shell.run(rule, timeout_s=20)
    run = run_role("migration_target", values)
    assert run.changed_tasks == ("ports | Open them to the senders and to nobody else",)
    assert table() == made
    shell.run(["nft", "delete", "table", "inet", TABLE], timeout_s=20)
    assert run_role("migration_target", values).changed == 1
    assert table() == made


def test_the_service_loads_the_table_at_boot(
    values: dict[str, Any], run_role: RunRole, tmp_path: Path
) -> None:
    run_role("migration_target", values)
    made = table()
    # As after a reboot: the service starts, and there is no table.
    shell.run(["nft", "delete", "table", "inet", TABLE], timeout_s=20)
    booted = Path("/run/systemd/system").is_dir()
    words = ["systemctl", "restart", TABLE] if booted else [f"/etc/init.d/{TABLE}", "restart"]
    shell.run(words, timeout_s=60)
    # The service is up before what it runs has loaded the table.
    until(lambda: table() == made, "the table")


def test_a_port_on_which_somebody_listens_is_named(
    values: dict[str, Any], run_role: RunRole
) -> None:
    with socket.create_server(("127.0.0.1", 29156)):
        run = run_role("migration_target", values, expect_failure=True)
    assert f"port 29156 is held by pid {os.getpid()} (" in run.text
    assert "It has to be free: end that, or choose other ports." in run.text
    assert table() == ""


def test_rejects_a_sender_that_is_no_address(values: dict[str, Any], run_role: RunRole) -> None:
    bad = {**values, "migration_target_sources": ["hypervisor-b"]}
    run = run_role("migration_target", bad, expect_failure=True)
    assert "'hypervisor-b' is no address and no network" in run.text


def test_rejects_guests_whose_names_are_none(values: dict[str, Any], run_role: RunRole) -> None:
    bad = {**values, "migration_target_guests": ["A b"]}
    run = run_role("migration_target", bad, expect_failure=True)
    assert "migration_target_guests is ['A b']; names of a small letter" in run.text


def test_without_a_switch_it_says_what_to_run(values: dict[str, Any], run_role: RunRole) -> None:
    wanting = {**values, "migration_target_bridge": "br-ovs"}
    run = run_role("migration_target", wanting, expect_failure=True)
    assert f"the lab {NAME} has no switch on this host. Run ./lab up" in run.text
    # And a check of a bare host goes through.
    run_role("migration_target", wanting, check=True)


def test_guests_that_do_not_fit_into_the_free_huge_pages_are_too_many(
    values: dict[str, Any], run_role: RunRole
) -> None:
    many = {**values, "migration_target_hugepages_mb": 1 << 30}
    run = run_role("migration_target", many, expect_failure=True)
    assert f"MB free, {1 << 30} needed. Set hugepages_count higher" in run.text


@pytest.mark.lab
def test_a_guest_that_is_to_come_has_its_port_on_the_switch(
    values: dict[str, Any], run_role: RunRole, tmp_path: Path, lab_state_path: Path
) -> None:
    state = LabState(NAME)
    known = StateFile(lab_state_path).read()
    state.facts = {"ovs": known.facts["ovs"]}
    StateFile(tmp_path / "lab" / "state.json").write(state)
    with live_switch.held():
        wanting = {
            **values,
            "migration_target_bridge": "br-ovs",
            "migration_target_guests": ["t-one", "t-two"],
        }
        there = switch(known)
        run_role("migration_target", wanting)
        port = there.port("vh-t-two")
        assert port is not None
        assert (port.bridge, port.kind, port.error) == ("br-ovs", "dpdkvhostuserclient", "")
        assert run_role("migration_target", wanting).changed == 0
        assert run_role("migration_target", wanting, check=True).changed == 0

        run_role("migration_target", {**wanting, "migration_target_guests": ["t-one"]})
        assert there.port("vh-t-two") is None
        assert there.port("vh-t-one") is not None
        run_role("migration_target", {**wanting, "migration_target_state": "absent"})
        assert there.port("vh-t-one") is None

        other = {**wanting, "migration_target_bridge": "br-none"}
        run = run_role("migration_target", other, expect_failure=True)
        assert "br-ovs; br-none is needed, and the folder" in run.text
