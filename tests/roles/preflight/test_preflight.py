"""The role preflight: one look, all findings."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.roles import RoleRun

pytestmark = pytest.mark.root

RunRole = Callable[..., RoleRun]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_host_that_will_do_is_described_and_not_changed(
    run_role: RunRole, tmp_path: Path
) -> None:
    variables = {
        "lab_name": "t-preflight",
        "preflight_listen": [f"127.0.0.1:{free_port()}"],
        "preflight_registry_url": f"http://127.0.0.1:{free_port()}/v2/",
        "preflight_wheel_dir": str(tmp_path),
    }
    run = run_role("preflight", variables)
    assert run.changed == 0
    assert "container registry: not reachable -> the base image is bootstrapped" in run.text
    assert f"wheels come from {tmp_path}" in run.text
    assert "services: " in run.text
    assert "host: " in run.text


def test_rejects_everything_that_is_wrong_at_once(run_role: RunRole) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        variables = {
            "lab_name": "Too_Odd",
            "lab_port_base": "80000",
            "faas_engine": "remote",
            "base_image_method": "magic",
            "preflight_listen": [taken],
            "preflight_memory_mb": 99999999,
            "preflight_disk_mb": {"/var": 99999999},
            "preflight_releases": {"debian": "99", "ubuntu": "99.04"},
            "preflight_cpu_flags": {"x86_64": ["warp"], "aarch64": ["warp"]},
            "preflight_python": "/no/such/python",
            "preflight_registry_url": "",
            "preflight_wheel_dir": "/tmp",
        }
        run = run_role("preflight", variables, expect_failure=True)
    assert "10 of 18 checks failed" in run.text
    for sentence in (
        "lab_name: Too_Odd; needed: a letter, then up to 11 of a-z, 0-9 and -. Set lab_name.",
        "lab_port_base: 80000; needed: 1024 to 65515. Set lab_port_base.",
        "faas_engine: remote; needed: embedded. openwhisk and remote come later",
        "base_image_method: magic; needed: auto, registry or bootstrap.",
        f"ports: {taken} is held by pid {os.getpid()} (",
        "MB; needed: 99999999 MB. Give the host more memory, or set preflight_memory_mb.",
        "disk: /var has ",
        "needed: Debian 99 or Ubuntu 99.04, or newer.",
        "without warp; needed: 1 with warp.",
        "Python of the services: /no/such/python",
    ):
        assert sentence in run.text
