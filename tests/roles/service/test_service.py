"""The role service, run on this host with a small web server of Python's."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery.state import StateFile
from tests.support.roles import RoleRun

pytestmark = pytest.mark.root

NAME = "t-service-web"
RunRole = Callable[..., RoleRun]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def await_value(look: Callable[[], Any], timeout_s: float = 30) -> Any:
    end = time.monotonic() + timeout_s
    while not (value := look()):
        assert time.monotonic() < end, "nothing came within 30 s"
        time.sleep(0.1)
    return value


def pid_of_service() -> int:
    try:
        return int(Path("/run", NAME, "supervise", "pid").read_text() or 0)
    except (OSError, ValueError):
        return 0


def has_ended(pid: int) -> bool:
    """Gone, or a zombie that process 1 has not collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def traces() -> list[str]:
    places = [Path("/etc"), Path("/run"), Path("/etc/init.d"), *Path("/etc").glob("rc?.d")]
    return [str(path) for place in places for path in place.glob(f"*{NAME}*")]


@pytest.fixture
def web(tmp_path: Path, run_role: RunRole) -> Iterator[dict[str, Any]]:
    """Inputs of the role; the service is gone afterwards."""
    if Path("/run/systemd/system").is_dir():
        pytest.skip("not here: systemd is process 1, and ./lab up itself runs the other branch")
    (tmp_path / "watched").write_text("1")
    port = free_port()
    variables = {
        "lab_name": "t-service",
        "lab_state_dir": str(tmp_path / "lab"),
        "lab_log_dir": str(tmp_path / "log"),
        "service_name": NAME,
        "service_command": [
            *["/usr/bin/python3", "-m", "http.server", str(port)],
            *["--bind", "127.0.0.1", "--directory", str(tmp_path)],
        ],
        "service_environment": {"GREETING": 'it\'s "quoted" $HOME'},
        "service_limits": {"nofile": 512},
        "service_ready": [f"http://127.0.0.1:{port}/watched", f"tcp:127.0.0.1:{port}"],
        "service_restart_on": [str(tmp_path / "watched")],
        "service_record": {"address": f"127.0.0.1:{port}", "kind": "web"},
    }
    yield variables
    if traces():
        run_role("service", {**variables, "service_state": "absent"})
    assert traces() == []


def test_a_service_runs_is_started_again_and_leaves_no_trace(
    web: dict[str, Any], run_role: RunRole, tmp_path: Path
) -> None:
    assert run_role("service", web, check=True).changed > 0
    assert traces() == []

    assert run_role("service", web).changed > 0
    url = web["service_ready"][0]
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"1"
    first = pid_of_service()
    environ = Path(f"/proc/{first}/environ").read_text()
    assert 'GREETING=it\'s "quoted" $HOME' in environ
    assert "ORRERY_LAB=t-service" in environ
    assert "PYTEST" not in environ
    assert " 512 " in Path(f"/proc/{first}/limits").read_text().split("Max open files")[1]
    service = StateFile(tmp_path / "lab" / "state.json").read().services["web"]
    assert (service.address, service.kind) == (web["service_record"]["address"], "web")
    assert "GET /watched" in await_value(Path(service.log).read_text)

    assert run_role("service", web).changed == 0
    assert run_role("service", web, check=True).changed == 0
    assert pid_of_service() == first

    os.kill(first, signal.SIGKILL)
    second = await_value(lambda: (pid := pid_of_service()) not in (0, first) and pid)

    Path(web["service_restart_on"][0]).write_text("2")
    assert run_role("service", web).changed == 1
    assert pid_of_service() not in (0, second)

    assert run_role("service", {**web, "service_state": "absent"}).changed > 0
    assert traces() == []
    assert StateFile(tmp_path / "lab" / "state.json").read().services == {}


def test_a_process_without_its_supervisor_is_stopped_before_the_next(
    web: dict[str, Any], run_role: RunRole
) -> None:
    run_role("service", web)
    orphan = pid_of_service()
    os.kill(int(Path("/run", NAME, "supervisor.pid").read_text()), signal.SIGKILL)
    run_role("service", web)
    assert has_ended(orphan)
    assert pid_of_service() not in (0, orphan)


def test_a_port_that_somebody_else_holds_is_reported_with_the_log(
    web: dict[str, Any], run_role: RunRole
) -> None:
    host, port = web["service_record"]["address"].split(":")
    with socket.create_server((host, int(port))):
        run = run_role("service", web, expect_failure=True)
    assert f"127.0.0.1:{port} is held by pid {os.getpid()} (" in run.text
    assert "Address already in use" in run.text


def test_rejects_a_name_without_the_labs(web: dict[str, Any], run_role: RunRole) -> None:
    run = run_role("service", {**web, "service_name": "web"}, expect_failure=True)
    assert "service web: the name has to begin with t-service-" in run.text
