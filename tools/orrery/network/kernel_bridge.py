"""A bridge of Open vSwitch's kernel datapath on the lab's switch, for guests that ask for it.

It is there while such a guest is. Its network is computed, so that the lab needs no variable more:
the first one behind the Linux bridge's that no other bridge has.
"""

from __future__ import annotations

import ipaddress

from orrery.errors import HostError
from orrery.network.layout import Layout, part, switch
from orrery.state import LabState

NAME = "br-kernel"
MARK = "orrery_kernel"
"""Key in `external_ids` of the bridge, with the lab's name."""


def address(state: LabState) -> str:
    """Its address with prefix length.

    Raises:
        ConfigurationError: The lab has no network for guests.
        HostError: There is no network left behind the Linux bridge's.
    """
    layout = Layout.of(state)
    lan = ipaddress.IPv4Interface(layout.lan_address)
    taken = [ipaddress.IPv4Interface(text).network for text in _addresses(state) if text]
    network = lan.network
    try:
        while any(network.overlaps(other) for other in taken):
            behind = network.broadcast_address + 1
            network = ipaddress.IPv4Network(f"{behind}/{lan.network.prefixlen}")
    except ValueError as error:
        raise HostError(
            f"there is no network behind {lan.network} for {NAME}. Set lab_lan_subnet to another "
            "one, then ./lab up."
        ) from error
    offset = int(lan.ip) - int(lan.network.network_address)
    return f"{network.network_address + offset}/{network.prefixlen}"


def have(state: LabState) -> bool:
    """Have the bridge with its address; whether something was missing.

    Raises:
        HostError: The switch cannot make it, or somebody else's has its name.
    """
    this = switch(state)
    there = {one.name: one for one in this.bridges()}.get(NAME)
    if there is None:
        this.add_bridge(NAME, datapath="system", marks={MARK: state.lab_name})
    elif there.marks.get(MARK) != state.lab_name:
        raise HostError(
            f"the lab's switch has a bridge {NAME} that is not of the lab's making. Rename it in "
            "ovs_bridges, or remove it, then start the guest again."
        )
    return Layout.of(state).namespace.have_address(NAME, address(state)) or there is None


def drop(state: LabState) -> bool:
    """Be without the bridge; whether it was there. Somebody else's of that name stays."""
    this = switch(state)
    found = [one for one in this.bridges() if one.name == NAME]
    if not found or found[0].marks.get(MARK) != state.lab_name:
        return False
    this.remove_bridge(NAME)
    return True


def _addresses(state: LabState) -> list[str]:
    layout = Layout.of(state)
    return [
        layout.lan_address,
        str(part(state, "ovs").get("address") or ""),
        *layout.switch_addresses.values(),
    ]
