#!/usr/bin/python
"""The image that all images of a lab are built on: pulled, or bootstrapped from a mirror."""

from __future__ import annotations

DOCUMENTATION = """
module: lab_base_image
short_description: Base image of a lab, pulled or bootstrapped
description:
  - Gives a Docker image with Python and certificates a name of the lab's own.
  - Pulls it where a registry answers, otherwise makes it with mmdebstrap from the mirror that
    the host itself installs from. The archive is cached under a key of what goes in.
options:
  docker_socket: {type: path, required: true, description: Socket of the Docker daemon.}
  lab_name: {type: str, required: true, description: Lab that the image belongs to.}
  method: {type: str, choices: [auto, registry, bootstrap], default: auto, description: Way.}
  registry_image: {type: str, default: '', description: Image to pull.}
  registry_reachable: {type: str, default: '', description: Known answer, yes or no; empty tries.}
  pull_timeout_s: {type: int, default: 300, description: Bound of a pull in seconds.}
  suite: {type: str, default: '', description: Code name of the distribution to bootstrap.}
  architecture: {type: str, default: amd64, description: Architecture in Debian's words.}
  packages: {type: list, elements: str, default: [], description: Packages of the image.}
  revision: {type: str, default: '1', description: Change it to build again.}
  mirror: {type: str, default: '', description: Mirror; empty takes the host's own.}
  proxy: {type: str, default: '', description: HTTP proxy in front of the mirror.}
  ca_bundle: {type: str, default: '', description: PEM file of certificate authorities.}
  cache_dir: {type: path, required: true, description: Folder for the bootstrapped archive.}
  bootstrap_timeout_s: {type: int, default: 900, description: Bound of a bootstrap in seconds.}
  reason: {type: str, default: '', description: Why it is bootstrapped, for the record.}
  state:
    description: V(cached) makes the archive only, for another host, and needs no Docker.
    type: str
    choices: [present, cached, absent]
    default: present
"""

import json
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab_bootstrap import (
    RECIPE,
    RefusedError,
    archive_path,
    bootstrap,
    bootstrap_key,
    cached,
    digest,
    only_one,
)
from ansible.module_utils.lab_docker import LAB_LABEL, Docker, DockerError

OLDEST_PYTHON = (3, 11)
PROBE = (
    "import json, platform, sys; print(json.dumps({'python': '%d.%d' % sys.version_info[:2], "
    "'glibc': platform.libc_ver()[1], 'machine': platform.machine()}))"
)


def candidates(arguments: dict[str, Any]) -> dict[str, str]:
    """Way to local name, for every way that the method allows, in the order of trying."""
    repository = f"{arguments['lab_name']}/base"
    pulled = digest(RECIPE, arguments["registry_image"], arguments["revision"])
    made = bootstrap_key(arguments)
    names = {
        "registry": f"{repository}:registry-{pulled}",
        "bootstrap": f"{repository}:{arguments['suite']}-{made}",
    }
    method = arguments["method"]
    return names if method == "auto" else {method: names[method]}


def finish(docker: Docker, source: str, name: str, labels: dict[str, str]) -> dict[str, str]:
    """Ask Python inside about itself, and give the image its name and labels.

    Raises:
        RefusedError: There is no Python in it, or one that is too old.
    """
    owner = f"--label={LAB_LABEL}={labels[LAB_LABEL]}"
    container = docker.call("create", "--network=none", owner, source, "python3", "-c", PROBE)
    try:
        answer = docker.try_call("start", "--attach", container)
        try:
            facts: dict[str, str] = json.loads(answer.out)
        except ValueError as error:
            raise RefusedError(
                f"base image: python3 does not run in {source}: {answer.err.strip()[-300:]}. "
                "Set base_image_registry_image or base_image_packages to something with Python."
            ) from error
        if tuple(int(part) for part in facts["python"].split(".")) < OLDEST_PYTHON:
            raise RefusedError(
                f"base image: Python {facts['python']} found in {source}, 3.11 or newer is "
                "needed. Set base_image_registry_image or base_image_packages to one that has it."
            )
        labels = {**labels, **{f"orrery.{key}": value for key, value in facts.items()}}
        changes = [f'--change=LABEL {key}="{text}"' for key, text in labels.items()]
        changes.append('--change=CMD ["python3"]')
        docker.call("commit", *changes, container, name, timeout_s=180)
    finally:
        docker.try_call("rm", "--force", container)
    return labels


