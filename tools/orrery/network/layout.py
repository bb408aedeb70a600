"""Where the lab's network is, as roles wrote it into the state file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError
from orrery.network.namespace import Namespace
from orrery.network.switch import Switch
from orrery.state import LabState


@dataclass(frozen=True)
class Layout:
    """The lab's namespace and bridges.

    Attributes:
        lan_bridge: Linux bridge of guests on virtio-net.
        lan_address: Its address with prefix length, `10.161.35.1/24`.
        switch_addresses: Address with prefix length of OVS bridges' internal ports, by bridge.
    """

    lab_name: str
    namespace: Namespace
    lan_bridge: str
    lan_address: str
    switch_addresses: dict[str, str]

    @classmethod
    def of(cls, state: LabState) -> Layout:
        """Read it.

        Raises:
            ConfigurationError: The lab has no network for guests.
        """
        found = part(state, "network")
        switch = state.facts.get("ovs") or {}
        return cls(
            lab_name=state.lab_name,
            namespace=Namespace(str(found["namespace"])),
            lan_bridge=str(found["lan_bridge"]),
            lan_address=str(found["lan_address"]),
            switch_addresses=dict(switch.get("addresses") or {}),
        )

    def restore(self) -> bool:
        """Have the namespace and the Linux bridge; whether something was missing."""
        made = self.namespace.make()
        return self.namespace.have_bridge(self.lan_bridge, self.lan_address, self.mark) or made

    @property
    def mark(self) -> str:
        """By this the lab knows a namespace of its own that nothing has recorded yet."""
        return f"orrery lab {self.lab_name}"

    def give_addresses(self) -> list[str]:
        """Give the OVS bridges their addresses; the bridges that lacked theirs or are not there."""
        there = self.namespace.links()
        return [
            name
            for name, address in self.switch_addresses.items()
            if name not in there or self.namespace.have_address(name, address)
        ]


def part(state: LabState, name: str) -> dict[str, Any]:
    """A fact of the virtualisation half of the lab.

    Raises:
        ConfigurationError: `up` did not get that far.
    """
    found = state.facts.get(name)
    if not isinstance(found, dict):
        raise ConfigurationError(
            f"lab '{state.lab_name}' has no {name.replace('_', ' ')}: its virtualisation half is "
            "not there. Run ./lab up."
        )
    return found


def switch(state: LabState) -> Switch:
    """The lab's Open vSwitch.

    Raises:
        ConfigurationError: There is none.
    """
    found = part(state, "ovs")
    return Switch(
        database=str(found["database"]),
        control=str(found["control"]),
        log=Path(str(found["log"])),
        vhost_dir=Path(str(found["vhost_dir"])),
        log_allowed=tuple(found.get("log_allowed") or ()),
    )
