#!/usr/bin/python
"""Ansible module: no container of a lab is left."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_containers
short_description: Removes the containers that carry a lab's label
description:
  - Removes containers with the label C(orrery.lab) of this lab, running ones as well, and no other.
    Where there is no Docker there is nothing to do.
options:
  docker_socket:
    description: Socket of the daemon.
    type: path
    required: true
  lab_name:
    description: Value of the label.
    type: str
    required: true
attributes:
  check_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Remove the containers of the lab
  lab_containers:
    docker_socket: /var/run/docker.sock
    lab_name: orrery
"""

RETURN = r"""
removed:
  description: Identities of the containers.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab_docker import LAB_LABEL, Docker, DockerError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "docker_socket": {"type": "path", "required": True},
            "lab_name": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    docker = Docker(module.params["docker_socket"])
    found: list[str] = []
    try:
        if docker.usable and docker.try_call("version", timeout_s=20).code == 0:
            label = f"label={LAB_LABEL}={module.params['lab_name']}"
            found = docker.call("ps", "--all", "--quiet", "--filter", label).split()
            if found and not module.check_mode:
                docker.call("rm", "--force", "--volumes", *found, timeout_s=180)
    except DockerError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(found), removed=found)


if __name__ == "__main__":
    main()
