"""The role docker, with engines that have their own socket, data and no bridge."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.state import StateFile
from tests.support.roles import RoleRun

pytestmark = [pytest.mark.root, pytest.mark.docker]

RunRole = Callable[..., RoleRun]


def engine_inputs(folder: Path, lab_name: str) -> dict[str, Any]:
    return {
        "lab_name": lab_name,
        "lab_state_dir": str(folder / lab_name),
        "docker_socket": str(folder / "docker.sock"),
        "docker_data_root": str(folder / "data"),
        "docker_exec_root": str(folder / "exec"),
        "docker_pidfile": str(folder / "docker.pid"),
        "docker_bridge": "none",
        "docker_config_file": str(folder / "etc" / "daemon.json"),
        "docker_log_dir": str(folder / "log"),
    }


def state_of(inputs: dict[str, Any]) -> StateFile:
    return StateFile(Path(inputs["lab_state_dir"]) / "state.json")


def answers(endpoint: Path) -> bool:
    argv = ["docker", "-H", f"unix://{endpoint}", "version", "--format", "{{.Server.Version}}"]
    return shell.run(argv, timeout_s=20, check=False).returncode == 0


def kill(folder: Path, service: str) -> None:
    """End an engine and what would start it again, by SIGKILL."""
    supervisor = Path("/run") / service / "supervisor.pid"
    for path in (supervisor, folder / "docker.pid"):
        os.kill(int(path.read_text()), signal.SIGKILL)


def absent(run_role: RunRole, inputs: dict[str, Any]) -> RoleRun:
    return run_role("docker", {**inputs, "docker_state": "absent"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if shutil.which("dockerd", path="/usr/sbin:/usr/bin:/usr/local/bin") is None:
        pytest.skip("there is no dockerd: run ./lab up first")
    # A path of a unix socket has 107 characters at most.
    assert len(str(tmp_path)) < 90
    return tmp_path


@pytest.fixture
def users_engine(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An engine that somebody runs already."""
    argv = ["dockerd", "--host", f"unix://{folder}/docker.sock", "--data-root", f"{folder}/data"]
    argv += ["--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/docker.pid"]
    log = folder / "dockerd.log"
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    process = shell.start([*argv, "--bridge", "none"], stdout=log, env=env)
    end = time.monotonic() + 60
    while not answers(folder / "docker.sock"):
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < end, log.read_text()[-2000:]
        time.sleep(0.1)
    yield process
    shell.stop(process, timeout_s=40)


def test_an_engine_of_ours_is_shared_handed_over_and_removed(
    folder: Path, run_role: RunRole
) -> None:
    one = {**engine_inputs(folder, "t-dk1"), "docker_daemon_settings": {"debug": True}}
    two = engine_inputs(folder, "t-dk2")
    config = Path(one["docker_config_file"])
    config.parent.mkdir()
    config.write_text('{"max-concurrent-downloads": 2}')
    try:
        assert run_role("docker", one, check=True).changed > 0
        assert not (folder / "docker.sock").exists()
        run_role("docker", one)
        pid = (folder / "docker.pid").read_text()
        assert json.loads(config.read_text()) == {"debug": True, "max-concurrent-downloads": 2}
        assert run_role("docker", one).changed == 0

        run = run_role("docker", two)
        assert "(of the lab t-dk1) and is used as it is" in run.text
        assert state_of(two).read().facts["docker"]["owned"] is False

        assert "stays: the lab t-dk2 uses it" in absent(run_role, one).text
        assert (folder / "docker.pid").read_text() == pid
        assert state_of(one).read().facts == {}
        assert state_of(two).read().facts["docker"]["owned"] is True

        # Killed together with its supervisor, which leaves the socket's file behind.
        kill(folder, "t-dk1-docker")
        assert not answers(folder / "docker.sock")
        run_role("docker", two, tasks_from="wake")
        assert answers(folder / "docker.sock")
        assert run_role("docker", two, tasks_from="wake").changed == 0
        # As an engine leaves it that was killed, and started again.
        data = str(folder / "data")
        shell.run(["mount", "--bind", data, data], timeout_s=20)
    finally:
        for inputs in (one, two):
            if state_of(inputs).exists() and "docker" in state_of(inputs).read().facts:
                absent(run_role, inputs)
    assert not answers(folder / "docker.sock")
    assert not (folder / "data").exists()
    assert json.loads(config.read_text()) == {"max-concurrent-downloads": 2}
    assert list(Path("/etc").glob("t-dk*")) == []
    assert state_of(two).read().services == {}


def test_an_engine_that_runs_already_stays_as_it_is(
    folder: Path, run_role: RunRole, users_engine: subprocess.Popen[bytes]
) -> None:
    inputs = {**engine_inputs(folder, "t-dk3"), "docker_daemon_settings": {"debug": True}}
    run = run_role("docker", inputs)
    assert "docker_daemon_settings and docker_registry_mirror are not applied to it" in run.text
    assert not Path(inputs["docker_config_file"]).exists()
    absent(run_role, inputs)
    assert int((folder / "docker.pid").read_text()) == users_engine.pid
    assert answers(folder / "docker.sock")
    assert state_of(inputs).read().facts == {}


def test_rejects_settings_that_are_no_json(folder: Path, run_role: RunRole) -> None:
    inputs = engine_inputs(folder, "t-dk4")
    config = Path(inputs["docker_config_file"])
    config.parent.mkdir()
    config.write_text("debug: true")
    run = run_role("docker", inputs, expect_failure=True)
    assert f"docker: {config}: holds no JSON" in run.text
