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
        ConfigurationError: The bridge's name or address is none, or the lab has another namespace.
        HostError: A namespace of that name is somebody else's.
    """
    namespace = Namespace(options.namespace)
    recorded = _recorded(options.state_file)
    if options.state == "absent":
        # By the record: whoever takes a lab down may have forgotten what it was made with.
        return {"changed": bool(recorded) and Namespace(recorded).remove()}
    _check(options.bridge, options.address)
    _refuse_move(recorded, namespace)
    layout = Layout(options.lab_name, namespace, options.bridge, options.address, {})
    _refuse_foreign(namespace, recorded == namespace.name or namespace.has_mark(layout.mark))
    return {"changed": _restore(layout)}


def _restore(layout: Layout) -> bool:
    """Have the layout; a namespace that did not get that far goes, for nothing records it yet."""
    there = layout.namespace.exists()
    try:
        return layout.restore()
    except BaseException:
        if not there:
            layout.namespace.remove()
        raise


def _recorded(state_file: Path) -> str:
    """The namespace that the lab made before; empty for none."""
    if not state_file.exists():
        return ""
    fact = StateFile(state_file).read().facts.get("network") or {}
    return str(fact.get("namespace", ""))


def _refuse_move(recorded: str, namespace: Namespace) -> None:
    if recorded and recorded != namespace.name and Namespace(recorded).exists():
        raise ConfigurationError(
            f"lab_namespace is {namespace.name}, and this lab's switch and guests are in the "
            f"network namespace {recorded}. Set lab_namespace to {recorded}, or run ./lab down "
            "first."
        )


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
    for option in ("--lab-name", "--namespace", "--bridge", "--address"):
        parser.add_argument(option, required=True)
    sys.exit(program.run(parser, prepare))
