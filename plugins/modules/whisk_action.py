#!/usr/bin/python
"""Ansible module: one action of an OpenWhisk."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: whisk_action
short_description: Creates, updates or deletes an action of any OpenWhisk
description:
  - Compares the action with what is asked for and sends it only where something differs.
  - Code appears in the diff as its SHA-256. Parameters appear as they are; use C(no_log) on the
    task where they are secret.
  - In check mode a host that does not answer, or credentials that are not there yet, count as an
    action that does not exist.
requirements:
  - The interpreter has the Python packages orrery and aiohttp (the lab's own environment has).
options:
  apihost:
    description: URL of the API, for example C(http://127.0.0.1:3233).
    type: str
    required: true
  credentials:
    description: File that holds C(uuid:key), or a JSON object with uuid and key.
    type: path
    required: true
  ca_file:
    description: Certificates to trust besides the system's.
    type: path
  namespace:
    description: Namespace of the action; C(_) is the user's own.
    type: str
    default: _
  name:
    description: Name of the action, C(name) or C(package/name).
    type: str
    required: true
  kind:
    description:
      - Runtime, for example C(python:3.11). C(python:3) and C(python:default) accept any stored
        version of the family. C(blackbox) where only O(image) is given.
    type: str
  image:
    description: Docker image of a blackbox action.
    type: str
  code:
    description: Source text, or base64 of a zip.
    type: str
  code_file:
    description: File with the code, source text or zip, on the host the module runs on.
    type: path
  binary:
    description: Whether O(code) is base64; found out by itself with O(code_file).
    type: bool
  main:
    description: Name of the function to call.
    type: str
  limits:
    description: Limits of the action; those that are not given stay as they are.
    type: dict
    default: {}
    suboptions:
      timeout:
        description: Longest run in milliseconds.
        type: int
      memory:
        description: Memory in MB.
        type: int
      logs:
        description: Longest log in MB.
        type: int
      concurrency:
        description: Activations at a time in one container.
        type: int
  parameters:
    description: Default parameters; they replace all that are there. Left alone where not given.
    type: dict
  final:
    description: Whether callers may not override the parameters (annotation C(final)).
    type: bool
  annotations:
    description: Annotations; merged by key with those that are there.
    type: dict
    default: {}
  state:
    description: Whether the action is there.
    type: str
    default: present
    choices: [present, absent]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Deploy the greeting
  whisk_action:
    apihost: http://127.0.0.1:3233
    credentials: /etc/orrery/credentials.json
    name: hello
    kind: python:default
    code: |
      def main(args):
          return {"greeting": "Hello " + args.get("name", "stranger")}
    limits: {memory: 128, timeout: 5000}

- name: Deploy a container image whose parameters are fixed
  whisk_action:
    apihost: http://127.0.0.1:3233
    credentials: /etc/orrery/credentials.json
    name: classify
    image: orrery-classify:1
    parameters: {allowed_hosts: [10.161.33.1]}
    final: true
"""

RETURN = r"""
action:
  description: The action without its code (kind, image, main, limits, parameters, annotations).
  type: dict
  returned: always
version:
  description: Version that the host gave it; empty where it is absent.
  type: str
  returned: always
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from orrery.errors import OrreryError
    from orrery.whisk import credentials, desired
    from orrery.whisk.answers import NotFoundError, UnreachableError
    from orrery.whisk.client import WhiskClient
except ImportError as error:
    MISSING = str(error)
else:
    MISSING = ""

LIMITS: dict[str, Any] = {
    name: {"type": "int"} for name in ("timeout", "memory", "logs", "concurrency")
}
ARGUMENTS: dict[str, Any] = {
    "apihost": {"type": "str", "required": True},
    "credentials": {"type": "path", "required": True},
    "ca_file": {"type": "path"},
    "namespace": {"type": "str", "default": "_"},
    "name": {"type": "str", "required": True},
    "kind": {"type": "str"},
    "image": {"type": "str"},
    "code": {"type": "str"},
    "code_file": {"type": "path"},
    "binary": {"type": "bool"},
    "main": {"type": "str"},
    "limits": {"type": "dict", "default": {}, "options": LIMITS},
    "parameters": {"type": "dict"},
    "final": {"type": "bool"},
    "annotations": {"type": "dict", "default": {}},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
}


def wanted(params: dict[str, Any]) -> desired.Desired:
    """The action that the arguments describe."""
    code, binary = params["code"], params["binary"]
    if params["code_file"] is not None:
        code, binary = desired.code_of(Path(params["code_file"]).read_bytes())
    limits = params["limits"] or {}
    return desired.Desired(
        name=params["name"],
        kind=params["kind"],
        code=code,
        image=params["image"],
        main=params["main"],
        binary=binary,
        limits={key: value for key, value in limits.items() if value is not None},
        parameters=params["parameters"],
        annotations=params["annotations"] or {},
        final=params["final"],
    )


async def apply(params: dict[str, Any], *, dry: bool) -> dict[str, Any]:
    """Compare, and change the host unless `dry`."""
    goal = wanted(params) if params["state"] == "present" else None
    try:
        auth = credentials.read(Path(params["credentials"])).auth
        async with WhiskClient(
            params["apihost"], auth, ca_file=params["ca_file"], namespace=params["namespace"]
        ) as client:
            stored = await current(client, params["name"])
            before = desired.view(stored)
            if goal is None:
                if stored is not None and not dry:
                    await client.delete_action(params["name"])
                return outcome(params["name"], before, {})
            desired.check(goal, exists=stored is not None)
            after = desired.after(goal, before)
            result = outcome(params["name"], before, after, str((stored or {}).get("version", "")))
            if result["changed"] and not dry:
                made = await client.put_action(params["name"], **goal.arguments())
                result.update(action=desired.view(made), version=str(made["version"]))
            return result
    except UnreachableError:
        if not dry:
            raise
    except OrreryError:
        if not (dry and bare(params)):
            raise
    return outcome(params["name"], {}, {} if goal is None else desired.after(goal, {}))


def bare(params: dict[str, Any]) -> bool:
    """Whether the role that makes the credentials has not run yet."""
    return not Path(params["credentials"]).exists()


async def current(client: WhiskClient, name: str) -> dict[str, Any] | None:
    """The action as the host has it, or None."""
    try:
        return await client.get_action(name)
    except NotFoundError:
        return None


def outcome(
    name: str, before: dict[str, Any], after: dict[str, Any], version: str = ""
) -> dict[str, Any]:
    """The result of the module."""
    result: dict[str, Any] = {"changed": before != after, "action": after, "version": version}
    if before != after:
        result["diff"] = {
            "before_header": f"action {name}",
            "after_header": f"action {name}",
            "before": text_of(before),
            "after": text_of(after),
        }
    return result


def text_of(view: dict[str, Any]) -> str:
    """One side of the diff."""
    return json.dumps(view, indent=2, sort_keys=True) + "\n" if view else ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        mutually_exclusive=[("code", "code_file")],
    )
    if MISSING:
        module.fail_json(
            msg=f"whisk_action: {MISSING}. {missing_required_lib('orrery')} "
            "Set ansible_python_interpreter to the lab's own environment."
        )
    try:
        result = asyncio.run(apply(module.params, dry=module.check_mode))
    except OrreryError as error:
        module.fail_json(msg=f"whisk_action: {error}")
    except OSError as error:
        module.fail_json(msg=f"whisk_action: {error.filename}: {error.strerror}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
