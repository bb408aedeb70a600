from __future__ import annotations

import http.client
import json
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab_docker import SOCKET, base_image, network
from tests.support.roles import RoleRun

pytestmark = [pytest.mark.root, pytest.mark.lab]

RunRole = Callable[..., RoleRun]

LAB = "t-files"
SUBNET = "10.161.203.0/24"
GATEWAY = "10.161.203.1"
PORT = 3240


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that workers can reach, which are not root; tmp_path is root's alone."""
    with tempfile.TemporaryDirectory(prefix=f"{LAB}-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def variables(folder: Path) -> Iterator[dict[str, Any]]:
    with network(LAB, SUBNET, GATEWAY):
        yield {
            "lab_name": LAB,
            "lab_docker_socket": SOCKET,
            "lab_function_subnet": SUBNET,
            "lab_state_dir": str(folder / "state"),
            "lab_config_dir": str(folder / "etc"),
            "lab_log_dir": str(folder / "log"),
            "lab_run_dir": str(folder / "run"),
            "http_files_port": PORT,
            "http_files_probe_image": base_image(),
        }


def ask(method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(GATEWAY, PORT, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_defaults_serve_one_folder_to_one_network_and_take_the_server_back(
    run_role: RunRole, folder: Path, variables: dict[str, Any]
) -> None:
    absent = {**variables, "http_files_state": "absent"}
    data = folder / "state" / "data"
    data.mkdir(parents=True)
    (data / "digits.txt").write_text("0123456789", encoding="utf-8")
    (folder / "secret.txt").write_text("outside", encoding="utf-8")
    (data / "link.txt").symlink_to(folder / "secret.txt")
    try:
        run_role("http_files", variables)
        status, headers, body = ask("GET", "/digits.txt")
        assert (status, body) == (200, b"0123456789")
        assert headers["Server"] == "nginx"
        status, _, body = ask("GET", "/digits.txt", Range="bytes=2-4")
        assert (status, body) == (206, b"234")
        assert b"digits.txt" in ask("GET", "/")[2]
        assert ask("HEAD", "/digits.txt")[0] == 200
        for method in ("POST", "PUT", "DELETE"):
            assert ask(method, "/digits.txt")[0] == 405
        assert ask("GET", "/link.txt")[0] == 403
        assert ask("GET", "/../secret.txt")[0] == 400
        assert ask("GET", "/%2e%2e/secret.txt")[0] == 400
        assert '"GET /digits.txt HTTP/1.1" 200' in (folder / "log/files/current").read_text()
        again = run_role("http_files", variables)
        assert again.changed == 0, again.changed_tasks
        state = json.loads((folder / "state" / "state.json").read_text(encoding="utf-8"))
        assert state["facts"]["files_url"] == f"http://{GATEWAY}:{PORT}"
    finally:
        run_role("http_files", absent)
    assert not Path(f"/etc/{LAB}-files").exists()
    with socket.socket() as gone:
        assert gone.connect_ex((GATEWAY, PORT)) != 0


def test_rejects_an_address_that_is_open_to_everybody(
    run_role: RunRole, variables: dict[str, Any]
) -> None:
    values = {**variables, "http_files_address": "0.0.0.0"}
    run = run_role("http_files", values, expect_failure=True)
    assert "http_files_address is '0.0.0.0'" in run.text
    assert "one address of the containers' network" in run.text


def test_rejects_a_firewall_between_containers_and_the_server(
    run_role: RunRole, variables: dict[str, Any]
) -> None:
    # A container without a network stands for one whose packets are dropped.
    values = {**variables, "http_files_network": "none"}
    try:
        run = run_role("http_files", values, expect_failure=True)
    finally:
        run_role("http_files", {**variables, "http_files_state": "absent"})
    assert "answers on this host but not inside a container of none" in run.text
    assert f"ufw allow in on {LAB}-fn0" in run.text
