#!/usr/bin/python
"""Ansible module: TCP ports that some machines may reach and nobody else."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_ports
short_description: Keeps TCP ports for named senders, and says what else stands in the way
description:
  - Has one table of nftables (family inet) that refuses connections to O(ports) from anybody but
    O(sources) and the host itself. Nothing else of the host's packet filter is touched.
  - What is there is compared with what nft makes of the same text in a network namespace of its
    own, so that neither the version of nft nor a change by hand is missed.
  - Ports on which something listens that is no QEMU are refused before anything is done.
  - A table can refuse, and cannot let through what another one drops. Chains of others that drop
    what comes in are returned in RV(drops), with the command that lets O(sources) through.
options:
  table:
    description: Name of the table.
    type: str
    required: true
  ports:
    description: Ports and ranges, C(10809) and C(49152-49215).
    type: list
    elements: str
    default: []
  sources:
    description: Addresses and networks that may connect; [] means nobody but the host itself.
    type: list
    elements: str
    default: []
  state:
    description: V(absent) removes the table.
    type: str
    default: present
    choices: [present, absent]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Let the other hypervisor send guests
  lab_ports:
    table: orrery-migration
    ports: ["49152-49215"]
    sources: [192.0.2.11]
"""

RETURN = r"""
script:
  description: What nft reads to make the table, whether it is there or not.
  type: str
  returned: state is present
quiet:
  description: A port of O(ports) on which nobody listens; 0 where there is none.
  type: int
  returned: state is present
drops:
  description: Chains of others that drop what comes in; where, why and allow.
  type: list
  elements: dict
  returned: state is present
"""

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from ansible.module_utils import lab_packet_filter, lab_processes
from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, Any] = {
    "table": {"type": "str", "required": True},
    "ports": {"type": "list", "elements": "str", "default": []},
    "sources": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
}

# Reading it loads no kernel module, as listing the tables would.
LEGACY = {"ip": Path("/proc/net/ip_tables_names"), "ip6": Path("/proc/net/ip6_tables_names")}


def listeners(ports: Sequence[lab_packet_filter.Range]) -> tuple[list[dict[str, Any]], int]:
    """Who listens on one of the ports and is no QEMU, and the last port on which nobody does."""
    numbers = [number for low, high in ports for number in range(low, high + 1)]
    wanted = set(numbers)
    there = {one.port: one for one in lab_processes.listeners() if one.port in wanted}
    holders = lab_processes.holders({one.inode for one in there.values()})
    held = []
    for port, listener in sorted(there.items()):
        pid = next(iter(holders[listener.inode]), 0)
        command = lab_processes.command(pid) if pid else ""
        # A guest may be on its way here just now.
        if not PurePath(command.partition(" ")[0]).name.startswith("qemu"):
            held.append({"port": port, "pid": pid, "command": command[:120]})
    return held, next((number for number in reversed(numbers) if number not in there), 0)


def holder(one: dict[str, Any]) -> str:
    """Who listens, for people."""
    if not one["pid"]:
        return "a process that cannot be looked at"
    return f"pid {one['pid']} ({' '.join(one['command'].split())})"


class Nft:
    """The program nft on this host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.path = module.get_bin_path("nft")

    def listing(self, table: str) -> str:
        """A table as text; empty where there is none."""
        if not self.path:
            return ""
        code, out, _ = self.module.run_command(
            [self.path, "--stateless", "list", "table", "inet", table]
        )
        return str(out) if code == 0 else ""

    def would_be(self, table: str, text: str) -> str:
        """What a script makes, as `listing` would show it; tried where nobody's packets are."""
        program = '"$0" --file - && "$0" --stateless list table inet "$1"'
        argv = ["unshare", "--net", "sh", "-c", program, str(self.path), table]
        code, out, err = self.module.run_command(argv, data=text)
        if code != 0:
            self.module.fail_json(
                msg=f"nft does not take the table {table}: {err.strip() or out.strip()}"
            )
        return str(out)

    def run(self, *words: str, text: str = "") -> None:
        """Run nft; fails with what it says."""
        code, out, err = self.module.run_command([self.path, *words], data=text or None)
        if code != 0:
            self.module.fail_json(msg=f"nft {' '.join(words)}: {err.strip() or out.strip()}")

    def ruleset(self) -> list[dict[str, Any]]:
        """All tables."""
        if not self.path:
            return []
        code, out, _ = self.module.run_command([self.path, "--json", "list", "ruleset"])
        return list(json.loads(out)["nftables"]) if code == 0 and out.strip() else []

    def legacy(self) -> dict[str, str]:
        """Rules of INPUT of the older iptables, by family, where it is in use."""
        found = {}
        for family, names in LEGACY.items():
            program = self.module.get_bin_path(lab_packet_filter.LEGACY_PROGRAMS[family])
            if program and names.exists() and "filter" in names.read_text().split():
                _, found[family], _ = self.module.run_command([program, "-S", "INPUT"])
        return found


def difference(table: str, before: str, after: str) -> dict[str, str]:
    """Ansible's diff."""
    header = f"nftables, table inet {table}"
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def present(module: AnsibleModule, nft: Nft) -> dict[str, Any]:
    """Have the table, and look around."""
    table = module.params["table"]
    try:
        ports = lab_packet_filter.parse_ports(module.params["ports"])
        sources = lab_packet_filter.parse_sources(module.params["sources"])
    except ValueError as error:
        module.fail_json(msg=str(error))
        return {}
    if not ports:
        module.fail_json(msg="ports is empty; at least one is needed, like 49152-49215")
    if not nft.path and not module.check_mode:
        module.fail_json(msg="there is no nft on this host: install the package nftables")
    held, quiet = listeners(ports)
    if held:
        said = (f"port {one['port']} is held by {holder(one)}" for one in held)
        module.fail_json(
            msg=f"{'; '.join(said)}. It has to be free: end that, or choose other ports."
        )
    text = lab_packet_filter.script(table, ports, sources)
    have = nft.listing(table)
    # Without nft this is a look ahead: the text itself is what can be shown.
    wanted = nft.would_be(table, text) if nft.path else text
    if have != wanted and not module.check_mode:
        nft.run("--file", "-", text=text)
    return {
        "changed": have != wanted,
        "diff": difference(table, have, wanted),
        "script": text,
        "quiet": quiet,
        "drops": lab_packet_filter.drops(nft.ruleset(), nft.legacy(), table, ports, sources),
    }


def absent(module: AnsibleModule, nft: Nft) -> dict[str, Any]:
    """Be without the table."""
    table = module.params["table"]
    have = nft.listing(table)
    if have and not module.check_mode:
        nft.run("delete", "table", "inet", table)
    return {"changed": bool(have), "diff": difference(table, have, "")}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    act = absent if module.params["state"] == "absent" else present
    module.exit_json(**act(module, Nft(module)))


if __name__ == "__main__":
    main()
