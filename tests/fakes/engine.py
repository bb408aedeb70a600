"""The real API over a real server in a thread, with a fake invoker behind it."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import uvloop

from orrery.engine import config
from orrery.engine.app import create_app, running
from orrery.engine.config import EngineConfig
from orrery.engine.server import bind, make_server, serve
from orrery.engine.store import Store
from orrery.engine.throttle import Throttle
from tests.fakes.invoker import FakeInvoker

UUID = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502"
KEY = "k" * 64
OTHER_UUID = "789c46b1-71f6-4ed5-8c54-816aa4f8c502"
OTHER_KEY = "o" * 64


def document(folder: Path, **changes: Any) -> dict[str, Any]:
    """A configuration as TOML holds it."""
    return {
        "lab_name": "t-engine",
        "listen": ["127.0.0.1:3233"],
        "database": str(folder / "engine.db"),
        "docker_socket": "/nowhere/docker.sock",
        "network": "t-engine",
        "container_prefix": "t-engine",
        "api_host": "http://127.0.0.1:3233",
        "pool_memory_mb": 1024,
        "default_kind": "python:3.11",
        "runtimes": {"python:3.11": "t-engine/python"},
        "users": [
            {
                "namespace": "guest",
                "uuid": UUID,
                "key": KEY,
                "invocations_per_minute": 100_000,
                "concurrent_invocations": 200,
            },
            {"namespace": "other", "subject": "somebody", "uuid": OTHER_UUID, "key": OTHER_KEY},
        ],
        **changes,
    }


def settings(folder: Path, **changes: Any) -> EngineConfig:
    """A checked configuration."""
    return config.parse(document(folder, **changes), "test")


def eventually(look: Callable[[], Any]) -> Any:
    """Repeat until there is something, and return it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("nothing came within a minute")


@dataclass(frozen=True)
class Reply:
    """An answer of the engine."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The error's text, after a check of its form."""
        document = self.json
        assert sorted(document) == ["code", "error"], document
        assert document["code"] == self.headers["x-request-id"]
        text: str = document["error"]
        return text


def basic(uuid: str = UUID, key: str = KEY) -> str:
    """An Authorization header."""
    return "Basic " + base64.b64encode(f"{uuid}:{key}".encode()).decode()


@dataclass
class Client:
    """A client with one connection that stays open."""

    port: int
    authorization: str | None = field(default_factory=basic)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request; a body that is neither bytes nor None is sent as JSON."""
        sent = dict(headers or {})
        if self.authorization is not None:
            sent.setdefault("Authorization", self.authorization)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        self._connection.request(method, path, body, sent)
        return self.read()

    def read(self) -> Reply:
        """The answer to the last request."""
        response = self._connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, response.read())

    def put(self, name: str, code: str = "source", /, **fields: Any) -> Reply:
        """Create or update an action of our own namespace."""
        body = {"exec": {"kind": "python:3", "code": code}, **fields}
        return self.call("PUT", f"/api/v1/namespaces/_/actions/{name}?overwrite=true", body)

    def invoke(self, name: str, payload: Any = None, query: str = "blocking=true") -> Reply:
        """Invoke an action of our own namespace."""
        return self.call("POST", f"/api/v1/namespaces/_/actions/{name}?{query}", payload)


class EngineServer:
    """An engine that listens on a port the system picked; a context manager."""

    def __init__(
        self,
        settings: EngineConfig,
        *,
        throttle: Throttle | None = None,
        invoker: Callable[[], FakeInvoker] = FakeInvoker,
    ) -> None:
        self.settings = settings
        self.port = 0
        self._throttle = throttle
        self._make_invoker = invoker
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="test-engine")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60)
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        if self._error is None:
            self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    def call(self, function: Callable[[], object]) -> None:
        """Run a function in the engine's event loop and wait for it."""
        done = threading.Event()

        def run() -> None:
            function()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(60)

    def client(self, authorization: str | None = None) -> Client:
        """A client with the first user's credentials, or others."""
        return Client(self.port, authorization or basic())

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.invoker = self._make_invoker()
        self.store = Store(self.settings.database, keep=self.settings.activations_keep)
        app = create_app(self.settings, self.store, self.invoker, throttle=self._throttle)
        self._server = make_server(app)
        (listener,) = bind([("127.0.0.1", 0)])
        self.port = listener.getsockname()[1]
        try:
            async with running(app):
                self._ready.set()
                await self._server.serve([listener])
        finally:
            listener.close()


def main() -> None:
    """An engine with a fake invoker as a process of its own: `-m tests.fakes.engine FILE`."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    serve(config.load(Path(sys.argv[1])), FakeInvoker())


if __name__ == "__main__":
    main()
