"""A second engine beside the lab's, with names, a port and a network of its own."""

from __future__ import annotations

import http.client
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.state import StateFile
from tests.support.roles import RoleRun

pytestmark = [pytest.mark.root, pytest.mark.lab]

RunRole = Callable[..., RoleRun]
NETWORK = {"lab_name": "t-wsk", "lab_function_subnet": "10.161.91.0/24"}


@pytest.fixture
def values(lab_state_path: Path, run_role: RunRole) -> Iterator[dict[str, Any]]:
    run_role("function_network", NETWORK)
    chosen = {
        **NETWORK,
        "lab_port_base": "4333",
        "lab_python": "/opt/orrery/venv/bin/python",
        "whisk_embedded_pool_memory_mb": "512",
        "whisk_embedded_base_image": StateFile(lab_state_path).read().facts["base_image"]["name"],
    }
    yield chosen
    if Path("/etc/t-wsk/engine.toml").exists():
        run_role("whisk_embedded", {**chosen, "whisk_embedded_state": "absent"})
    run_role("function_network", {**NETWORK, "function_network_state": "absent"})
    for folder in ("/etc/t-wsk", "/run/t-wsk", "/var/lib/t-wsk", "/var/log/t-wsk"):
        shell.run(["rm", "-rf", folder], timeout_s=20)


def _get(path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", 4333, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_engine_is_made_once_and_restarted_for_a_new_setting(
    run_role: RunRole, values: dict[str, Any]
) -> None:
    assert run_role("whisk_embedded", values).changed > 0
    assert _get("/ping")[0] == 200
    credentials = Path("/etc/t-wsk/credentials.json")
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path("/etc/t-wsk/engine.toml").stat().st_mode) == 0o600
    first = json.loads(credentials.read_text())
    assert not first["uuid"].startswith("23bc46b1")
    assert _get("/api/v1/namespaces")[0] == 401
    again = run_role("whisk_embedded", values)
    assert again.changed == 0, again.output
    assert first["key"] not in again.output
    changed = run_role("whisk_embedded", {**values, "whisk_embedded_concurrent_invocations": "7"})
    assert len(changed.changed_tasks) == 2
    assert json.loads(_get("/")[1])["limits"]["concurrent_actions"] == 30
    assert json.loads(credentials.read_text()) == first
    taken = {**values, "whisk_embedded_port": "3233", "service_ready_timeout_s": "5"}
    refused = run_role("whisk_embedded", taken, expect_failure=True)
    assert "port 3233 of 127.0.0.1 is taken" in refused.text
    absent = {**values, "whisk_embedded_state": "absent"}
    assert run_role("whisk_embedded", absent).changed > 0
    assert not credentials.exists()
    with pytest.raises(ConnectionRefusedError):
        _get("/ping")
    assert run_role("whisk_embedded", absent).changed == 0


def test_a_port_that_is_none_is_refused(run_role: RunRole) -> None:
    values = {**NETWORK, "whisk_embedded_port": "0"}
    run = run_role("whisk_embedded", values, expect_failure=True)
    assert "whisk_embedded_port is 0 (1 to 65535 needed)" in run.text
