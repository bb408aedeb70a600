from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.lab_docker import Docker
from plugins.modules import lab_network

TABLE = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
tun7\t0021A10A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
WANTED: dict[str, Any] = {
    "name": "t-functions",
    "subnet": "10.161.33.0/24",
    "gateway": "10.161.33.1",
    "bridge": "t-fn0",
    "variable": "lab_function_subnet",
}
NETWORK = ipaddress.IPv4Network("10.161.33.0/24")


def test_routes_are_read_without_the_default_one() -> None:
    assert lab_network.routes(TABLE) == [("tun7", NETWORK)]


def test_a_route_over_the_subnet_is_refused_unless_it_is_the_bridge_of_the_lab() -> None:
    with pytest.raises(lab_network.RefusedError) as refused:
        lab_network.refuse_clash(WANTED, NETWORK, [], TABLE)
    assert str(refused.value) == (
        "subnet 10.161.33.0/24 of t-functions overlaps 10.161.33.0/24, the route of interface "
        "'tun7'. Set lab_function_subnet to a subnet that this host does not use."
    )
    lab_network.refuse_clash({**WANTED, "bridge": "tun7"}, NETWORK, [], TABLE)


def test_a_docker_network_over_the_subnet_is_refused_and_an_ipv6_one_is_not() -> None:
    other = {"Name": "wide", "IPAM": {"Config": [{"Subnet": "10.161.0.0/16"}]}}
    with pytest.raises(lab_network.RefusedError, match="the Docker network 'wide'"):
        lab_network.refuse_clash(WANTED, NETWORK, [other], "")
    six = {"Name": "six", "IPAM": {"Config": [{"Subnet": "fd00::/64"}]}}
    lab_network.refuse_clash(WANTED, NETWORK, [six, {"Name": "host", "IPAM": {}}], "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subnet": "10.161.33.0/33"}, "Set lab_function_subnet to a subnet like"),
        ({"gateway": "10.161.34.1"}, "gateway 10.161.34.1 is no host address in 10.161.33.0/24"),
        ({"gateway": "10.161.33.0"}, "gateway 10.161.33.0 is no host address in 10.161.33.0/24"),
        ({"bridge": "b" * 16}, "has 16 characters, 15 are the kernel's limit"),
    ],
)
def test_inputs_that_cannot_work_are_refused(change: dict[str, str], message: str) -> None:
    with pytest.raises(lab_network.RefusedError) as refused:
        lab_network.wanted_network({**WANTED, **change})
    assert message in str(refused.value)


def test_without_an_engine_there_is_nothing_to_remove(tmp_path: Path) -> None:
    docker = Docker(str(tmp_path / "none.sock"))
    arguments = {**WANTED, "docker_socket": str(tmp_path / "none.sock"), "lab_name": "t-none"}
    assert lab_network.apply(docker, {**arguments, "state": "absent"}, check=False) is False
    with pytest.raises(lab_network.RefusedError, match="no Docker daemon at"):
        lab_network.apply(docker, {**arguments, "state": "present"}, check=False)
