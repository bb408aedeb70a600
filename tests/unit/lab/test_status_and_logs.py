"""Status asks real sockets; logs reads real files."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from orrery.errors import HostError, UsageError
from orrery.lab import logs, status
from orrery.state import LabState, Service


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if self.path == "/broken" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base's name)
        """Stay quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{http_server.server_port}"
        http_server.shutdown()
        thread.join()


def _answer(health: str) -> status.Answer:
    state = LabState("orrery", services={"s": Service("s", health=health)})
    return status.ask(state)[0]


def test_a_service_that_answers_is_healthy(server: str, tmp_path: Path) -> None:
    assert _answer(f"http://{server}/ping").healthy
    assert _answer(f"tcp:{server}").healthy
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert _answer(f"unix:{path}").healthy
    assert not _answer(f"unix:{path}").healthy


def test_a_service_that_fails_says_why(server: str) -> None:
    assert _answer(f"http://{server}/broken").why == "HTTP 503"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "refused" in _answer(f"http://127.0.0.1:{port}/").why
    assert _answer("").why == "it has no address to ask"


def test_no_services_give_no_answers() -> None:
    assert status.ask(LabState("orrery")) == []


def test_the_table_shows_secrets_only_when_given(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service("engine", "127.0.0.1:3233", kind="functions")
    state = LabState("orrery", [], {"engine": service}, {"base_image_why": "no registry"})
    answers = [status.Answer(service, True)]
    status.show("orrery", state, answers)
    text = capsys.readouterr().out
    assert "127.0.0.1:3233" in text
    assert "base image: no registry" in text
    assert "credentials" not in text
    status.show("orrery", state, answers, "id:key")
    assert "credentials: id:key" in capsys.readouterr().out


def test_the_last_lines_of_a_log_are_read(tmp_path: Path) -> None:
    path = tmp_path / "current"
    path.write_text("".join(f"{i}\n" for i in range(1000)))
    state = LabState("orrery", services={"engine": Service("engine", log=str(path))})
    assert logs.last_lines(logs.log_of(state, "engine"), 2) == ["998\n", "999\n"]


def test_an_unknown_service_lists_the_known(tmp_path: Path) -> None:
    state = LabState("orrery", services={"engine": Service("engine", log=str(tmp_path / "no"))})
    with pytest.raises(UsageError, match="the name of a service .engine., not 'motor'"):
        logs.log_of(state, "motor")
    with pytest.raises(HostError, match="engine: there is no log at"):
        logs.log_of(state, "engine")
