#!/usr/bin/python
"""Ansible module: columns of one record of an Open vSwitch database."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ovs_record
short_description: Sets columns of one record of an Open vSwitch database
description:
  - Maps like C(other_config) are merged key by key; other columns are set as a whole. What is as
    wanted already is not written.
  - Needs the database server only. ovs-vswitchd is not waited for.
options:
  database:
    description: Where the database server listens, C(unix:/path).
    type: str
    required: true
  table:
    description: Table of the record.
    type: str
    default: Open_vSwitch
  record:
    description: Name or UUID; C(.) is the only one of its table.
    type: str
    default: .
  columns:
    description:
      - Values by column. In a map null removes a key; elsewhere null empties the column.
      - RV(before) can be given here to restore what was found.
    type: dict
    required: true
  state:
    description: V(absent) removes the named keys of maps, and empties the other named columns.
    type: str
    default: present
    choices: [present, absent]
  prune:
    description: Whether keys that are not named are removed from the named maps.
    type: bool
    default: false
  restart_keys:
    description: Patterns of keys that ovs-vswitchd reads at its start only; see RV(restart).
    type: list
    elements: str
    default: []
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Let the PMD sleep
  ovs_record:
    database: unix:/run/orrery/ovs/db.sock
    columns:
      other_config: {pmd-maxsleep: 100, userspace-tso-enable: null}
"""

RETURN = r"""
before:
  description: What the named columns and keys held, null where nothing.
  type: dict
  returned: always
changed_keys:
  description: Keys and columns that changed, or would in check mode.
  type: list
  elements: str
  returned: always
restart:
  description:
    - Whether a key of O(restart_keys) changed, or DPDK is asked for and did not start.
  type: bool
  returned: always
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from ansible.module_utils import ovs_database as ovs
from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, Any] = {
    "database": {"type": "str", "required": True},
    "table": {"type": "str", "default": "Open_vSwitch"},
    "record": {"type": "str", "default": "."},
    "columns": {"type": "dict", "required": True},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    "prune": {"type": "bool", "default": False},
    "restart_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
}

Columns = dict[str, Any]


def wanted_columns(columns: Columns, found: ovs.Row, *, absent: bool, prune: bool) -> Columns:
    """The named columns with every value as the database would give it; null where nothing."""
    wanted: Columns = {}
    for name, value in columns.items():
        if not isinstance(found.get(name), dict):
            plain = None if absent or value == [] else value
            wanted[name] = sorted(plain, key=str) if isinstance(plain, list) else plain
            continue
        asked = {
            str(key): None if absent or one is None else ovs.text_of(one)
            for key, one in (value or {}).items()
        }
        others = dict.fromkeys(found[name], None) if prune else {}
        wanted[name] = {**others, **asked}
    return wanted


def found_columns(wanted: Columns, found: ovs.Row) -> Columns:
    """What the columns and keys of `wanted` hold now."""
    held: Columns = {}
    for name, value in wanted.items():
        now = found[name]
        if isinstance(value, dict):
            held[name] = {key: now.get(key) for key in value}
        elif isinstance(value, list):
            held[name] = sorted(ovs.as_list(now), key=str)
        else:
            held[name] = ovs.optional(now)
    return held


def plan(table: str, record: str, before: Columns, wanted: Columns) -> tuple[list[str], list[str]]:
    """Words of ovs-vsctl that lead from one to the other, and the names of what changes."""
    words: list[str] = []
    changed: list[str] = []
    for name, value in wanted.items():
        if value == before[name]:
            continue
        if not isinstance(value, dict):
            changed.append(name)
            words += column_words(table, record, name, value)
            continue
        for key, one in value.items():
            if one == before[name][key]:
                continue
            changed.append(f"{name}:{key}")
            if one is None:
                words += ["--", "remove", table, record, name, ovs.quoted(key)]
            else:
                pair = f"{name}:{ovs.quoted(key)}={ovs.quoted(one)}"
                words += ["--", "set", table, record, pair]
    return words, changed


def column_words(table: str, record: str, name: str, value: Any) -> list[str]:
    """Words that set a column that is no map."""
    if value is None:
        return ["--", "clear", table, record, name]
    text = ovs.quoted_list(value) if isinstance(value, list) else ovs.quoted(value)
    return ["--", "set", table, record, f"{name}={text}"]


def needs_restart(changed: Sequence[str], patterns: Sequence[str], row: ovs.Row) -> bool:
    """Whether ovs-vswitchd has to start anew for it."""
    keys = [name.partition(":")[2] for name in changed]
    if any(re.match(pattern, key) for pattern in patterns for key in keys):
        return True
    asked = row.get("other_config", {}).get("dpdk-init") in ("true", "try")
    return bool(patterns) and asked and row.get("dpdk_initialized") is False


def shown(columns: Columns) -> str:
    """Columns as a text to compare, without what holds nothing."""
    rows = []
    for name, value in sorted(columns.items()):
        pairs = value.items() if isinstance(value, dict) else [("", value)]
        for key, one in sorted(pairs):
            if one is not None:
                rows.append(f"{name}{':' if key else ''}{key} = {json.dumps(one)}\n")
    return "".join(rows)


def missing_row(columns: Columns) -> ovs.Row:
    """What a database that is not there yet would hold."""
    return {name: {} if isinstance(value, dict) else [] for name, value in columns.items()}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    database = ovs.Database(params["database"], module.run_command)
    columns, table, record = params["columns"], params["table"], params["record"]
    absent = params["state"] == "absent"
    try:
        if not database.there() and (module.check_mode or absent):
            row = missing_row(columns)
        else:
            row = database.record(table, record)
        unknown = sorted(set(columns) - set(row))
        if unknown:
            module.fail_json(msg=f"ovs_record: table {table} has no column {', '.join(unknown)}.")
        wanted = wanted_columns(columns, row, absent=absent, prune=params["prune"])
        before = found_columns(wanted, row)
        words, changed = plan(table, record, before, wanted)
        if words and not module.check_mode:
            database.call(words, wait=False)
    except ovs.OvsError as error:
        module.fail_json(msg=f"ovs_record: {error}")
    header = f"{table} {record}"
    module.exit_json(
        changed=bool(changed),
        before=before,
        changed_keys=changed,
        restart=needs_restart(changed, params["restart_keys"], row),
        diff={
            "before_header": header,
            "after_header": header,
            "before": shown(before),
            "after": shown(wanted),
        },
    )


if __name__ == "__main__":
    main()
