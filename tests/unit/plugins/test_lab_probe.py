"""What the look at the host reads, and how long it may take."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from plugins.modules import lab_probe

PARAMS = {"ca_bundle": "", "http_proxy": ""}


class Registry(http.server.BaseHTTPRequestHandler):
    """Answers with the status that its path names."""

    def do_HEAD(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_registry_that_wants_a_login_is_reachable(registry: str) -> None:
    found = lab_probe.registry(f"{registry}/401", PARAMS, 5)
    assert found["reachable"]
    assert abs(found["skew_s"]) < 60


def test_a_proxy_that_forbids_is_no_registry(registry: str) -> None:
    found = lab_probe.registry(f"{registry}/403", PARAMS, 5)
    assert (found["reachable"], found["detail"]) == (False, "answered 403")


def test_a_registry_that_is_not_there_says_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    found = lab_probe.registry(f"http://127.0.0.1:{port}/v2/", PARAMS, 5)
    assert not found["reachable"]
    assert "refused" in found["detail"]


def test_a_look_that_hangs_does_not_hold_up_the_others() -> None:
    release = threading.Event()

    def hang() -> dict[str, Any]:
        release.wait(30)
        return {}

    found = lab_probe.look({"slow": hang, "quick": lambda: {"x": 1}}, 0.2)
    release.set()
    assert found["quick"] == {"x": 1}
    assert found["slow"]["detail"] == "no answer within 0.2 s"


def test_a_look_that_fails_says_so() -> None:
    def fail() -> dict[str, Any]:
        raise OSError("no such thing")

    assert "no such thing" in lab_probe.look({"bad": fail}, 5)["bad"]["detail"]


def test_os_release_and_cpuinfo_are_read() -> None:
    release = lab_probe.parse_os_release('ID=debian\nVERSION_ID="12"\n# x\n')
    assert (release["ID"], release["VERSION_ID"]) == ("debian", "12")
    cpu = lab_probe.parse_cpu("model name\t: X 1\nflags\t\t: sse4_2 avx\n")
    assert cpu == {"flags": ["sse4_2", "avx"], "model": "X 1"}
    assert lab_probe.parse_cpu("Features\t: fp asimd\n")["flags"] == ["fp", "asimd"]


def test_a_taken_port_names_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        wanted = f"127.0.0.1:{server.getsockname()[1]}"
        found = lab_probe.ports([wanted])[wanted]
    assert not found["free"]
    assert "python" in found["command"]
    assert lab_probe.ports([wanted])[wanted]["free"]


def test_space_is_looked_at_for_paths_that_do_not_exist_yet(tmp_path: Any) -> None:
    path = str(tmp_path / "not" / "yet")
    assert lab_probe.disks([path])[path]["looked_at"] == str(tmp_path)


def test_programs_and_interpreters_are_found() -> None:
    assert lab_probe.programs(["sh", "no-such-program"])["no-such-program"] == ""
    assert lab_probe.programs(["sh"])["sh"].endswith("/sh")
    assert lab_probe.python_version("/no/such/python", 5)["version"] == ""


def test_a_program_that_takes_too_long_is_given_up() -> None:
    assert lab_probe.run(["sleep", "30"], 0.1) == (124, "", "no answer within 0.1 s")


def test_sources_of_a_machine_that_never_updated_are_read_from_the_plan() -> None:
    plan = """'http://mirror.example/debian/dists/stable/InRelease' mirror_InRelease 0
'http://mirror.example/debian/dists/stable/main/binary-amd64/Packages.xz' mirror_Packages 0
"""
    assert lab_probe.parse_uris(plan) == [["http://mirror.example/debian/", "stable"]]
    assert lab_probe.parse_uris("") == []
