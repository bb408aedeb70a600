"""Bridges and ports as data: what is wrong with it, and the words of ovs-vsctl that lead there."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible.module_utils import ovs_database as ovs

MARK = "orrery"
GUEST = "orrery_guest"

DATAPATHS = ("netdev", "system")
LONGEST_NAME = 15  # the kernel's IFNAMSIZ without the closing zero
HIGHEST_TAG = 4095
NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
VLAN_MODES = ("access", "trunk", "native-tagged", "native-untagged", "dot1q-tunnel")
FAIL_MODES = ("standalone", "secure")

# Types of ports, and the options that each cannot do without.
TYPES: dict[str, tuple[str, ...]] = {
    "system": (),
    "internal": (),
    "tap": (),
    "dpdk": ("dpdk-devargs",),
    "dpdkvhostuserclient": (),
    "vxlan": ("remote_ip",),
    "geneve": ("remote_ip",),
    "gre": ("remote_ip",),
    "patch": ("peer",),
}
BRIDGE_KEYS = {"name", "datapath_type", "address", "fail_mode", "external_ids", "ports"}
PORT_KEYS = {
    *("name", "type", "tag", "trunks", "vlan_mode", "options", "mtu", "n_rxq"),
    *("pmd_rxq_affinity", "external_ids"),
}


class BridgeError(Exception):
    """The data cannot be made real; the text says why and what to do."""


@dataclass(frozen=True)
class Port:
    """A port of a bridge; None and empty mean that the column is empty."""

    name: str
    kind: str = "system"
    tag: int | None = None
    trunks: tuple[int, ...] = ()
    vlan_mode: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    mtu: int | None = None
    affinity: str | None = None
    external_ids: Mapping[str, str] = field(default_factory=dict)
    error: str = ""

    def shown(self) -> dict[str, Any]:
        """What is compared and shown in a diff."""
        return {
            "type": self.kind,
            "tag": self.tag,
            "trunks": list(self.trunks),
            "vlan_mode": self.vlan_mode,
            "options": dict(self.options),
            "mtu": self.mtu,
            "pmd_rxq_affinity": self.affinity,
            "external_ids": dict(self.external_ids),
        }


@dataclass(frozen=True)
class Bridge:
    """A bridge with its ports by name, without the one that has the bridge's own name."""

    name: str
    datapath: str = "netdev"
    fail_mode: str | None = None
    external_ids: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, Port] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """What is compared and shown in a diff."""
        return {
            "datapath_type": self.datapath,
            "fail_mode": self.fail_mode,
            "external_ids": dict(self.external_ids),
            "ports": {name: port.shown() for name, port in sorted(self.ports.items())},
        }


Bridges = dict[str, Bridge]


def parse(entries: Sequence[Mapping[str, Any]], lab: str, vhost_dir: str) -> Bridges:
    """Read the data.

    Raises:
        BridgeError: It is wrong.
    """
    wanted: Bridges = {}
    taken: set[str] = set()
    for entry in entries:
        bridge = _bridge(entry, lab, vhost_dir)
        for name in (bridge.name, *(one["name"] for one in entry.get("ports") or ())):
            if name in taken:
                raise BridgeError(f"ovs_bridges: {name} is there twice. Names are for one thing.")
            taken.add(name)
        wanted[bridge.name] = bridge
    return wanted


def _bridge(entry: Mapping[str, Any], lab: str, vhost_dir: str) -> Bridge:
    name = _name("bridge", entry.get("name"))
    where = f"ovs_bridges: bridge {name}"
    _known(where, entry, BRIDGE_KEYS)
    datapath = str(entry.get("datapath_type") or "netdev")
    _one_of(where, "datapath_type", datapath, DATAPATHS)
    fail_mode = _optional_text(entry.get("fail_mode"))
    _one_of(where, "fail_mode", fail_mode, FAIL_MODES)
    if address := entry.get("address"):
        try:
            ipaddress.IPv4Interface(str(address))
        except ValueError as error:
            raise BridgeError(
                f"{where}: address {address!r} ({error}); one like 10.161.34.1/24 is needed."
            ) from error
    ports = [_port(one, name, lab, vhost_dir) for one in entry.get("ports") or ()]
    marks = {**_texts(entry.get("external_ids")), MARK: lab}
    return Bridge(name, datapath, fail_mode, marks, {port.name: port for port in ports})


