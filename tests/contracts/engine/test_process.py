"""The engine as a process: exit codes, signals, and being killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.engine import messages
from orrery.engine.__main__ import main
from tests.fakes.engine import KEY, Client, EngineServer, document, settings

CHECKOUT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tools'}"}
ACTIVATIONS = "/api/v1/namespaces/_/activations"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def write(folder: Path, **changes: Any) -> Path:
    """A configuration file."""

    def lines(table: dict[str, Any]) -> list[str]:
        return [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items()]

    values = document(folder, **changes)
    users, runtimes = values.pop("users"), values.pop("runtimes")
    text = [*lines(values), "[runtimes]", *lines(runtimes)]
    for user in users:
        text += ["[[users]]", *lines(user)]
    path = folder / "engine.toml"
    path.write_text("\n".join(text))
    path.chmod(0o600)
    return path


class Engines:
    """Engines as processes; those that still run are ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.log = folder / "engine.log"
        self._config = write(folder, listen=[f"127.0.0.1:{self.port}"])
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        process = shell.start(
            [sys.executable, "-m", "tests.fakes.engine", self._config],
            cwd=CHECKOUT,
            env=ENVIRONMENT,
            stdout=self.log,
        )
        self._processes.append(process)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return process
        raise AssertionError(f"the engine does not listen:\n{self.log.read_text()}")

    def end(self) -> None:
        for process in self._processes:
            shell.stop(process)


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    made = Engines(tmp_path)
    yield made
    made.end()


def test_a_right_configuration_is_checked_without_a_word(tmp_path: Path) -> None:
    assert main(["--config", str(write(tmp_path)), "--check"]) == 0
    assert not (tmp_path / "engine.db").exists()


def test_a_wrong_configuration_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, pool_memory_mb="much")
    assert main(["--config", str(path), "--check"]) == 2
    assert capsys.readouterr().err == (
        f"{path}: pool_memory_mb: 'much' found, a whole number >= 128 needed\n"
    )


def test_a_taken_port_exits_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = write(tmp_path, listen=[f"127.0.0.1:{free_port()}", f"127.0.0.1:{port}"])
        assert main(["--config", str(path)]) == 3
    assert capsys.readouterr().err == (
        f"port {port} of 127.0.0.1 is taken by another process: stop it, or move this lab with "
        "lab_port_base\n"
    )


def test_an_address_of_another_host_exits_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, listen=["192.0.2.1:3233"])
    assert main(["--config", str(path)]) == 3
    assert capsys.readouterr().err == (
        "192.0.2.1 is no address of this host: the lab's function network has to be there\n"
    )


def test_sigterm_ends_the_engine_in_order(engines: Engines) -> None:
    process = engines.start()
    client = Client(engines.port)
    client.put("held")
    assert client.invoke("held", None, "").status == 202
    client.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, engines.log.read_text()
    engines.start()
    client = Client(engines.port)
    (record,) = client.call("GET", f"{ACTIVATIONS}?docs=true").json
    assert record["name"] == "held"
    client.close()


def test_a_killed_engine_loses_nothing_that_it_answered(engines: Engines) -> None:
    process = engines.start()
    client = Client(engines.port)
    client.put("echo")
    client.put("held")
    held = [client.invoke("held", None, "").json["activationId"] for _ in range(10)]
    client.close()
    answered: list[tuple[str, int]] = []
    enough = threading.Barrier(9, timeout=60)

    def invoke(worker: int) -> None:
        own, waiting = Client(engines.port), True
        for number in range(1_000_000):
            value = worker * 1_000_000 + number
            try:
                reply = own.invoke("echo", {"value": value})
            except (OSError, http.client.HTTPException):
                break
            assert reply.status == 200
            answered.append((reply.json["activationId"], value))
            if waiting and number >= 5:
                waiting = False
                enough.wait()
        own.close()

    threads = [threading.Thread(target=invoke, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    enough.wait()
    process.kill()
    process.wait(60)
    for thread in threads:
        thread.join(60)
    engines.start()
    client = Client(engines.port)
    assert len(answered) >= 48
    for activation_id, value in answered:
        reply = client.call("GET", f"{ACTIVATIONS}/{activation_id}")
        assert reply.status == 200
        assert reply.json["response"]["result"] == {"value": value}
    for activation_id in held:
        response = client.call("GET", f"{ACTIVATIONS}/{activation_id}").json["response"]
        assert response["status"] == "whisk internal error"
        assert response["result"] == {"error": messages.ENGINE_STOPPED}
    assert client.call("GET", "/api/v1/namespaces/_/actions?count=true").json == {"actions": 2}
    assert client.invoke("echo", {"value": 1}).status == 200
    client.close()


def test_the_log_names_requests_but_no_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with EngineServer(settings(tmp_path)) as server:
        client = server.client()
        path = "/api/v1/namespaces/_/actions/a%0Ab?token=hidden"
        reply = client.call("GET", path, headers={"X-Request-ID": "tid-9"})
        assert reply.status == 400
        client.close()
    (line,) = [line for line in caplog.messages if "actions" in line]
    assert line.startswith("GET /api/v1/namespaces/_/actions/a%0Ab 400 ")
    assert line.endswith(" ms tid-9")
    text = "\n".join(caplog.messages)
    assert "hidden" not in text
    assert KEY not in text


def test_stopping_stops_the_invoker(tmp_path: Path) -> None:
    with EngineServer(settings(tmp_path)) as server:
        assert server.invoker.started
    assert server.invoker.stopped
