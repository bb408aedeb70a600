#!/usr/bin/python
"""Ansible module: one entry of the lab's state file."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_state
short_description: Writes one entry of the lab's state file
description:
  - The state file holds what C(up) installed, changed and found, so that C(down) undoes exactly
    that. It is created with mode 0600, replaced as a whole, and never followed by a cleanup of its
    folder.
  - Entries of O(section=before) keep the first value that was ever written.
options:
  path:
    description: The state file.
    type: path
    required: true
  lab_name:
    description: Name of the lab it belongs to.
    type: str
    required: true
  section:
    description: Part of the file.
    type: str
    required: true
    choices: [services, facts, before, packages]
  key:
    description: Name of the entry; for packages a name, or empty when O(value) lists them.
    type: str
    default: ""
  value:
    description: What to write, any type; for services a mapping of address, health, log, kind.
    type: raw
  state:
    description:
      - V(handed_over) moves the entry to the first other lab of this host whose state says it uses
        the same (it has a fact of the name O(key)); without one nothing changes and RV(owner) is
        empty.
    type: str
    default: present
    choices: [present, absent, handed_over]
  no_diff:
    description: Whether values are left out of the diff, for what nobody should read over.
    type: bool
    default: false
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Remember the engine
  lab_state:
    path: /var/lib/orrery/state.json
    lab_name: orrery
    section: services
    key: engine
    value: {address: "127.0.0.1:3233", health: "http://127.0.0.1:3233/ping", kind: functions engine}
"""

RETURN = r"""
value:
  description: The entry as it is now; null when there is none.
  type: raw
  returned: always
before:
  description: The entry as it was.
  type: raw
  returned: always
owner:
  description: Lab that has the entry after V(handed_over).
  type: str
  returned: state is handed_over
"""

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_state_file as state_file
from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "lab_name": {"type": "str", "required": True},
    "section": {
        "type": "str",
        "required": True,
        "choices": ["services", "facts", "before", "packages"],
    },
    "key": {"type": "str", "default": "", "no_log": False},
    "value": {"type": "raw"},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent", "handed_over"]},
    "no_diff": {"type": "bool", "default": False},
}


def entry(state: state_file.State, section: str, key: str) -> Any:
    """What the file holds under the key, or the whole section."""
    return state[section].get(key) if key and section != "packages" else state[section]


def change(state: state_file.State, params: dict[str, Any]) -> state_file.State:
    """The state that is asked for."""
    section, key, value = params["section"], params["key"], params["value"]
    if params["state"] == "absent":
        return state_file.without(state, section, key, value)
    return state_file.with_value(state, section, key, value)


def hand_over(
    path: Path, state: state_file.State, params: dict[str, Any], *, dry: bool
) -> tuple[state_file.State, str]:
    """Move an entry to another lab that uses the same; give the new state and that lab's name."""
    section, key = params["section"], params["key"]
    if section != "packages" and key not in state[section]:
        return state, ""
    for other_path, other in state_file.other_labs(path, params["lab_name"]).items():
        if section != "packages" and key not in other["facts"]:
            continue
        names = state_file.names_of(key, params["value"])
        value = names if section == "packages" else state[section][key]
        taken = copy.deepcopy(other)
        if section in ("packages", "before"):
            taken = state_file.with_value(other, section, "" if names == value else key, value)
        else:
            taken[section][key] = value
        if not dry:
            state_file.write(other_path, taken)
        return state_file.without(state, section, key, params["value"]), str(other["lab_name"])
    return state, ""


def problem_with(params: dict[str, Any]) -> str:
    """What is wrong with the arguments, or nothing."""
    section, value = params["section"], params["value"]
    if section == "packages":
        return ""
    if not params["key"] and params["state"] != "absent":
        return f"lab_state: a key is needed in the section {section}."
    if section == "services" and params["state"] == "present" and not isinstance(value, dict):
        return f"lab_state: service {params['key']}: a mapping is needed, {value!r} found."
    return ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params, path = module.params, Path(module.params["path"])
    if problem := problem_with(params):
        module.fail_json(msg=problem)
    owner = ""
    try:
        lock = (
            contextlib.nullcontext()
            if module.check_mode or (params["state"] != "present" and not path.exists())
            else state_file.locked(path)
        )
        with lock:
            old = state_file.read(path, params["lab_name"])
            if params["state"] == "handed_over":
                new, owner = hand_over(path, old, params, dry=module.check_mode)
            else:
                new = change(old, params)
            if new != old and not module.check_mode:
                state_file.write(path, new)
    except (state_file.StateFileError, OSError) as error:
        module.fail_json(msg=str(error))
    was, now = (entry(state, params["section"], params["key"]) for state in (old, new))
    result: dict[str, Any] = {"changed": new != old, "before": was, "value": now, "owner": owner}
    if new != old and not params["no_diff"]:
        header = f"{path} {params['section']} {params['key']}".strip()
        result["diff"] = {
            "before_header": header,
            "after_header": header,
            "before": json.dumps(was, indent=2, sort_keys=True) + "\n",
            "after": json.dumps(now, indent=2, sort_keys=True) + "\n",
        }
    module.exit_json(**result)


if __name__ == "__main__":
    main()
