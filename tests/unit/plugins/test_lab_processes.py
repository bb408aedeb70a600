"""Who listens where, from a /proc of the test's own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ansible.module_utils import lab_processes

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0CA1 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
   1: 0100007F:0CA1 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0 0 0 0 0 99
"""


def process(proc: Path, pid: int, parent: int, environ: str = "", cgroup: str = "") -> None:
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} (a ) b) S {parent} 1 1")
    (folder / "cmdline").write_bytes(b"prog\0--x\0")
    (folder / "environ").write_bytes(environ.encode())
    (folder / "cgroup").write_text(cgroup)


def test_only_listening_sockets_are_read() -> None:
    assert lab_processes.parse_listeners(TCP) == [lab_processes.Listener("127.0.0.1", 3233, "4711")]
    assert lab_processes.parse_listeners(TCP6) == [lab_processes.Listener("::1", 80, "99")]


@pytest.mark.parametrize(
    ("theirs", "ours", "collides"),
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("10.0.0.1", "127.0.0.1", False),
        ("::1", "127.0.0.1", False),
    ],
)
def test_a_wildcard_takes_every_address(theirs: str, ours: str, collides: bool) -> None:
    listener = lab_processes.Listener(theirs, 80, "1")
    assert lab_processes.collides(listener, ours, 80) is collides
    assert not lab_processes.collides(listener, ours, 81)


def test_a_process_is_found_by_its_socket(tmp_path: Path) -> None:
    process(tmp_path, 7, 1)
    (tmp_path / "7" / "fd" / "3").symlink_to("socket:[4711]")
    assert lab_processes.holders({"4711", "1"}, tmp_path) == {"4711": [7], "1": []}


def test_a_process_belongs_to_the_service_whose_supervisor_is_marked(tmp_path: Path) -> None:
    process(tmp_path, 7, 1, environ="A=b\0ORRERY_LAB=lab\0ORRERY_SERVICE=lab-files\0")
    process(tmp_path, 8, 7, environ="overwritten by the program")
    owner = lab_processes.Owner("lab", "lab-files")
    assert lab_processes.owner(8, tmp_path, tmp_path) == owner


def test_a_process_is_known_by_its_unit_too(tmp_path: Path) -> None:
    process(tmp_path, 8, 1, cgroup="0::/system.slice/lab-files.service\n")
    (tmp_path / "lab-files.service").write_text("Environment=ORRERY_LAB=lab X=y\n")
    assert lab_processes.owner(8, tmp_path, tmp_path) == lab_processes.Owner("lab", "lab-files")


def test_a_process_of_nobody_has_no_owner(tmp_path: Path) -> None:
    process(tmp_path, 8, 1, cgroup="0::/\n")
    assert lab_processes.owner(8, tmp_path, tmp_path) == lab_processes.Owner()


def test_our_own_listener_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        mine = [one for one in lab_processes.listeners() if one.port == port]
        held_by = lab_processes.holders({one.inode for one in mine})
    assert [pid for found in held_by.values() for pid in found] == [os.getpid()]
    assert "python" in lab_processes.command(os.getpid())
