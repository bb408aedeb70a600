"""The daemon that tests of roles use, under names of their own: the lab's, or a given one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from orrery import shell

SOCKET = os.environ.get("ORRERY_TEST_IMAGES_FROM", "/var/run/docker.sock")


def docker(*words: str, timeout_s: float = 60, check: bool = True) -> str:
    """Standard output of the docker client, stripped."""
    argv = ["docker", "--host", f"unix://{SOCKET}", *words]
    return shell.run(argv, timeout_s=timeout_s, check=check).stdout.strip()


def images(**labels: str) -> list[str]:
    """References of images with these labels."""
    filters = [f"--filter=label={key}={value}" for key, value in labels.items()]
    return docker("images", "--format", "{{.Repository}}:{{.Tag}}", *filters).split()


def inspect(kind: str, name: str) -> dict[str, Any]:
    """Description of one object."""
    described: dict[str, Any] = json.loads(docker(kind, "inspect", name))[0]
    return described


def base_image() -> str:
    """The lab's base image, not one of another test; skips where there is none."""
    found = [one for one in images(**{"orrery.image": "base"}) if not one.startswith("t-base/")]
    if not found:
        pytest.skip(f"{SOCKET} has no base image: run ./lab up first")
    return found[0]


@contextmanager
def network(lab_name: str, subnet: str, gateway: str) -> Iterator[None]:
    """A network as function_network makes it, for the time of a test."""
    name = f"{lab_name}-functions"
    docker("network", "rm", name, check=False)
    bridge = f"--opt=com.docker.network.bridge.name={lab_name}-fn0"
    docker("network", "create", f"--subnet={subnet}", f"--gateway={gateway}", bridge, name)
    try:
        yield
    finally:
        docker("network", "rm", name, check=False)
