"""The real engine as a process, and a client of its API that knows no more than HTTP."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.docker import PrivateDocker
from tests.support.waiting import until

LABS = (f"t-pool{number}" for number in itertools.count(1))
NETWORK = "t-pool-net"
BRIDGE = "orr-test1"
SUBNET = "10.99.41.0/24"
GATEWAY = "10.99.41.1"
IMAGE = "t-pool-runtime:1"
UUID = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502"
KEY = "k" * 64
PATIENCE_S = 90.0

CONFIG = """
lab_name = "{lab}"
listen = ["127.0.0.1:{port}"]
database = "{folder}/engine.db"
docker_socket = "{socket}"
network = "{network}"
container_prefix = "{lab}-fn"
api_host = "http://{gateway}:{port}"
pool_memory_mb = 1024
default_kind = "python:3.11"
max_parallel_starts = 4
pause_grace_s = 0.3
idle_timeout_s = {idle_timeout_s}

[runtimes]
"python:3.11" = "{image}"

[container_limits]
pids = 48

[[users]]
namespace = "guest"
uuid = "{uuid}"
key = "{key}"
invocations_per_minute = 100000
concurrent_invocations = 500
"""


@dataclass(frozen=True)
class Reply:
    """What the API answered."""

    status: int
    body: Any

    @property
    def error(self) -> Any:
        """Error of an activation."""
        return self.body["response"]["result"]["error"]


class EngineProcess:
    """One configuration, and the process that runs with it, again and again."""

    def __init__(
        self,
        folder: Path,
        docker: PrivateDocker,
        *,
        idle_timeout_s: float = 600.0,
    ) -> None:
        self.folder = folder
        self.docker = docker
        self.log = folder / "engine.log"
        # Each its own: an engine removes the containers of any other engine of its lab.
        self.lab = next(LABS)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
        self.config = folder / "engine.toml"
        text = CONFIG.format(
            lab=self.lab,
            port=self.port,
            folder=folder,
            socket=docker.socket,
            network=NETWORK,
            gateway=GATEWAY,
            image=IMAGE,
            uuid=UUID,
            key=KEY,
            idle_timeout_s=idle_timeout_s,
        )
        self.config.write_text(text, encoding="utf-8")
        self.config.chmod(0o600)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        with self.log.open("ab") as log:
            argv = [sys.executable, "-m", "orrery.engine", "--config", str(self.config)]
            tools = Path(__file__).resolve().parents[3] / "tools"
            env = {**os.environ, "PYTHONPATH": str(tools)}
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=env)
        until(self._answers, "the engine")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the engine ended:\n{self.said()}"
        try:
            return self.call("GET", "/ping").status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self) -> None:
        """TERM, and wait for the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_S)

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def call(self, method: str, path: str, body: Any = None) -> Reply:
        """One request."""
        token = base64.b64encode(f"{UUID}:{KEY}".encode()).decode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(
                method, path, json.dumps(body) if body is not None else None, headers
            )
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        try:
            return Reply(response.status, json.loads(data))
        except ValueError:
            return Reply(response.status, data.decode())

    def create(
        self,
        name: str,
        code: str | None,
        *,
        exec_: Mapping[str, Any] | None = None,
        **limits: int,
    ) -> None:
        """Create or update an action; limits in the API's own units."""
        executable = exec_ or {"kind": "python:3.11", "code": code}
        body = {"exec": executable, "limits": {"memory": 128, **limits}}
        path = f"/api/v1/namespaces/_/actions/{name}?overwrite=true"
        reply = self.call("PUT", path, body)
        assert reply.status == 200, reply

    def invoke(self, name: str, arguments: Mapping[str, Any] | None = None) -> Reply:
        """Invoke and wait for the activation."""
        path = f"/api/v1/namespaces/_/actions/{name}?blocking=true"
        return self.call("POST", path, arguments or {})

    def activations(self) -> list[Any]:
        """The newest 200 activations, complete."""
        reply = self.call("GET", "/api/v1/namespaces/_/activations?limit=200&docs=true")
        assert reply.status == 200, reply
        assert isinstance(reply.body, list)
        return reply.body

    def logs_of(self, activation_id: str, last: str) -> list[str]:
        """The log of an activation once it contains a text: it is stored after the answer."""

        def look() -> list[str]:
            path = f"/api/v1/namespaces/_/activations/{activation_id}/logs"
            lines = self.call("GET", path).body["logs"]
            return lines if any(last in line for line in lines) else []

        lines = until(look, f"a log with {last!r}")
        assert isinstance(lines, list)
        return lines

    def containers(self, *filters: str) -> list[str]:
        """Names of this lab's containers, running or not, that match all filters."""
        words = [
            "ps",
            "--all",
            "--format",
            "{{.Names}}",
            "--filter",
            f"label=orrery.lab={self.lab}",
        ]
        for entry in filters:
            words += ["--filter", entry]
        return self.docker.docker(*words).split()


def warm(reply: Reply) -> bool:
    """Whether the activation ran in a container that was there."""
    return all(entry["key"] != "initTime" for entry in reply.body["annotations"])
