"""Bridges and ports as data: what is refused, and what leads there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import ovs_bridges
from ansible.module_utils import ovs_database as ovs

from plugins.modules import ovs_bridge

LAB = "t-lab"
VHOST = "/run/t-lab/vhost"


def parsed(*ports: dict[str, Any], **bridge: Any) -> ovs_bridges.Bridges:
    entry = {"name": "br-ovs", **bridge, "ports": list(ports)}
    return ovs_bridges.parse([entry], LAB, VHOST)


def words(there: ovs_bridges.Bridges, wanted: ovs_bridges.Bridges) -> str:
    return " ".join(ovs_bridges.plan(there, wanted, LAB).words)


@pytest.mark.parametrize(
    ("port", "message"),
    [
        ({"name": "p", "tag": 4096}, "tag 4096; a number from 0 to 4095 is needed"),
        ({"name": "p", "tag": "x"}, "tag 'x'; a number from 0 to 4095 is needed"),
        ({"name": "p", "tag": True}, "tag True; a number from 0 to 4095 is needed"),
        ({"name": "p", "trunks": [1, -1]}, "trunks -1; a number from 0 to 4095"),
        ({"name": "p", "mtu": 10}, "mtu 10; a number from 68 to 65535 is needed"),
        ({"name": "p" * 16}, "has 16 characters; 1 to 15 of"),
        ({"name": ""}, "port '' has 0 characters"),
        ({"name": "-p"}, "port '-p' has 2 characters; 1 to 15 of A-Z"),
        ({"name": "vx", "type": "vxlan"}, "type vxlan needs options: {remote_ip: ...}"),
        ({"name": "pa", "type": "patch"}, "type patch needs options: {peer: ...}"),
        ({"name": "p", "type": "vlan"}, "type 'vlan'; one of system, internal, tap,"),
        ({"name": "p", "vlan_mode": "any"}, "vlan_mode 'any'; one of access, trunk"),
        ({"name": "p", "vlan": 3}, "vlan is not known; known are external_ids"),
        (
            {"name": "vh", "type": "dpdkvhostuserclient", "n_rxq": 4},
            "A vhost-user port has as many queues as its guest. Remove n_rxq.",
        ),
        ({"name": "br-ovs"}, "br-ovs is there twice"),
    ],
)
def test_ports_that_cannot_work_are_refused(port: dict[str, Any], message: str) -> None:
    with pytest.raises(ovs_bridges.BridgeError) as refused:
        parsed(port)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("bridge", "message"),
    [
        ({"datapath_type": "dpdk"}, "datapath_type 'dpdk'; one of netdev, system is needed"),
        ({"fail_mode": "open"}, "fail_mode 'open'; one of standalone, secure"),
        ({"address": "10.1.1.1/40"}, "address '10.1.1.1/40'"),
        ({"adress": "10.1.1.1/24"}, "adress is not known"),
    ],
)
def test_bridges_that_cannot_work_are_refused(bridge: dict[str, Any], message: str) -> None:
    with pytest.raises(ovs_bridges.BridgeError) as refused:
        parsed(**bridge)
    assert message in str(refused.value)


def test_a_new_bridge_is_made_with_its_ports_in_one_transaction() -> None:
    wanted = parsed(
        {"name": "veth0", "tag": 100},
        {"name": "vx1", "type": "vxlan", "options": {"remote_ip": "10.0.0.2", "key": 7}},
        {"name": "vh0", "type": "dpdkvhostuserclient", "mtu": 9000},
        {"name": "p0", "type": "dpdk", "n_rxq": 2, "options": {"dpdk-devargs": "0000:01:00.0"}},
        fail_mode="secure",
    )
    text = words({}, wanted)
    assert text.startswith('-- add-br br-ovs -- set Bridge br-ovs datapath_type="netdev"')
    assert '-- set Bridge br-ovs fail_mode="secure"' in text
    assert '-- add-port br-ovs veth0 -- set Interface veth0 external_ids:"orrery"="t-lab"' in text
    assert "-- set Port veth0 tag=100" in text
    assert 'set Interface vx1 options:"remote_ip"="10.0.0.2" options:"key"="7"' in text
    assert f'options:"vhost-server-path"="{VHOST}/vh0"' in text
    assert "-- set Interface vh0 mtu_request=9000" in text
    assert 'options:"n_rxq"="2"' in text


def test_what_is_as_described_is_left_alone() -> None:
    wanted = parsed({"name": "veth0", "tag": 100, "trunks": [3, 1], "pmd_rxq_affinity": "0:1"})
    assert words(wanted, wanted) == ""


def test_what_differs_is_set_and_what_is_gone_from_the_data_is_cleared() -> None:
    there = parsed({"name": "p", "tag": 1, "mtu": 1400, "options": {"a": 1, "b": 2}})
    wanted = parsed({"name": "p", "trunks": [5], "options": {"b": 3}, "pmd_rxq_affinity": "0:1"})
    assert words(there, wanted) == (
        '-- remove Interface p options "a" -- set Interface p options:"b"="3" '
        "-- clear Interface p mtu_request "
        '-- set Interface p other_config:"pmd-rxq-affinity"="0:1" '
        "-- clear Port p tag -- set Port p trunks=[5]"
    )


def test_ports_of_the_data_go_with_it_and_those_of_others_stay() -> None:
    there = parsed({"name": "mine"})["br-ovs"]
    guest = ovs_bridges.Port("vh-a", external_ids={"orrery_guest": "a"})
    ports = {**there.ports, "vh-a": guest, "hand": ovs_bridges.Port("hand")}
    held = ovs_bridges.Bridge("br-ovs", external_ids=there.external_ids, ports=ports)
    plan = ovs_bridges.plan({"br-ovs": held}, parsed(), LAB)
    assert plan.words == ("--", "del-port", "br-ovs", "mine")
    assert sorted(plan.after["br-ovs"]["ports"]) == ["hand", "vh-a"]


def test_a_port_that_moves_to_another_bridge_is_taken_from_the_first_once() -> None:
    entries = [{"name": "br-a", "ports": [{"name": "p"}]}, {"name": "br-b"}]
    moved = [{"name": "br-a"}, {"name": "br-b", "ports": [{"name": "p"}]}]
    left, right = (ovs_bridges.parse(one, LAB, VHOST) for one in (entries, moved))
    there = words(left, right)
    assert there.startswith("-- del-port br-a p -- add-port br-b p -- set Interface p")
    assert there.count("del-port") == 1
    back = words(right, left)
    assert back.startswith("-- del-port br-b p -- add-port br-a p -- set Interface p")
    assert back.count("del-port") == 1


def test_a_name_that_is_taken_is_told_with_its_owner() -> None:
    guest = ovs_bridges.Port("vh-a", external_ids={"orrery_guest": "a"})
    there = {"br-ovs": ovs_bridges.Bridge("br-ovs", ports={"vh-a": guest})}
    with pytest.raises(ovs_bridges.BridgeError) as refused:
        ovs_bridges.plan(there, parsed({"name": "vh-a"}), LAB)
    assert str(refused.value) == (
        "port vh-a of br-ovs: the name is taken by a port of the guest a on br-ovs. "
        "Remove that one or choose another name."
    )


def test_another_datapath_is_refused_or_the_bridge_is_made_anew() -> None:
    old = ovs_bridges.Bridge("br-ovs", "system", ports={"eth9": ovs_bridges.Port("eth9")})
    with pytest.raises(ovs_bridges.BridgeError) as refused:
        ovs_bridges.refuse_other_datapaths({"br-ovs": old}, parsed())
    assert str(refused.value) == (
        "bridge br-ovs is there with the datapath system, netdev is needed; its ports: eth9. "
        "Choose another name in ovs_bridges, or set ovs_replace_bridges=true to make it anew "
        "without them."
    )
    text = words({"br-ovs": old}, parsed())
    assert text.startswith("-- del-br br-ovs -- add-br br-ovs -- set Bridge br-ovs datapath_type=")


def test_a_bridge_that_left_the_data_goes_unless_a_guest_is_on_it() -> None:
    gone = ovs_bridges.parse([{"name": "br-x"}], LAB, VHOST)
    assert words({**gone, **parsed()}, parsed()) == "-- del-br br-x"
    guest = ovs_bridges.Port("vh-a", external_ids={"orrery_guest": "a"})
    held = {"br-x": ovs_bridges.Bridge("br-x", external_ids={"orrery": LAB}, ports={"vh-a": guest})}
    with pytest.raises(
        ovs_bridges.BridgeError, match="br-x is no longer in ovs_bridges, but holds"
    ):
        ovs_bridges.plan(held, parsed(), LAB)
    foreign = {"br-x": ovs_bridges.Bridge("br-x")}
    assert words({**foreign, **parsed()}, parsed()) == ""


def test_rows_of_the_database_are_read() -> None:
    bridge = {
        "name": "br-ovs",
        "datapath_type": "",
        "fail_mode": [],
        "external_ids": {},
        "ports": ["u0", "u1"],
    }
    port = {"tag": 5, "trunks": [], "vlan_mode": []}
    leg = {
        "options": {},
        "mtu_request": [],
        "other_config": {"pmd-rxq-affinity": "0:1"},
        "external_ids": {},
        "error": "could not open network device p (No such device)",
    }
    there = ovs_bridges.found(
        [bridge],
        [
            {"_uuid": "u0", "name": "br-ovs", "interfaces": "i0", **port},
            {"_uuid": "u1", "name": "p", "interfaces": ["i1"], **port},
        ],
        [{"_uuid": "i0", "type": "internal", **leg}, {"_uuid": "i1", "type": "", **leg}],
    )
    found = there["br-ovs"]
    assert (found.datapath, found.fail_mode, list(found.ports)) == ("system", None, ["p"])
    assert found.ports["p"].kind == "system"
    assert found.ports["p"].tag == 5
    assert found.ports["p"].affinity == "0:1"


def test_ports_with_errors_and_error_lines_are_problems(tmp_path: Path) -> None:
    log = tmp_path / "current"
    log.write_text(
        "x|00001|ovs_numa|INFO|Discovered\n"
        "x|00007|netdev_linux|ERR|known and harmless\n"
        "x|00008|bridge|ERR|something new\n"
    )
    wanted = parsed({"name": "p"})
    broken = ovs_bridges.Port("p", error="could not open network device p (No such device)")
    there = {"br-ovs": ovs_bridges.Bridge("br-ovs", ports={"p": broken})}
    assert ovs_bridge.problems(there, wanted, log, ["known and harmless"]) == [
        "port p of br-ovs: could not open network device p (No such device).",
        f"ovs-vswitchd logged errors since its start: bridge|ERR|something new. Its log: {log}.",
    ]
    log.write_text("x|00001|ovs_numa|INFO|x\nx|00002|dpif|ERR|Failed to create memory pool for p\n")
    assert "cannot make a memory pool" in ovs_bridge.problems({}, wanted, log, [])[0]
    assert ovs_bridge.problems({}, wanted, tmp_path / "none", []) == []
    assert ovs.run_lines("") == []