def _port(entry: Mapping[str, Any], bridge: str, lab: str, vhost_dir: str) -> Port:
    name = _name("port", entry.get("name"))
    where = f"ovs_bridges: port {name} of {bridge}"
    _known(where, entry, PORT_KEYS)
    kind = str(entry.get("type") or "system")
    _one_of(where, "type", kind, tuple(TYPES))
    vlan_mode = _optional_text(entry.get("vlan_mode"))
    _one_of(where, "vlan_mode", vlan_mode, VLAN_MODES)
    options = _texts(entry.get("options"))
    if kind == "dpdkvhostuserclient":
        options.setdefault("vhost-server-path", f"{vhost_dir}/{name}")
    if entry.get("n_rxq") is not None:
        if kind != "dpdk":
            raise BridgeError(
                f"{where}: n_rxq is for ports of type dpdk, {kind} found. "
                "A vhost-user port has as many queues as its guest. Remove n_rxq."
            )
        options["n_rxq"] = str(_number(where, "n_rxq", entry["n_rxq"], 1, 1024))
    missing = [key for key in TYPES[kind] if not options.get(key)]
    if missing:
        raise BridgeError(f"{where}: type {kind} needs options: {{{missing[0]}: ...}}.")
    tag, mtu = entry.get("tag"), entry.get("mtu")
    trunks = entry.get("trunks") or ()
    return Port(
        name=name,
        kind=kind,
        tag=None if tag is None else _number(where, "tag", tag, 0, HIGHEST_TAG),
        trunks=tuple(sorted({_number(where, "trunks", one, 0, HIGHEST_TAG) for one in trunks})),
        vlan_mode=vlan_mode,
        options=options,
        mtu=None if mtu is None else _number(where, "mtu", mtu, 68, 65535),
        affinity=_optional_text(entry.get("pmd_rxq_affinity")),
        external_ids={**_texts(entry.get("external_ids")), MARK: lab},
    )


def _name(what: str, name: Any) -> str:
    text = str(name or "")
    if not NAME.match(text) or len(text) > LONGEST_NAME:
        raise BridgeError(
            f"ovs_bridges: {what} {text!r} has {len(text)} characters; 1 to {LONGEST_NAME} of "
            "A-Z, a-z, 0-9, '_', '.' and '-' are needed, as for every interface. "
            "Choose another name."
        )
    return text


def _known(where: str, entry: Mapping[str, Any], keys: set[str]) -> None:
    unknown = sorted(set(entry) - keys)
    if unknown:
        raise BridgeError(
            f"{where}: {', '.join(unknown)} is not known; known are {', '.join(sorted(keys))}."
        )


def _one_of(where: str, key: str, value: str | None, choices: Sequence[str]) -> None:
    if value is not None and value not in choices:
        raise BridgeError(f"{where}: {key} {value!r}; one of {', '.join(choices)} is needed.")


def _number(where: str, key: str, value: Any, low: int, high: int) -> int:
    text = str(value)
    if isinstance(value, bool) or not text.isdigit() or not low <= int(text) <= high:
        raise BridgeError(f"{where}: {key} {value!r}; a number from {low} to {high} is needed.")
    return int(text)


def _texts(value: Any) -> dict[str, str]:
    return {str(key): ovs.text_of(one) for key, one in (value or {}).items()}


def _optional_text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def found(
    bridges: Sequence[ovs.Row], ports: Sequence[ovs.Row], interfaces: Sequence[ovs.Row]
) -> Bridges:
    """What the database holds, from the rows of its tables; of a bond the first leg counts."""
    legs = {row["_uuid"]: row for row in interfaces}
    rows = {row["_uuid"]: row for row in ports}
    there: Bridges = {}
    for row in bridges:
        members = [rows[uuid] for uuid in ovs.as_list(row["ports"]) if uuid in rows]
        held = [
            _found_port(one, legs[ovs.as_list(one["interfaces"])[0]])
            for one in members
            if one["name"] != row["name"]
        ]
        there[row["name"]] = Bridge(
            name=row["name"],
            datapath=row["datapath_type"] or "system",
            fail_mode=ovs.optional(row["fail_mode"]),
            external_ids=row["external_ids"],
            ports={port.name: port for port in held},
        )
    return there


def _found_port(port: ovs.Row, leg: ovs.Row) -> Port:
    return Port(
        name=port["name"],
        kind=leg["type"] or "system",
        tag=ovs.optional(port["tag"]),
        trunks=tuple(sorted(ovs.as_list(port["trunks"]))),
        vlan_mode=ovs.optional(port["vlan_mode"]),
        options=leg["options"],
        mtu=ovs.optional(leg["mtu_request"]),
        affinity=leg["other_config"].get("pmd-rxq-affinity"),
        external_ids=leg["external_ids"],
        error=ovs.optional(leg["error"]) or "",
    )


def refuse_other_datapaths(there: Bridges, wanted: Bridges) -> None:
    """Make sure that no bridge would have to be made anew.

    Raises:
        BridgeError: One has another datapath.
    """
    for name, bridge in wanted.items():
        if name in there and there[name].datapath != bridge.datapath:
            held = ", ".join(sorted(there[name].ports)) or "none"
            raise BridgeError(
                f"bridge {name} is there with the datapath {there[name].datapath}, "
                f"{bridge.datapath} is needed; its ports: {held}. Choose another name in "
                "ovs_bridges, or set ovs_replace_bridges=true to make it anew without them."
            )


@dataclass(frozen=True)
class Plan:
    """Commands of ovs-vsctl that lead to what is wanted, and the lab's bridges before and after."""

    words: tuple[str, ...]
    before: dict[str, Any]
    after: dict[str, Any]