def plain(text: str) -> str:
    """Text as it can stand in a Dockerfile's LABEL: nothing to expand, nothing to end at."""
    printable = "".join(one if one.isascii() and one.isprintable() else " " for one in text)
    return printable.translate(str.maketrans('$`\\"', "   '"))


def pull(docker: Docker, arguments: dict[str, Any], name: str, why: str) -> dict[str, str]:
    """Pull the registry's image and name it.

    Raises:
        DockerError: The registry did not answer, or not in time.
    """
    image = arguments["registry_image"]
    labels = {**own_labels(arguments, "registry"), "orrery.reason": why}
    if docker.labels(image) is None:
        docker.call("pull", "--quiet", image, timeout_s=arguments["pull_timeout_s"])
        labels["orrery.pulled"] = image
    return finish(docker, image, name, labels)


def import_archive(
    docker: Docker, arguments: dict[str, Any], name: str, why: str
) -> dict[str, str]:
    """Import the cached archive and name it."""
    labels = {**own_labels(arguments, "bootstrap"), "orrery.reason": why}
    with archive_path(arguments).open("rb") as handle:
        change = f"--change=LABEL {LAB_LABEL}={arguments['lab_name']}"
        source = docker.call("import", change, "-", stdin=handle, timeout_s=300)
    return finish(docker, source, name, labels)


def own_labels(arguments: dict[str, Any], way: str) -> dict[str, str]:
    """Labels every base image of the lab carries."""
    return {
        LAB_LABEL: arguments["lab_name"],
        "orrery.image": "base",
        "orrery.base": candidates(arguments)[way].rsplit("-", 1)[1],
        "orrery.method": way,
    }


def result(name: str, labels: dict[str, str], reason: str, **more: Any) -> dict[str, Any]:
    """What the module returns about a present image."""
    return {
        "ansible_facts": {
            "lab_base_image": {
                "name": name,
                "method": labels.get("orrery.method", ""),
                "reason": reason,
                "python": labels.get("orrery.python", ""),
                "glibc": labels.get("orrery.glibc", ""),
                "machine": labels.get("orrery.machine", ""),
            }
        },
        "needs": [],
        **more,
    }


def present(docker: Docker, arguments: dict[str, Any], check: bool) -> dict[str, Any]:
    """Make sure that the image is there.

    Raises:
        RefusedError: No allowed way leads to it.
        DockerError: The daemon refused something.
    """
    names = candidates(arguments)
    if not docker.usable and not check:
        raise RefusedError(
            f"base image: no Docker daemon at {arguments['docker_socket']}. "
            "The role docker starts one."
        )
    if docker.usable:
        for name in names.values():
            labels = docker.labels(name)
            if labels is not None:
                return result(name, labels, labels.get("orrery.reason", ""), changed=False)
    if check:
        way, name = list(names.items())[-1]
        labels = {"orrery.method": way}
        return result(name, labels, "not looked at in check mode", changed=True)
    return obtain(docker, arguments, names)


