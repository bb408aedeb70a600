#!/usr/bin/python
"""Ansible module: wheels of lock files for the Python of another host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_wheelhouse
short_description: Collects wheels for another host
description:
  - Lets pip of this host fetch the wheels of complete, hashed lock files for another Python, and
    keeps them in the cache. Those that images are made of are installed into archives as well.
options:
  locks: {type: list, elements: path, required: true, description: The lock files.}
  image_locks: {type: list, elements: path, default: [], description: Lock files of images.}
  version: {type: str, required: true, description: "Version of the other Python, two parts."}
  machine: {type: str, required: true, description: Architecture in the kernel's words.}
  glibc: {type: str, required: true, description: Version of the other C library.}
  python: {type: path, required: true, description: Python with pip that collects the wheels.}
  cache_dir: {type: path, required: true, description: Folder that labs share.}
  wheel_dir: {type: str, default: '', description: Folder of wheels that is asked first.}
  proxy: {type: str, default: '', description: HTTP proxy in front of the Python index.}
  ca_bundle: {type: str, default: '', description: PEM file of certificate authorities.}
  timeout_s: {type: int, default: 600, description: Bound of collecting one lock.}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
author: Orrery
"""

EXAMPLES = r"""
- name: Collect the wheels
  lab_wheelhouse:
    locks: [/home/me/orrery/requirements-host.lock]
    version: "3.12"
    machine: x86_64
    glibc: "2.39"
    python: /usr/bin/python3
    cache_dir: /var/cache/orrery
"""

RETURN = r"""
folders:
  description: One folder of wheels for each lock; empty in check mode where they are not there.
  type: list
  elements: str
  returned: always
archives:
  description: One archive for each lock of an image; empty in check mode where they are not there.
  type: list
  elements: str
  returned: always
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab_site_packages import archive_of, install
from ansible.module_utils.lab_wheels import Target, WheelsError, collect, folder_of


def main() -> None:
    """Run the module."""
    text = {"type": "str", "default": ""}
    module = AnsibleModule(
        argument_spec={
            "locks": {"type": "list", "elements": "path", "required": True},
            "image_locks": {"type": "list", "elements": "path", "default": []},
            "version": {"type": "str", "required": True},
            "machine": {"type": "str", "required": True},
            "glibc": {"type": "str", "required": True},
            "python": {"type": "path", "required": True},
            "cache_dir": {"type": "path", "required": True},
            "wheel_dir": text,
            "proxy": text,
            "ca_bundle": text,
            "timeout_s": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    params = module.params
    target = Target(params["version"], params["machine"], params["glibc"])
    try:
        texts = [Path(path).read_text(encoding="utf-8") for path in params["locks"]]
        of_images = [Path(path).read_text(encoding="utf-8") for path in params["image_locks"]]
        folders = [folder_of(text, target, params) for text in texts]
        archives = [archive_of(text, target, params) for text in of_images]
        changed = not all(path.exists() for path in (*folders, *archives))
        if changed and not module.check_mode:
            folders = [collect(text, target, params) for text in texts]
            archives = [install(text, target, params) for text in of_images]
    except (OSError, WheelsError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=changed,
        folders=[str(path) for path in folders if path.exists()],
        archives=[str(path) for path in archives if path.exists()],
    )


if __name__ == "__main__":
    main()
