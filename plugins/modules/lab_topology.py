#!/usr/bin/python
"""Ansible module: which CPUs and how much memory the lab's switch takes on this host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_topology
short_description: Picks CPUs for Open vSwitch with DPDK from the topology of the host
description:
  - With one CPU everything is on it; with two or three the PMD thread is on the last; from four on
    whole physical cores other than the first poll, those that the kernel keeps isolated first.
  - Looks only. Says in one sentence what was picked and why.
options:
  pmd_cpus:
    description: CPUs of the PMD threads; empty means computed.
    type: list
    elements: int
    default: []
  lcore_cpus:
    description: CPUs of everything else; empty means computed.
    type: list
    elements: int
    default: []
  pmd_count:
    description: Physical cores that poll; 0 means one, or two from eight CPUs on.
    type: int
    default: 0
  pmd_max_sleep_us:
    description: How long an idle PMD may sleep [us]; V(auto) is 100 below four CPUs, else 0.
    type: str
    default: auto
  socket_mem_mb:
    description: Memory that DPDK takes at its start, on each NUMA node that has a PMD [MB].
    type: int
    default: 512
  program:
    description: Tells the version of Open vSwitch when called with C(--version).
    type: path
    default: /usr/bin/ovs-vsctl
  state_file:
    description: The lab's state file, whose fact C(hugepages) says what the lab may use.
    type: path
    required: true
  lab_name:
    description: Name of the lab.
    type: str
    required: true
attributes:
  check_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Pick CPUs for the switch
  lab_topology:
    state_file: /var/lib/orrery/state.json
    lab_name: orrery
"""

RETURN = r"""
pmd_cpus: {description: CPUs that poll., type: list, elements: int, returned: always}
lcore_cpus: {description: CPUs of the rest., type: list, elements: int, returned: always}
pmd_mask: {description: The former as a mask., type: str, returned: always}
lcore_mask: {description: The latter as a mask., type: str, returned: always}
socket_mem: {description: Value of C(dpdk-socket-mem)., type: str, returned: always}
pmd_sleep_us: {description: "How long an idle PMD sleeps [us].", type: int, returned: always}
sleep_column: {description: Setting that says so; may be empty., type: str, returned: always}
version: {description: Version of Open vSwitch; may be empty., type: str, returned: always}
why: {description: One sentence., type: str, returned: always}
hugepages:
  description: The lab's share, RV(hugepages.size_kb), RV(hugepages.count); empty when unknown.
  type: dict
  returned: always
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils import cpu_topology
from ansible.module_utils import lab_state_file as state_file
from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, Any] = {
    "pmd_cpus": {"type": "list", "elements": "int", "default": []},
    "lcore_cpus": {"type": "list", "elements": "int", "default": []},
    "pmd_count": {"type": "int", "default": 0},
    "pmd_max_sleep_us": {"type": "str", "default": "auto"},
    "socket_mem_mb": {"type": "int", "default": 512},
    "program": {"type": "path", "default": "/usr/bin/ovs-vsctl"},
    "state_file": {"type": "path", "required": True},
    "lab_name": {"type": "str", "required": True},
}

VERSION = re.compile(r"\(Open vSwitch\) (\d+\.\d+(?:\.\d+)*)")


def parse_version(text: str) -> str:
    """`3.1.0` from the first line of a program of Open vSwitch; empty when it says none."""
    found = VERSION.search(text)
    return found[1] if found else ""


def socket_mem(nodes: Sequence[int], size_mb: int) -> str:
    """Memory for each NUMA node up to the last that polls: `0,512` for node 1 alone."""
    return ",".join(str(size_mb if node in nodes else 0) for node in range(max(nodes) + 1))


def problem_with_memory(hugepages: dict[str, Any], nodes: int, size_mb: int) -> str:
    """Why the memory does not fit into the lab's huge pages; empty when it does or is unknown."""
    if not hugepages:
        return ""
    have_mb = int(hugepages["count"]) * int(hugepages["size_kb"]) // 1024
    if size_mb * nodes <= have_mb:
        return ""
    return (
        f"ovs_socket_mem_mb is {size_mb} on {nodes} NUMA node{'' if nodes == 1 else 's'}, and the "
        f"lab has {have_mb} MB of huge pages ({hugepages['count']} of {hugepages['size_kb']} kB). "
        "Lower ovs_socket_mem_mb or raise hugepages_count."
    )


def look(arguments: dict[str, Any], version: str) -> dict[str, Any]:
    """What was picked.

    Raises:
        TopologyError: The inputs do not fit this host.
        StateFileError: The state file is not one of this lab.
    """
    cpus, isolated = cpu_topology.read()
    choice = cpu_topology.choose(
        cpus,
        isolated,
        pmd_count=arguments["pmd_count"],
        pmd=arguments["pmd_cpus"],
        lcore=arguments["lcore_cpus"],
    )
    column = cpu_topology.sleep_column(version)
    sleep = cpu_topology.sleep_us(arguments["pmd_max_sleep_us"], len(cpus))
    facts = state_file.read(Path(arguments["state_file"]), arguments["lab_name"])["facts"]
    hugepages = facts.get("hugepages") or {}
    size_mb = arguments["socket_mem_mb"]
    if problem := problem_with_memory(hugepages, len(choice.nodes), size_mb):
        raise cpu_topology.TopologyError(problem)
    return {
        "pmd_cpus": list(choice.pmd),
        "lcore_cpus": list(choice.lcore),
        "pmd_mask": cpu_topology.mask(choice.pmd),
        "lcore_mask": cpu_topology.mask(choice.lcore),
        "socket_mem": socket_mem(choice.nodes, size_mb),
        "pmd_sleep_us": sleep if column else 0,
        "sleep_column": column,
        "version": version,
        "why": cpu_topology.explain(choice, sleep, column, version),
        "hugepages": hugepages,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    program, version = module.params["program"], ""
    if Path(program).exists():
        version = parse_version(module.run_command([program, "--version"])[1])
    try:
        result = look(module.params, version)
    except (cpu_topology.TopologyError, state_file.StateFileError) as error:
        module.fail_json(msg=str(error))
    else:
        module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