def obtain(docker: Docker, arguments: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Pull or bootstrap, whichever the method allows and the world permits.

    Raises:
        RefusedError: No allowed way leads to the image.
        DockerError: The daemon refused something.
    """
    why = arguments["reason"] or "base_image_method is bootstrap"
    if "registry" in names:
        image, known = arguments["registry_image"], arguments["registry_reachable"].lower()
        forced = "bootstrap" not in names
        why = f"the registry of {image or 'no image'} was found not to answer"
        if image and (forced or known not in ("no", "false")):
            try:
                labels = pull(docker, arguments, names["registry"], f"{image} could be pulled")
            except DockerError as error:
                why = plain(f"{image} could not be pulled ({str(error).rpartition('daemon: ')[2]})")
            else:
                reason = labels["orrery.reason"]
                return tidy(docker, arguments, names["registry"], labels, reason)
        if forced:
            raise RefusedError(
                f"base image: {why}. Set base_image_method to auto or bootstrap, or "
                "base_image_registry_image to an image that this host can pull."
            )
    archive = archive_path(arguments)
    with only_one(archive.parent):
        if not cached(archive):
            if shutil.which("mmdebstrap") is None:
                return {"changed": False, "needs": ["mmdebstrap"], "reason": why}
            bootstrap(arguments, archive)
        labels = import_archive(docker, arguments, names["bootstrap"], why)
    return tidy(docker, arguments, names["bootstrap"], labels, why)


def cache(arguments: dict[str, Any], check: bool) -> dict[str, Any]:
    """Make sure that the archive of a bootstrapped image is there.

    Raises:
        RefusedError: It cannot be made.
    """
    archive = archive_path(arguments)
    there = {"changed": False, "needs": [], "archive": str(archive)}
    if check:
        return {**there, "changed": not archive.is_file()}
    with only_one(archive.parent):
        if cached(archive):
            return there
        if shutil.which("mmdebstrap") is None:
            return {**there, "needs": ["mmdebstrap"]}
        bootstrap(arguments, archive)
    return {**there, "changed": True}


def tidy(
    docker: Docker, arguments: dict[str, Any], name: str, labels: dict[str, str], reason: str
) -> dict[str, Any]:
    """Untag earlier base images of this lab, and report the new one."""
    own = {LAB_LABEL: arguments["lab_name"], "orrery.image": "base"}
    docker.remove_images([one for one in docker.images(**own) if one != name])
    return result(name, labels, reason, changed=True)


def absent(docker: Docker, arguments: dict[str, Any], check: bool) -> dict[str, Any]:
    """Remove the lab's base images, and what was pulled for them.

    Raises:
        RefusedError: Images are still in use.
    """
    if not docker.usable:
        return {"changed": False}
    own = {LAB_LABEL: arguments["lab_name"], "orrery.image": "base"}
    names = docker.images(**own)
    if check or not names:
        return {"changed": bool(names)}
    pulled = {(docker.labels(name) or {}).get("orrery.pulled", "") for name in names} - {""}
    _, left = docker.remove_images(names)
    if left:
        raise RefusedError(
            f"base image: {', '.join(left)} is in use. Remove the containers and images on it."
        )
    # Somebody else may have built on what we pulled; then it stays.
    docker.remove_images(sorted(pulled))
    return {"changed": True, "removed": names}


def main() -> None:
    """Run the module."""
    text = {"type": "str", "default": ""}
    module = AnsibleModule(
        argument_spec={
            "docker_socket": {"type": "path", "required": True},
            "lab_name": {"type": "str", "required": True},
            "method": {"choices": ["auto", "registry", "bootstrap"], "default": "auto"},
            "registry_image": text,
            "registry_reachable": text,
            "pull_timeout_s": {"type": "int", "default": 300},
            "suite": text,
            "architecture": {"type": "str", "default": "amd64"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "revision": {"type": "str", "default": "1"},
            "mirror": text,
            "proxy": text,
            "ca_bundle": text,
            "cache_dir": {"type": "path", "required": True},
            "bootstrap_timeout_s": {"type": "int", "default": 900},
            "reason": text,
            "state": {"choices": ["present", "cached", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    try:
        if module.params["state"] == "cached":
            module.exit_json(**cache(module.params, module.check_mode))
        docker = Docker(module.params["docker_socket"])
        act = present if module.params["state"] == "present" else absent
        module.exit_json(**act(docker, module.params, module.check_mode))
    except (RefusedError, DockerError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