def plan(there: Bridges, wanted: Bridges, lab: str) -> Plan:
    """Compare.

    Raises:
        BridgeError: A name is taken, or a bridge that is to go holds ports of others.
    """
    words: list[str] = []
    kept = dict(there)
    for name, bridge in there.items():
        gone = name not in wanted and bridge.external_ids.get(MARK) == lab
        if gone:
            _refuse_loss(bridge, lab)
        if gone or bridge.datapath != wanted.get(name, bridge).datapath:
            words += ["--", "del-br", name]
            del kept[name]
    after = {name: _make(kept, bridge, lab, words) for name, bridge in wanted.items()}
    mine = {
        name: bridge.shown()
        for name, bridge in there.items()
        if name in wanted or bridge.external_ids.get(MARK) == lab
    }
    return Plan(tuple(words), mine, after)


def _make(kept: Bridges, bridge: Bridge, lab: str, words: list[str]) -> dict[str, Any]:
    """Add the words that make one bridge with its ports; gives it as it will be."""
    was = kept.get(bridge.name)
    marks = {**(was.external_ids if was else {}), **bridge.external_ids}
    words += _bridge_words(was, replace(bridge, external_ids=marks))
    held = dict(was.ports) if was else {}
    for name, port in list(held.items()):
        if port.external_ids.get(MARK) == lab and name not in bridge.ports:
            words += ["--", "del-port", bridge.name, name]
            del held[name]
    for name, port in bridge.ports.items():
        old = _own_port(kept, bridge.name, name, lab, words)
        ids = {**(old.external_ids if old else {}), **port.external_ids}
        held[name] = replace(port, external_ids=ids)
        words += _port_words(bridge.name, old, held[name])
    kept[bridge.name] = replace(bridge, external_ids=marks, ports=held)
    return kept[bridge.name].shown()


def _refuse_loss(bridge: Bridge, lab: str) -> None:
    others = sorted(n for n, p in bridge.ports.items() if p.external_ids.get(MARK) != lab)
    if others:
        raise BridgeError(
            f"bridge {bridge.name} is no longer in ovs_bridges, but holds ports that are not from "
            f"there: {', '.join(others)}. Stop their guests or remove them, or keep the bridge."
        )


def _own_port(kept: Bridges, bridge: str, name: str, lab: str, words: list[str]) -> Port | None:
    """The port as it is on this bridge; one of ours on another bridge is removed there first.

    Raises:
        BridgeError: Somebody else has a port or a bridge of that name.
    """
    for other in list(kept.values()):
        port = other.ports.get(name)
        if name != other.name and port is None:
            continue
        marks = port.external_ids if port else {}
        if port is None or marks.get(MARK) != lab:
            guest = marks.get(GUEST)
            owner = f"of the guest {guest}" if guest else "that was not made from ovs_bridges"
            what = f"a port {owner}" if port else "a bridge"
            raise BridgeError(
                f"port {name} of {bridge}: the name is taken by {what} on {other.name}. "
                "Remove that one or choose another name."
            )
        if other.name == bridge:
            return port
        words += ["--", "del-port", other.name, name]
        rest = {key: one for key, one in other.ports.items() if key != name}
        kept[other.name] = replace(other, ports=rest)
    return None


def _bridge_words(was: Bridge | None, now: Bridge) -> list[str]:
    old = was or Bridge(now.name, datapath="system")
    words = [] if was else ["--", "add-br", now.name]
    row = ["Bridge", now.name]
    words += _scalar(row, "datapath_type", old.datapath, now.datapath)
    words += _scalar(row, "fail_mode", old.fail_mode, now.fail_mode)
    return words + _map(row, "external_ids", old.external_ids, now.external_ids)


def _port_words(bridge: str, was: Port | None, now: Port) -> list[str]:
    old = was or Port(now.name)
    words = [] if was else ["--", "add-port", bridge, now.name]
    row, leg = ["Port", now.name], ["Interface", now.name]
    words += _scalar(leg, "type", old.kind, now.kind)
    words += _map(leg, "options", old.options, now.options)
    words += _scalar(leg, "mtu_request", old.mtu, now.mtu)
    affinity = [{"pmd-rxq-affinity": one.affinity} if one.affinity else {} for one in (old, now)]
    words += _map(leg, "other_config", affinity[0], affinity[1])
    words += _map(leg, "external_ids", old.external_ids, now.external_ids)
    words += _scalar(row, "tag", old.tag, now.tag)
    if old.trunks != now.trunks:
        words += ["--", "set", *row, f"trunks={ovs.quoted_list(now.trunks)}"]
    return words + _scalar(row, "vlan_mode", old.vlan_mode, now.vlan_mode)


def _scalar(row: list[str], column: str, was: Any, now: Any) -> list[str]:
    if was == now:
        return []
    if now is None:
        return ["--", "clear", *row, column]
    return ["--", "set", *row, f"{column}={ovs.quoted(now)}"]


def _map(row: list[str], column: str, was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    words = [
        word
        for key in was
        if key not in now
        for word in ("--", "remove", *row, column, ovs.quoted(key))
    ]
    pairs = [
        f"{column}:{ovs.quoted(key)}={ovs.quoted(value)}"
        for key, value in now.items()
        if was.get(key) != value
    ]
    return words + (["--", "set", *row, *pairs] if pairs else [])
