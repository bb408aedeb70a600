#!/usr/bin/python
"""One image of a lab, named after the hash of what is in it."""

from __future__ import annotations

DOCUMENTATION = """
module: lab_image
short_description: Container image of a lab
description:
  - Makes an image from a base image, an archive of content and packages whose wheels are
    collected and installed on this host. A container without network puts them in their places
    and is committed; no image builder is needed.
  - The action plugin of the same name puts the archive together and computes the key.
options:
  docker_socket: {type: path, required: true, description: Socket of the Docker daemon.}
  lab_name: {type: str, required: true, description: Lab that the image belongs to.}
  name: {type: str, default: '', description: Name of the image without the lab's.}
  base: {type: str, default: '', description: Image to build on, of lab_base_image.}
  key: {type: str, default: '', description: Hash of everything that goes in.}
  context: {type: path, default: '', description: Archive of the content on this host.}
  environment: {type: dict, default: {}, description: Environment variables of the image.}
  command: {type: list, elements: str, default: [], description: What the image runs.}
  ports: {type: list, elements: int, default: [], description: Ports it listens on.}
  user: {type: str, default: root, description: User it runs as.}
  python: {type: path, default: '', description: Python with pip that collects the wheels.}
  proxy: {type: str, default: '', description: HTTP proxy in front of the Python index.}
  ca_bundle: {type: str, default: '', description: PEM file of certificate authorities.}
  wheel_dir: {type: str, default: '', description: Folder of wheels that is asked first.}
  cache_dir: {type: path, default: '', description: Folder for collected wheels.}
  timeout_s: {type: int, default: 600, description: Bound of collecting and of installing.}
  state: {type: str, choices: [present, absent], default: present, description: What is wanted.}
"""

import json
import tarfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab_docker import LAB_LABEL, Docker, DockerError
from ansible.module_utils.lab_site_packages import install
from ansible.module_utils.lab_wheels import Target, WheelsError

BUILD = "orrery-build"


class RefusedError(Exception):
    """The image cannot be made; the text says why and what to set."""


def reference(arguments: dict[str, Any]) -> str:
    """Full name of the image."""
    return f"{arguments['lab_name']}/{arguments['name']}:{arguments['key']}"


def present(docker: Docker, arguments: dict[str, Any], check: bool) -> dict[str, Any]:
    """Make sure that the image is there.

    Raises:
        RefusedError: It cannot be made.
        DockerError: The daemon refused something.
        WheelsError: Its packages cannot be had.
    """
    wanted = reference(arguments)
    facts = {"lab_image": {"name": arguments["name"], "reference": wanted}}
    diff = {"before": "", "after": f"image {wanted}\n"}
    there = docker.usable and docker.labels(wanted) is not None
    if there:
        return {"changed": False, "ansible_facts": facts}
    if check:
        return {"changed": True, "ansible_facts": facts, "diff": diff}
    if not docker.usable:
        raise RefusedError(
            f"image {wanted}: no Docker daemon at {arguments['docker_socket']}. "
            "The role docker starts one."
        )
    if not arguments["context"]:
        return {"changed": False, "needs_context": True}
    build(docker, arguments, wanted)
    own = {LAB_LABEL: arguments["lab_name"], "orrery.image": arguments["name"]}
    _, left = docker.remove_images([one for one in docker.images(**own) if one != wanted])
    return {"changed": True, "ansible_facts": facts, "diff": diff, "still_in_use": left}


