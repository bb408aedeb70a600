"""The role vm_forward: ports of a VM on its host's loopback, and what goes along with them."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery.state import LabState, StateFile
from tests.support import ssh_server
from tests.support.roles import RoleRun

pytestmark = pytest.mark.root

RunRole = Callable[..., RoleRun]
NAME = "t-forward"


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[int]:
    """Port of a web server that stands for the functions API inside the VM."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "ping").write_text("pong")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def inputs(folder: Path, vm: ssh_server.Running, inside: int) -> dict[str, Any]:
    """The VM is this host, too, so that its state and credentials are files of the test."""
    state = LabState(NAME)
    state.facts = {
        "vm": {
            "name": ssh_server.ALIAS,
            "address": "127.0.0.1",
            "port": vm.port,
            "user": ssh_server.USER,
            "key": str(vm.key),
            "known_hosts": str(vm.known_hosts),
        },
        "api_url": "http://127.0.0.1:1/",
    }
    StateFile(folder / "state.json").write(state)
    (folder / "credentials.json").write_text(json.dumps({"uuid": "u", "key": "k"}))
    port = free_port()
    return {
        "lab_name": NAME,
        "lab_state_file": str(folder / "state.json"),
        "lab_log_dir": str(folder / "log"),
        "vm_forward_vm": "localhost",
        "vm_forward_ready_timeout_s": 20,
        "vm_forward_credentials": str(folder / "credentials.json"),
        "vm_forward_ports": [{"listen": f"127.0.0.1:{port}", "to": f"127.0.0.1:{inside}"}],
        "vm_forward_ready": [f"http://127.0.0.1:{port}/ping"],
    }


def test_a_port_inside_appears_here_and_goes_again(
    run_role: RunRole, tmp_path: Path, inside: int
) -> None:
    with ssh_server.running(tmp_path) as vm:
        variables = inputs(tmp_path, vm, inside)
        try:
            assert run_role("vm_forward", variables).changed > 0
            url = variables["vm_forward_ready"][0]
            assert urllib.request.urlopen(url, timeout=10).read() == b"pong"
            state = StateFile(tmp_path / "state.json").read()
            assert state.services["forward"].health == url
            assert run_role("vm_forward", variables).changed == 0
        finally:
            run_role("vm_forward", {**variables, "vm_forward_state": "absent"})
    assert "forward" not in StateFile(tmp_path / "state.json").read().services
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=10)


def test_rejects_a_vm_that_shows_another_key(
    run_role: RunRole, tmp_path: Path, inside: int
) -> None:
    with ssh_server.running(tmp_path) as vm:
        variables = inputs(tmp_path, vm, inside)
        other = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        vm.known_hosts.write_text(f"{ssh_server.ALIAS} ssh-ed25519 {other}\n", encoding="ascii")
        try:
            run = run_role("vm_forward", variables, expect_failure=True)
            assert "Host key verification failed" in run.text
        finally:
            run_role("vm_forward", {**variables, "vm_forward_state": "absent"})
