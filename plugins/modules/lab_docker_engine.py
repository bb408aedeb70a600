#!/usr/bin/python
"""Ansible module: whose Docker engine listens at a socket, and who uses it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_docker_engine
short_description: Says whose Docker engine listens at a socket, and who uses it
description:
  - Works for the role C(docker). Changes nothing but, with O(state=released), the state file.
  - The engine is a lab's when the process behind the socket is a service of a lab, or where systemd
    runs the distribution's unit, when the state file says so.
options:
  path:
    description: The lab's state file.
    type: path
    required: true
  lab_name:
    description: Name of the lab that asks.
    type: str
    required: true
  socket:
    description: Socket of the engine.
    type: path
    required: true
  config_file:
    description: The engine's daemon.json.
    type: path
    required: true
  data_root:
    description: The engine's data, which is only looked for.
    type: path
    required: true
  state:
    description:
      - V(looked) only looks. V(released) gives an engine that others need out of the lab's hands,
        together with the packages that it came in; to another lab that uses it, or to the host
        where containers of others run.
    type: str
    default: looked
    choices: [looked, released]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
author: Orrery
"""

EXAMPLES = r"""
- name: Look for an engine
  lab_docker_engine:
    path: /var/lib/orrery/state.json
    lab_name: orrery
    socket: /var/run/docker.sock
    config_file: /etc/docker/daemon.json
    data_root: /var/lib/docker
"""

RETURN = r"""
engine:
  description:
    - usable, version, detail; owner (lab and service of the process), ours, recorded (what the
      state file says), heirs (labs that use it, too), foreign (running containers of others), idle
      (no container, volume and image), dockerd, config (parsed daemon.json), config_exists,
      config_dir_exists, data_root_exists.
  type: dict
  returned: always
new_owner:
  description: Who has the engine after V(released), a lab or C(the host); empty when it is kept.
  type: str
  returned: always
"""

import contextlib
import json
import os
import shutil
import socket
import struct
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_docker_api, lab_processes
from ansible.module_utils import lab_state_file as state_file
from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "lab_name": {"type": "str", "required": True},
    "socket": {"type": "path", "required": True},
    "config_file": {"type": "path", "required": True},
    "data_root": {"type": "path", "required": True},
    "state": {"type": "str", "default": "looked", "choices": ["looked", "released"]},
}

KEY = "docker"
THE_HOST = "the host"


def listener_pid(path: str) -> int:
    """The process that listens at a unix socket; 0 when nobody does."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        client.connect(path)
        size = struct.calcsize("3i")
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(struct.unpack("3i", credentials)[0])
    return 0


def foreign_containers(listed: list[dict[str, Any]], labs: list[str]) -> list[str]:
    """Names of containers that no lab made: a lab's begin with its name."""
    prefixes = tuple(f"{lab}-" for lab in labs)
    names = [str((entry.get("Names") or [entry.get("Id", "")[:12]])[0]) for entry in listed]
    return sorted(name.lstrip("/") for name in names if not name.lstrip("/").startswith(prefixes))


def use(path: str, labs: list[str]) -> dict[str, Any]:
    """Who uses a usable engine."""
    running = lab_docker_api.get(path, "/containers/json")
    everything = [
        lab_docker_api.get(path, "/containers/json?all=1"),
        lab_docker_api.get(path, "/images/json"),
        lab_docker_api.get(path, "/volumes").get("Volumes") or [],
    ]
    return {"foreign": foreign_containers(running, labs), "idle": not any(everything)}


def idle_on_disk(data_root: Path) -> bool:
    """Whether the data of an engine that is down holds no container, volume and image."""
    volumes = [path for path in data_root.glob("volumes/*") if path.is_dir()]
    containers = list(data_root.glob("containers/*"))
    images = list(data_root.glob("image/*/imagedb/content/sha256/*"))
    return not (volumes or containers or images)


def read_config(path: Path) -> dict[str, Any]:
    """The engine's daemon.json.

    Raises:
        ValueError: It holds no JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    try:
        config = json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(f"{path}: holds no JSON ({error}). Correct it.") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: holds no JSON object. Correct it.")
    return config


def look(params: dict[str, Any], state: state_file.State) -> dict[str, Any]:
    """All that the role decides by."""
    path, lab_name, at = Path(params["path"]), params["lab_name"], params["socket"]
    others = state_file.other_labs(path, lab_name)
    heirs = [
        str(other["lab_name"])
        for other in others.values()
        if isinstance(other["facts"].get(KEY), dict) and other["facts"][KEY].get("socket") == at
    ]
    recorded = state["facts"].get(KEY) or {}
    found = lab_docker_api.look(at)
    owner = lab_processes.Owner()
    data_root = Path(params["data_root"])
    used: dict[str, Any] = {"foreign": [], "idle": idle_on_disk(data_root)}
    if found["usable"]:
        owner = lab_processes.owner(listener_pid(at))
        labs = [lab_name, *(str(other["lab_name"]) for other in others.values())]
        used = use(at, labs)
    behind = recorded.get("way") == "unit" or owner.service == recorded.get("service")
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    config_file = Path(params["config_file"])
    return {
        **found,
        **used,
        "recorded": recorded,
        "heirs": heirs,
        "owner": {"lab": owner.lab, "service": owner.service},
        "ours": bool(recorded.get("owned")) and (not found["usable"] or behind),
        "dockerd": shutil.which("dockerd", path=search) or "",
        "config": read_config(config_file),
        "config_exists": config_file.exists(),
        "config_dir_exists": config_file.parent.exists(),
        "data_root_exists": data_root.exists(),
    }


def release(
    params: dict[str, Any], state: state_file.State, engine: dict[str, Any], *, dry: bool
) -> tuple[state_file.State, str]:
    """Give the engine away if somebody else needs it; the new state and who has it."""
    path, lab_name = Path(params["path"]), params["lab_name"]
    packages = list(engine["recorded"].get("packages") or [])
    new = state_file.without(state, "facts", KEY)
    new = state_file.without(new, "before", KEY)
    new = state_file.without(new, "packages", "", packages)
    if engine["heirs"]:
        for other_path, other in state_file.other_labs(path, lab_name).items():
            if other["lab_name"] != engine["heirs"][0]:
                continue
            heir = state_file.with_value(other, "facts", KEY, engine["recorded"])
            if KEY in state["before"]:
                heir = state_file.with_value(heir, "before", KEY, state["before"][KEY])
            heir = state_file.with_value(heir, "packages", "", packages)
            if KEY in state["services"]:
                heir = state_file.with_value(heir, "services", KEY, state["services"][KEY])
            if not dry:
                state_file.write(other_path, heir)
        return state_file.without(new, "services", KEY), str(engine["heirs"][0])
    if engine["foreign"]:
        return state_file.without(new, "services", KEY), THE_HOST
    return state, ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params, path, new_owner = module.params, Path(module.params["path"]), ""
    try:
        old = state_file.read(path, params["lab_name"])
        engine = look(params, old)
        new = old
        if params["state"] == "released" and engine["ours"]:
            new, new_owner = release(params, old, engine, dry=module.check_mode)
            if new != old and not module.check_mode:
                with state_file.locked(path):
                    state_file.write(path, new)
    except (OSError, ValueError, state_file.StateFileError) as error:
        module.fail_json(msg=f"docker: {error}")
    else:
        module.exit_json(changed=new != old, engine=engine, new_owner=new_owner)


if __name__ == "__main__":
    main()