def build(docker: Docker, arguments: dict[str, Any], wanted: str) -> None:
    """Install everything in a container of the base image, and commit that.

    Raises:
        RefusedError: The base image is missing, or the installation failed.
        DockerError: The daemon refused something.
        WheelsError: The packages cannot be had.
    """
    base = docker.labels(arguments["base"])
    if base is None:
        raise RefusedError(
            f"image {wanted}: there is no base image '{arguments['base']}'. "
            "The role base_image provides one."
        )
    container = docker.call(
        "create",
        "--network=none",
        "--user=0:0",
        f"--label={LAB_LABEL}={arguments['lab_name']}",
        arguments["base"],
        "python3",
        f"/{BUILD}/install.py",
    )
    try:
        with Path(arguments["context"]).open("rb") as content:
            docker.call(
                "cp", "-", f"{container}:/", stdin=content, timeout_s=arguments["timeout_s"]
            )
        add_packages(docker, arguments, container, base)
        answer = docker.try_call("start", "--attach", container, timeout_s=arguments["timeout_s"])
        if answer.code != 0:
            last = " | ".join((answer.err or answer.out).strip().splitlines()[-8:])
            raise RefusedError(f"image {wanted}: the installation inside failed: {last}")
        words = ("commit", *changes(arguments), container, wanted)
        docker.call(*words, timeout_s=arguments["timeout_s"])
    finally:
        docker.try_call("rm", "--force", container)


def add_packages(
    docker: Docker, arguments: dict[str, Any], container: str, base: dict[str, str]
) -> None:
    """Put the packages of the lock, if there is one, into the container."""
    with tarfile.open(arguments["context"]) as content:
        if f"{BUILD}/requirements.lock" not in content.getnames():
            return
        member = content.extractfile(f"{BUILD}/requirements.lock")
        lock = member.read().decode() if member else ""
    target = Target(
        base.get("orrery.python", ""), base.get("orrery.machine", ""), base.get("orrery.glibc", "")
    )
    with install(lock, target, arguments).open("rb") as packages:
        docker.call("cp", "-", f"{container}:/", stdin=packages, timeout_s=arguments["timeout_s"])


def changes(arguments: dict[str, Any]) -> list[str]:
    """Configuration of the image, as arguments of docker commit."""
    labels = {
        LAB_LABEL: arguments["lab_name"],
        "orrery.image": arguments["name"],
        "orrery.key": arguments["key"],
    }
    lines = [f'LABEL {key}="{value}"' for key, value in labels.items()]
    lines += [f"ENV {key}={json.dumps(str(value))}" for key, value in environment(arguments)]
    lines += [f"EXPOSE {port}" for port in arguments["ports"]]
    lines += [f"CMD {json.dumps(arguments['command'])}", f"USER {arguments['user']}"]
    lines.append("WORKDIR /")
    return [f"--change={line}" for line in lines]


def environment(arguments: dict[str, Any]) -> list[tuple[str, Any]]:
    """Variables in a fixed order."""
    return sorted(arguments["environment"].items())


def absent(docker: Docker, arguments: dict[str, Any], check: bool) -> dict[str, Any]:
    """Remove the images of the lab, or those of one name.

    Raises:
        RefusedError: Images are still in use.
    """
    if not docker.usable:
        return {"changed": False}
    labels = {LAB_LABEL: arguments["lab_name"]}
    if arguments["name"]:
        labels["orrery.image"] = arguments["name"]
    names = docker.images(**labels)
    if check or not names:
        return {"changed": bool(names)}
    _, left = docker.remove_images(names)
    if left:
        raise RefusedError(
            f"images {', '.join(left)} are in use. Remove the containers made from them first."
        )
    return {"changed": True, "removed": names}


def main() -> None:
    """Run the module."""
    text = {"type": "str", "default": ""}
    module = AnsibleModule(
        argument_spec={
            "docker_socket": {"type": "path", "required": True},
            "lab_name": {"type": "str", "required": True},
            "name": text,
            "base": text,
            "key": {"type": "str", "default": "", "no_log": False},
            "context": {"type": "path", "default": ""},
            "environment": {"type": "dict", "default": {}},
            "command": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "user": {"type": "str", "default": "root"},
            "python": {"type": "path", "default": ""},
            "proxy": text,
            "ca_bundle": text,
            "wheel_dir": text,
            "cache_dir": {"type": "path", "default": ""},
            "timeout_s": {"type": "int", "default": 600},
            "state": {"choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    docker = Docker(module.params["docker_socket"])
    act = present if module.params["state"] == "present" else absent
    try:
        module.exit_json(**act(docker, module.params, module.check_mode))
    except (RefusedError, WheelsError, DockerError, OSError, tarfile.TarError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
