#!/usr/bin/python
"""Ansible module: all bridges and ports of a lab's Open vSwitch, as data."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ovs_bridge
short_description: Makes the bridges and ports of a lab's Open vSwitch as they are described
description:
  - One call for the whole switch, in one transaction. Bridges and ports that were made this way
    carry C(external_ids:orrery=<lab>); those that are described no longer are removed. Ports of
    guests and ports that somebody added by hand stay.
  - Waits until ovs-vswitchd has done it, then says what does not work in RV(problems), errors of
    its log included.
options:
  database:
    description: Where the database server listens, C(unix:/path).
    type: str
    required: true
  lab_name:
    description: Lab that the switch belongs to.
    type: str
    required: true
  bridges:
    description: All bridges with their ports.
    type: list
    elements: dict
    required: true
  replace:
    description: Whether a bridge that has another datapath is made anew.
    type: bool
    default: false
  vhost_dir:
    description: Folder of vhost-user sockets, for ports that name none.
    type: path
    required: true
  log:
    description: The log of ovs-vswitchd.
    type: path
    required: true
  log_allowed:
    description: Patterns of error lines that mean no harm.
    type: list
    elements: str
    default: []
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Make the bridges
  ovs_bridge:
    database: unix:/run/orrery/ovs/db.sock
    lab_name: orrery
    vhost_dir: /run/orrery/vhost
    log: /var/log/orrery/vswitchd/current
    bridges:
      - name: br-ovs
        ports:
          - {name: veth0, tag: 100}
          - {name: vx1, type: vxlan, options: {remote_ip: 10.161.34.2, key: 100}}
"""

RETURN = r"""
problems:
  description: Sentences about what does not work; empty when all does, or in check mode.
  type: list
  elements: str
  returned: always
dpdk_initialized:
  description: Whether DPDK started.
  type: bool
  returned: always
"""

import json
import time
from pathlib import Path
from typing import Any

from ansible.module_utils import ovs_bridges
from ansible.module_utils import ovs_database as ovs
from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, Any] = {
    "database": {"type": "str", "required": True},
    "lab_name": {"type": "str", "required": True},
    "bridges": {"type": "list", "elements": "dict", "required": True},
    "replace": {"type": "bool", "default": False},
    "vhost_dir": {"type": "path", "required": True},
    "log": {"type": "path", "required": True},
    "log_allowed": {"type": "list", "elements": "str", "default": []},
}

# The supervisor writes what it reads from a pipe: a line may come a moment after the deed.
LOG_TIMEOUT_S = 2.0
MOST_LINES = 5


def await_switch(database: ovs.Database) -> None:
    """Wait until ovs-vswitchd has taken its configuration; its start sets cur_cfg to -1.

    Raises:
        OvsError: It did not.
    """
    database.call(["wait-until", "Open_vSwitch", ".", "cur_cfg>=0"], wait=False)


def log_lines(log: Path) -> list[str]:
    """Lines of the switch's last run; none when there is no log."""
    try:
        return ovs.run_lines(log.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []


def why_no_dpdk(log: Path) -> str:
    """What the log says about it, waiting a moment for it to say so."""
    end = time.monotonic() + LOG_TIMEOUT_S
    while not ovs.dpdk_reasons(log_lines(log)) and time.monotonic() < end:
        time.sleep(0.1)
    return ovs.no_dpdk(log_lines(log), str(log))


def problems(
    there: ovs_bridges.Bridges, wanted: ovs_bridges.Bridges, log: Path, allowed: list[str]
) -> list[str]:
    """Sentences about what does not work though it was asked for."""
    found = [
        f"port {port.name} of {name}: {port.error}."
        for name in wanted
        if name in there
        for port in there[name].ports.values()
        if port.name in wanted[name].ports and port.error
    ]
    lines = log_lines(log)
    if pool := ovs.no_mempool(lines, *ovs.dpdk_drivers()):
        return [*found, pool]
    if errors := ovs.errors(lines, allowed):
        more = f" (and {len(errors) - MOST_LINES} more)" if len(errors) > MOST_LINES else ""
        said = "; ".join(errors[:MOST_LINES])
        found.append(f"ovs-vswitchd logged errors since its start: {said}{more}. Its log: {log}.")
    return found


class Maker:
    """One run against one switch."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        self.log = Path(self.params["log"])
        self.database = ovs.Database(self.params["database"], module.run_command)

    def found(self) -> ovs_bridges.Bridges:
        """What is there."""
        return ovs_bridges.found(*self.database.tables("Bridge", "Port", "Interface"))

    def run(self) -> dict[str, Any]:
        """Make the bridges, and look at what came of it.

        Raises:
            BridgeError: The data cannot be made real.
            OvsError: The switch does not answer.
        """
        lab = self.params["lab_name"]
        wanted = ovs_bridges.parse(self.params["bridges"], lab, self.params["vhost_dir"])
        if self.module.check_mode:
            there = self.found() if self.database.there() else {}
            return {**self.planned(there, wanted)[1], "dpdk_initialized": False, "problems": []}
        await_switch(self.database)
        if not self.database.record("Open_vSwitch", ".")["dpdk_initialized"]:
            reason = why_no_dpdk(self.log)
            return {"changed": False, "dpdk_initialized": False, "problems": [reason]}
        words, result = self.planned(self.found(), wanted)
        if words:
            self.database.call(words, wait=True)
        allowed = self.params["log_allowed"]
        found = problems(self.found(), wanted, self.log, allowed)
        return {**result, "dpdk_initialized": True, "problems": found}

    def planned(
        self, there: ovs_bridges.Bridges, wanted: ovs_bridges.Bridges
    ) -> tuple[list[str], dict[str, Any]]:
        """Words of ovs-vsctl, and what is told about them.

        Raises:
            BridgeError: The data cannot be made real.
        """
        if not self.params["replace"]:
            ovs_bridges.refuse_other_datapaths(there, wanted)
        plan = ovs_bridges.plan(there, wanted, self.params["lab_name"])
        texts = [json.dumps(one, indent=2, sort_keys=True) for one in (plan.before, plan.after)]
        header = "bridges"
        diff = {
            "before_header": header,
            "after_header": header,
            "before": texts[0] + "\n",
            "after": texts[1] + "\n",
        }
        return list(plan.words), {"changed": bool(plan.words), "diff": diff if plan.words else {}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = Maker(module).run()
    except (ovs_bridges.BridgeError, ovs.OvsError) as error:
        module.fail_json(msg=str(error))
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
