"""Filters about the host and the lab's networks."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError


def lab_gateway(subnet: str, variable: str = "lab_function_subnet") -> str:
    """First address of an IPv4 network in CIDR notation: the host's own in it.

    Args:
        subnet: The network.
        variable: Where it was set, for messages.

    Raises:
        AnsibleFilterError: It is no network, or one with fewer than eight addresses.
    """
    try:
        network = ipaddress.IPv4Network(subnet)
    except ValueError as error:
        raise AnsibleFilterError(
            f"{variable}: '{subnet}' is no IPv4 network ({error}). Write it like 10.161.33.0/24."
        ) from error
    if network.num_addresses < 8:
        raise AnsibleFilterError(f"{variable}: '{subnet}' is smaller than a /29.")
    return str(network.network_address + 1)


def lab_needs_become(_: Any) -> bool:
    """Whether the person who runs the playbook has to become root; the value is not looked at.

    Asking for it as root, too, would make sudo a requirement of hosts that have none.
    """
    return os.geteuid() != 0


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[[Any], Any]]:
        """Name to function."""
        return {"lab_gateway": lab_gateway, "lab_needs_become": lab_needs_become}
