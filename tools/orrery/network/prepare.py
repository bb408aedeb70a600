"""What the role `guest_network` runs: have the lab's namespace and Linux bridge, or be without."""

from __future__ import annotations

import argparse
import ipaddress
import sys
from pathlib import Path
from typing import Any

from orrery import program
from orrery.errors import ConfigurationError, HostError
from orrery.network.layout import Layout
from orrery.network.namespace import Namespace
from orrery.state import StateFile

LONGEST_NAME = 15
"""Of an interface, in characters (linux/if.h, IFNAMSIZ with its closing zero)."""


def prepare(options: argparse.Namespace) -> dict[str, Any]:
    """Do what `options.state` says; `changed`.

    Raises:
        ConfigurationError: The bridge's name or address is none.
        HostError: A namespace of that name is somebody else's.
    """
    namespace = Namespace(options.namespace)
    ours = _recorded(options.state_file) == options.namespace
    if options.state == "absent":
        return {"changed": ours and namespace.remove()}
    _check(options.bridge, options.address)
    _refuse_foreign(namespace, ours)
    layout = Layout(namespace, options.bridge, options.address, {})
    return {"changed": layout.restore()}


def _recorded(state_file: Path) -> str:
    """The namespace that the lab made before; empty for none."""
    if not state_file.exists():
        return ""
    fact = StateFile(state_file).read().facts.get("network") or {}
    return str(fact.get("namespace", ""))


def _refuse_foreign(namespace: Namespace, ours: bool) -> None:
    if namespace.exists() and not ours:
        raise HostError(
            f"a network namespace {namespace.name} exists, and this lab did not make it. "
            f"Set lab_namespace to another name, or remove it: ip netns delete {namespace.name}"
        )


def _check(bridge: str, address: str) -> None:
    if not 0 < len(bridge) <= LONGEST_NAME:
        raise ConfigurationError(
            f"guest_network_bridge: '{bridge}' has {len(bridge)} characters; 1 to {LONGEST_NAME} "
            "are needed"
        )
    try:
        ipaddress.IPv4Interface(address)
    except ValueError as error:
        raise ConfigurationError(f"guest_network_address: {error}") from error


if __name__ == "__main__":
    parser = program.parser("orrery.network.prepare")
    parser.add_argument("state", choices=["present", "absent"])
    for option in ("--namespace", "--bridge", "--address"):
        parser.add_argument(option, required=True)
    sys.exit(program.run(parser, prepare))
