"""What a packet filter's text says, and what is written into it."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Any

import pytest
from ansible.module_utils import lab_packet_filter as filters

from plugins.modules import lab_ports

PORTS = [(10809, 10809), (49152, 49215)]
SENDERS = filters.parse_sources(["192.0.2.11", "fd00::11"])


def chain(family: str, table: str, name: str, **more: Any) -> dict[str, Any]:
    return {"chain": {"family": family, "table": table, "name": name, **more}}


def rule(family: str, table: str, name: str, *expr: dict[str, Any]) -> dict[str, Any]:
    return {"rule": {"family": family, "table": table, "chain": name, "expr": list(expr)}}


def test_ports_are_ordered_and_ranges_that_touch_are_one() -> None:
    assert filters.parse_ports(["49152-49215", "10809", "49216-49220", " 49200 "]) == [
        (10809, 10809),
        (49152, 49220),
    ]


@pytest.mark.parametrize("text", ["0", "65536", "2-1", "ssh", "", "1-2-3"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is no port; write it like 10809"):
        filters.parse_ports([text])


def test_senders_are_addresses_and_networks_and_those_inside_another_are_left_out() -> None:
    found = filters.parse_sources(["fd00::1", "192.0.2.11", "192.0.2.0/24"])
    assert [filters.written(one) for one in found] == ["192.0.2.0/24", "fd00::1"]


@pytest.mark.parametrize("text", ["hypervisor-b", "", "192.0.2.11/24"])
def test_what_is_no_sender_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is no address and no network"):
        filters.parse_sources([text])


def test_the_table_lets_the_senders_in_and_nobody_else() -> None:
    text = filters.script("lab-migration", PORTS, SENDERS)
    to = "tcp dport { 10809, 49152-49215 }"
    assert f"{to} ip saddr {{ 192.0.2.11 }} accept" in text
    assert f"{to} ip6 saddr {{ fd00::11 }} accept" in text
    assert text.index("accept\n") < text.index(f"{to} drop")
    alone = filters.script("lab-migration", PORTS, [])
    assert "saddr" not in alone
    assert f"{to} drop" in alone


def test_a_policy_and_a_last_rule_that_drop_are_found_where_packets_come_in() -> None:
    ruleset = [
        chain("inet", "lab-migration", "input", hook="input", policy="drop"),
        chain("ip", "filter", "INPUT", hook="input", policy="drop"),
        chain("ip", "filter", "FORWARD", hook="forward", policy="drop"),
        chain("ip6", "filter", "INPUT", hook="input", policy="accept"),
        rule("ip6", "filter", "INPUT", {"counter": {}}, {"xt": {"name": "REJECT"}}),
        chain("inet", "firewalld", "filter_INPUT", hook="input", policy="accept"),
        rule("inet", "firewalld", "filter_INPUT", {"jump": {"target": "zones"}}),
        rule("inet", "firewalld", "filter_INPUT", {"reject": {"type": "icmpx"}}),
        chain("inet", "mine", "in", hook="input", policy="accept"),
        rule("inet", "mine", "in", {"drop": None}),
        rule("inet", "mine", "in", {"accept": None}),
        chain("inet", "other", "in", hook="input", policy="accept"),
        rule("inet", "other", "in", {"match": {}}, {"drop": None}),
    ]
    found = filters.drops(ruleset, {}, "lab-migration", PORTS, SENDERS)
    assert [(one["where"], one["why"].split()[1]) for one in found] == [
        ("table ip filter, chain INPUT", "policy"),
        ("table ip6 filter, chain INPUT", "last"),
        ("table inet firewalld, chain filter_INPUT", "last"),
    ]
    assert found[0]["allow"] == (
        "iptables -I INPUT -p tcp -s 192.0.2.11 -m multiport --dports 10809,49152:49215 -j ACCEPT"
    )
    assert found[1]["allow"].startswith("ip6tables -I INPUT -p tcp -s fd00::11 ")
    assert 'firewall-cmd --permanent --add-rich-rule=\'rule family="ipv6"' in found[2]["allow"]
    assert found[2]["allow"].endswith("firewall-cmd --reload")


def test_what_drops_ipv6_is_in_nobodys_way_who_comes_over_ipv4() -> None:
    ruleset = [chain("ip6", "filter", "INPUT", hook="input", policy="drop")]
    four = [ipaddress.ip_network("192.0.2.11")]
    assert filters.drops(ruleset, {}, "own", PORTS, four) == []
    assert filters.drops(ruleset, {}, "own", PORTS, []) == []


def test_ufw_is_told_in_its_own_words_and_a_table_by_hand_in_those_of_nft() -> None:
    ruleset = [
        chain("ip", "filter", "INPUT", hook="input", policy="drop"),
        chain("ip", "filter", "ufw-before-input"),
        chain("inet", "mine", "in", hook="input", policy="drop"),
    ]
    found = filters.drops(ruleset, {}, "own", PORTS, [ipaddress.ip_network("192.0.2.0/24")])
    assert [one["allow"] for one in found] == [
        "ufw allow proto tcp from 192.0.2.0/24 to any port 10809,49152:49215",
        "nft 'insert rule inet mine in ip saddr { 192.0.2.0/24 } "
        "tcp dport { 10809, 49152-49215 } accept'",
    ]


def test_the_older_iptables_is_looked_at_too() -> None:
    listing = {"ip": "-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n", "ip6": "-P INPUT ACCEPT\n"}
    (found,) = filters.drops([], listing, "own", PORTS, SENDERS)
    assert found["where"] == "iptables-legacy, chain INPUT"
    assert found["allow"].startswith("iptables-legacy -I INPUT ")
    assert filters.legacy_reason("-P INPUT ACCEPT\n-A INPUT -j REJECT --reject-with x\n")
    assert not filters.legacy_reason("-P INPUT ACCEPT\n-A INPUT -s 192.0.2.1/32 -j DROP\n")


def test_who_listens_is_named_and_a_quiet_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        held, quiet = lab_ports.listeners([(port, port)])
        assert [(one["port"], one["pid"]) for one in held] == [(port, os.getpid())]
        assert quiet == 0
    assert lab_ports.listeners([(port, port)]) == ([], port)
