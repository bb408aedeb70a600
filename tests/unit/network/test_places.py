"""Servers at the ends of a measurement listen before anybody asks, and are gone afterwards."""

from __future__ import annotations

import base64
import contextlib
import errno
import math
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from orrery.errors import ConfigurationError, GuestError, HostError
from orrery.guest.monitor import Ran
from orrery.guest.registry import Entry
from orrery.network.backends import Backend
from orrery.network.namespace import Namespace
from orrery.network.places import GuestPlace, HostPlace, PeerPlace
from orrery.network.serving import Listening
from orrery.state import LabState

TCP_TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0C22A10A:1451 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 156 1
   1: 0C22A10A:1452 0B22A10A:E6DC 01 00000000:00000000 00:00000000 00000000     0        0 157 1
"""
SERVER = "import socket,sys,time\ns=socket.create_server(('127.0.0.1',int(sys.argv[1])))\n"
SERVER += "print('served', flush=True)\ntime.sleep(60)\n"


class Here(Namespace):
    """No namespace at all."""

    def argv(self, *words: str | Path) -> list[str | Path]:
        return list(words)


class Scripted:
    """A guest agent that has one program after the other, and knows /proc."""

    def __init__(self) -> None:
        self.what = "agent of guest a"
        self.running: dict[int, list[str]] = {}
        self.killed: list[str] = []
        self.dead = False
        self.table = TCP_TABLE
        self.opened = 0
        self.stubborn = False

    def __enter__(self) -> Scripted:
        self.opened += 1
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def start(self, argv: Sequence[str]) -> int:
        self.running[len(self.running) + 1] = list(argv)
        return len(self.running)

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Ran:
        assert argv[0] == "kill"
        self.killed.append(" ".join(argv[1:]))
        return Ran(tuple(argv), 0, "", "", 0.0)

    def read(self, path: str) -> bytes:
        assert path.startswith("/proc/")
        return self.table.encode()

    def execute(self, command: str, arguments: dict[str, Any]) -> Any:
        if self.dead:
            raise GuestError("agent of guest a: it does not answer")
        assert command == "guest-exec-status"
        argv = self.running[arguments["pid"]]
        lives = argv[0] == "iperf3" and not self._is_killed(arguments["pid"])
        if lives:
            return {"exited": False}
        return {"exited": True, "exitcode": 1, "out-data": base64.b64encode(b"said").decode()}

    def _is_killed(self, pid: int) -> bool:
        wanted = "-KILL" if self.stubborn else "-TERM"
        return f"{wanted} {pid}" in self.killed


class Guests:
    """The lab's guests, of which there is one."""

    def __init__(self, agent: Scripted) -> None:
        self._agent = agent

    def agent(self, entry: Entry) -> Scripted:
        return self._agent


@pytest.fixture
def agent() -> Scripted:
    return Scripted()


@pytest.fixture
def place(agent: Scripted) -> GuestPlace:
    entry = Entry("a", 12, cpus=2, address="10.161.34.12/24")
    return GuestPlace(Guests(agent), entry)  # type: ignore[arg-type]  # only its agent is needed


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def test_a_socket_is_known_by_its_address_its_port_and_its_state() -> None:
    assert Listening("tcp", 5201).among(TCP_TABLE, "10.161.34.12")
    assert not Listening("tcp", 5201).among(TCP_TABLE, "10.161.34.11")
    # A connection of that port is no listener.
    assert not Listening("tcp", 5202).among(TCP_TABLE, "10.161.34.12")
    assert not Listening("udp", 5201).among(TCP_TABLE, "10.161.34.12")
    assert not Listening("tcp", 5201).among("", "10.161.34.12")


def test_a_server_in_a_guest_is_ended_by_the_pid_that_the_agent_returned(
    place: GuestPlace, agent: Scripted
) -> None:
    with place.serve(["iperf3", "-s"], Listening("tcp", 5201)) as server:
        assert agent.killed == []
    assert agent.killed == ["-TERM 1"]
    assert server.end().stdout == "said"
    assert agent.killed == ["-TERM 1"]


