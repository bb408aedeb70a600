"""When a service counts as up, and when it is started again."""

from __future__ import annotations

import http.server
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import lab_managers, lab_ready

from plugins.modules import lab_service


class Manager:
    """A service whose processes come from a list; the last one stays."""

    def __init__(self, *pids: int) -> None:
        self.pids = list(pids)

    def pid(self) -> int:
        return self.pids.pop(0) if len(self.pids) > 1 else self.pids[0]

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def traces(self) -> list[Path]:
        return []

    def forget(self) -> None: ...


class Failing(http.server.BaseHTTPRequestHandler):
    """A server that is up and broken."""

    def do_GET(self) -> None:
        self.send_error(503 if self.path == "/bad" else 404)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("tcp:127.0.0.1:80", "tcp"),
        ("http://127.0.0.1:80/ping?x=1", "http"),
        ("unix:/run/x", "unix"),
        ("docker:/run/x", "docker"),
    ],
)
def test_endpoints_are_read(text: str, kind: str) -> None:
    assert lab_ready.parse(text).kind == kind


def test_another_notation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'ftp://x': tcp:host:port, http://host:port/path"):
        lab_ready.parse("ftp://x")


def test_answers_below_500_count() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    good, bad = (lab_ready.answers(lab_ready.parse(address + path)) for path in ("/", "/bad"))
    server.shutdown()
    thread.join()
    server.server_close()
    assert good == ""
    assert bad == f"{address}/bad answers 503"


def test_an_answer_of_somebody_else_does_not_count() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = lab_ready.parse(f"tcp:127.0.0.1:{server.getsockname()[1]}")
        assert lab_ready.foreign_holder(endpoint, os.getpid(), "t-x") == ""
        foreign = lab_ready.foreign_holder(endpoint, 1, "t-x")
    assert f"is held by pid {os.getpid()} (" in foreign
    assert "not by this service" in foreign


def test_a_service_that_is_up_and_asks_for_nothing_is_ready() -> None:
    assert lab_service.wait_ready(Manager(os.getpid()), "t-x", [], 5) == ""


def test_a_service_that_ends_again_and_again_is_given_up_early() -> None:
    problem = lab_service.wait_ready(Manager(11, 12, 13, 14, 15, 16, 17, 18, 19), "t-x", [], 60)
    assert problem.startswith("it ends as soon as it is started")


def test_a_service_that_is_down_says_so() -> None:
    problem = lab_service.wait_ready(Manager(0), "t-x", [], 0.1)
    assert problem.startswith("it is down (waited ")


def test_content_decides_about_a_restart(tmp_path: Path) -> None:
    file, missing = tmp_path / "a", tmp_path / "b"
    file.write_text("1")
    paths = [str(tmp_path), str(missing)]
    first = lab_service.content_hash(paths)
    file.touch()
    assert lab_service.content_hash(paths) == first
    file.write_text("2")
    assert lab_service.content_hash(paths) != first


def test_the_end_of_a_log_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "current"
    assert lab_service.end_of(log) == "(the log is empty)"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert lab_service.end_of(log, 2) == "line 98\nline 99"


def test_a_process_that_ended_is_not_alive() -> None:
    assert lab_managers.alive(os.getpid())
    assert not lab_managers.alive(0)
    assert not lab_managers.alive(2**22 + 1)


def test_a_process_began_before_now() -> None:
    assert 0 < lab_managers.started_at(os.getpid()) <= time.time() + 1
    assert lab_managers.started_at(2**22 + 1) == 0
