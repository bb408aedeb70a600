#!/usr/bin/python
"""Ansible module: the last step of taking a lab down."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_teardown
short_description: Closes a lab's state file
description:
  - Removes the state file and its folder. While distribution packages are still recorded in it, it
    stays with nothing but these, so that a later C(down --purge) knows them.
  - Removes the cache that labs share when no other lab of this host is up.
options:
  state_file:
    description: The state file.
    type: path
    required: true
  lab_name:
    description: Name of the lab it belongs to.
    type: str
    required: true
  cache_dir:
    description: The shared cache; empty leaves it alone.
    type: str
    default: ""
attributes:
  check_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Close the state file
  lab_teardown:
    state_file: /var/lib/orrery/state.json
    lab_name: orrery
"""

RETURN = r"""
left:
  description: Packages that stay recorded.
  type: list
  elements: str
  returned: always
"""

import shutil
from pathlib import Path

from ansible.module_utils import lab_state_file as state_file
from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state_file": {"type": "path", "required": True},
            "lab_name": {"type": "str", "required": True},
            "cache_dir": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["state_file"])
    lab_name = module.params["lab_name"]
    try:
        state = state_file.read(path, lab_name)
        cache = Path(module.params["cache_dir"]) if module.params["cache_dir"] else None
        if cache is not None and (not cache.exists() or state_file.other_labs(path, lab_name)):
            cache = None
        left = state["packages"]
        closed = {**state_file.empty(lab_name), "packages": left}
        changed = (state != closed if left else path.parent.exists()) or cache is not None
        if not module.check_mode:
            if left:
                state_file.write(path, closed)
            elif path.parent.exists():
                shutil.rmtree(path.parent)
            if cache is not None:
                shutil.rmtree(cache)
    except (OSError, state_file.StateFileError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, left=left)


if __name__ == "__main__":
    main()
