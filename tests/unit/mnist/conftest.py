"""MNIST's test set, the classify action as its image holds it, and a web server that misbehaves."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orrery.mnist import data

ACTION = Path(__file__).resolve().parents[3] / "roles" / "mnist_actions" / "files" / "classify"

Handler = Callable[[BaseHTTPRequestHandler], object]


@pytest.fixture(scope="session")
def examples(mnist_dir: Path) -> data.Examples:
    """The test set of MNIST."""
    return data.load(mnist_dir, train=False)


@pytest.fixture(scope="session")
def action() -> Iterator[ModuleType]:
    """The package `classify`."""
    sys.path.insert(0, str(ACTION))
    yield importlib.import_module("classify.action")
    sys.path.remove(str(ACTION))


@pytest.fixture(scope="session")
def main(action: ModuleType) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What the engine calls."""
    return action.main  # type: ignore[no-any-return] # the package is found at run time only


class Server:
    """A web server on loopback; `handler` answers, `paths` and `ranges` are what was asked."""

    def __init__(self) -> None:
        self.handler: Handler = lambda request: request.send_error(404)
        self.paths: list[str] = []
        self.ranges: list[str] = []
        self.release = threading.Event()
        outer = self

        class Requests(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.paths.append(self.path)
                outer.ranges.append(self.headers.get("Range", ""))
                try:
                    outer.handler(self)
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, files: dict[str, bytes], *, ranges: bool = True) -> None:
        """Serve files by their path, with or without ranges."""

        def handler(request: BaseHTTPRequestHandler) -> None:
            content = files.get(request.path)
            if content is None:
                request.send_error(404)
                return
            asked = request.headers.get("Range", "") if ranges else ""
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            if asked and start >= len(content):
                request.send_error(416)
                return
            request.send_response(206 if asked else 200)
            if asked:
                span = f"bytes {start}-{len(content) - 1}/{len(content)}"
                request.send_header("Content-Range", span)
            request.send_header("Content-Length", str(len(content) - start))
            request.end_headers()
            request.wfile.write(content[start:])

        self.handler = handler


@pytest.fixture
def server() -> Iterator[Server]:
    """A started server."""
    made = Server()
    made.start()
    yield made
    made.stop()
