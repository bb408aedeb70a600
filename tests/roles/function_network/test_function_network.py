"""The network of the functions on the lab's Docker daemon, under names of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from tests.support.roles import RoleRun

pytestmark = [pytest.mark.root, pytest.mark.lab]

RunRole = Callable[..., RoleRun]
VALUES = {"lab_name": "t-net", "lab_function_subnet": "10.161.90.0/24"}


@pytest.fixture(autouse=True)
def nothing_stays(lab_state_path: Path) -> Iterator[None]:
    yield
    shell.run(["docker", "network", "rm", "t-net-functions"], timeout_s=60, check=False)


def _network() -> dict[str, Any]:
    shown = shell.run(["docker", "network", "inspect", "t-net-functions"], timeout_s=60).stdout
    found = json.loads(shown)[0]
    assert isinstance(found, dict)
    return found


def test_the_network_is_made_once_and_removed(run_role: RunRole) -> None:
    assert run_role("function_network", VALUES, check=True).changed == 1
    assert run_role("function_network", VALUES).changed == 1
    network = _network()
    assert network["IPAM"]["Config"][0]["Subnet"] == "10.161.90.0/24"
    assert network["Labels"]["orrery.lab"] == "t-net"
    assert Path("/sys/class/net/t-net-fn0").exists()
    assert run_role("function_network", VALUES).changed == 0
    absent = {**VALUES, "function_network_state": "absent"}
    assert run_role("function_network", absent).changed == 1
    assert not Path("/sys/class/net/t-net-fn0").exists()


def test_a_subnet_that_is_taken_names_the_variable(run_role: RunRole, lab_state_path: Path) -> None:
    found = shell.run(["docker", "network", "inspect", "orrery-functions"], timeout_s=60).stdout
    taken = json.loads(found)[0]["IPAM"]["Config"][0]["Subnet"]
    values = {**VALUES, "lab_function_subnet": taken}
    run = run_role("function_network", values, expect_failure=True)
    assert taken in run.text
    assert "lab_function_subnet" in run.text


def test_a_subnet_that_is_none_is_refused(run_role: RunRole) -> None:
    values = {**VALUES, "lab_function_subnet": "here"}
    run = run_role("function_network", values, expect_failure=True)
    assert "lab_function_subnet: 'here' is no IPv4 network" in " ".join(run.output.split())