def test_a_server_that_ignores_the_signal_is_killed(
    place: GuestPlace, agent: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orrery.network.places.END_TIMEOUT_S", 0.05)
    agent.stubborn = True
    with place.serve(["iperf3", "-s"], Listening("tcp", 5201)):
        pass
    assert agent.killed == ["-TERM 1", "-KILL 1"]


def test_what_went_wrong_first_is_told_though_the_guest_is_gone_with_its_server(
    place: GuestPlace, agent: Scripted
) -> None:
    def trial() -> None:
        with place.serve(["iperf3", "-s"], Listening("tcp", 5201)):
            agent.dead = True
            raise ValueError("the trial")

    with pytest.raises(ValueError, match="the trial"):
        trial()


def test_a_server_that_ends_at_once_says_why(place: GuestPlace, agent: Scripted) -> None:
    with (
        pytest.raises(GuestError, match=r"guest a: sockperf server ended at once\nsaid"),
        place.serve(["sockperf", "server"], Listening("udp", 1)),
    ):
        raise AssertionError("it never listened")


def test_a_server_that_never_listens_is_ended(
    place: GuestPlace, agent: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orrery.network.serving.READY_TIMEOUT_S", 0.05)
    with (
        pytest.raises(GuestError, match=r"iperf3 -s did not listen within 0\.05 s"),
        place.serve(["iperf3", "-s"], Listening("tcp", 9)),
    ):
        raise AssertionError("it never listened")
    assert agent.killed == ["-TERM 1"]


def test_a_guest_s_channel_is_opened_once_while_it_is_held(
    place: GuestPlace, agent: Scripted
) -> None:
    agent.table = "cpu  79 0 599 3410 0 0 270 0 0 0\n"
    with place.held(), place.held():
        assert place.busy_s() == pytest.approx(9.48)
        place.busy_s()
    assert agent.opened == 1
    place.busy_s()
    assert agent.opened == 2


def test_a_program_of_a_guest_that_fails_says_what_it_said(place: GuestPlace) -> None:
    with pytest.raises(GuestError, match=r"guest a: false: exit code 1\nsaid"):
        place.run(["false"], 5)
    assert place.run(["false"], 5, check=False).returncode == 1


def test_a_guest_without_measured_interface_is_no_place() -> None:
    with pytest.raises(ConfigurationError, match="guest a has no measured interface"):
        GuestPlace(Guests(Scripted()), Entry("a", 12))  # type: ignore[arg-type]  # never asked


@contextlib.contextmanager
def serving(port: int) -> Iterator[Any]:
    place = HostPlace(Here("none"), "127.0.0.1")
    argv = [sys.executable, "-c", SERVER, str(port)]
    with place.serve(argv, Listening("tcp", port)) as server:
        yield server


def test_a_server_on_the_host_listens_at_once_and_is_gone_afterwards() -> None:
    port = free_port()

    def trial() -> None:
        with serving(port):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            raise ValueError("the trial")

    with pytest.raises(ValueError, match="the trial"):
        trial()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_what_a_server_on_the_host_printed_can_be_read() -> None:
    with serving(free_port()) as server:
        first = server.end()
        assert "served" in first.stdout
        assert server.end() == first
    assert server.end() == first


def test_a_full_disk_does_not_keep_a_server_from_saying_what_it_has_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # As good as full: there is no folder for temporary files.
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with serving(free_port()) as server:
        assert "served" in server.end().stdout
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_host_without_descriptors_for_a_server_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(name: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files", name)

    monkeypatch.setattr("orrery.network.serving.os.memfd_create", refuse)
    with pytest.raises(HostError, match=r"Too many open files. Raise the number"), serving(1):
        raise AssertionError("it cannot start")


def test_a_server_on_the_host_that_ends_at_once_says_why() -> None:
    place = HostPlace(Here("none"), "127.0.0.1")
    with (
        pytest.raises(HostError, match=r"the host: .* ended at once\nno"),
        place.serve([sys.executable, "-c", "print('no')"], Listening("tcp", 9)),
    ):
        raise AssertionError("it never listened")


def test_the_lab_s_own_programs_are_found_on_the_host() -> None:
    programs = {"orrery-probe": Path("/bin/echo")}
    place = HostPlace(Here("none"), "127.0.0.1", programs=programs)
    assert place.run(["orrery-probe", "send"], 5).stdout == "send\n"
    with pytest.raises(HostError, match=r"the host: false: exit code 1"):
        place.run(["false"], 5)


def test_the_host_is_at_the_bridge_that_the_backend_is_on() -> None:
    facts = {
        "network": {"namespace": "orrery", "lan_bridge": "br-lan", "lan_address": "10.0.1.1/24"},
        "ovs": {"bridge": "br-ovs", "address": "10.0.2.1/24"},
        "guest_image": {"probe": "/cache/orrery-probe"},
    }
    state = LabState("orrery", facts=facts)
    where = {
        backend: HostPlace.of(state, backend) for backend in (Backend.VHOST_USER, Backend.VHOST_NET)
    }
    assert [(one.interface, one.address) for one in where.values()] == [
        ("br-ovs", "10.0.2.1"),
        ("br-lan", "10.0.1.1"),
    ]


def test_nothing_is_run_on_a_machine_of_somebody_else() -> None:
    place = PeerPlace("192.0.2.7")
    with pytest.raises(HostError, match=r"LAN peer 192\.0\.2\.7: iperf3 was to be run there"):
        place.run(["iperf3", "-c"], 5)
    with place.serve(["iperf3", "-s"], Listening("tcp", 5201)) as server:
        assert server.end().returncode == 0
    assert math.isnan(place.busy_s())
