from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from orrery.errors import ConfigurationError
from orrery.whisk import target
from orrery.whisk.target import Throttle

REST = "00000000:00000000 00:00000000 00000000     0        0"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
LISTENS = f"   0: 0100007F:0CA1 00000000:0000 0A {REST} 777 1\n"
TALKS = f"   1: 0100007F:0CA1 0100007F:9999 01 {REST} 888 1\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc in which process 42 listens on port 3233."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(HEAD + LISTENS + TALKS)
    (tmp_path / "42" / "fd").mkdir(parents=True)
    (tmp_path / "42" / "fd" / "3").symlink_to("socket:[777]")
    (tmp_path / "42" / "comm").write_text("python\n")
    (tmp_path / "42" / "status").write_text("Name:\tpython\nVmRSS:\t  51200 kB\n")
    (tmp_path / "42" / "cmdline").write_bytes(b"python\0-m\0orrery.engine\0")
    (tmp_path / "7" / "fd").mkdir(parents=True)
    return tmp_path


def test_the_process_is_found_by_the_port_it_listens_on(proc: Path) -> None:
    assert list(target.listening(proc, 3233)) == ["777"]
    assert target.local_pid("http://127.0.0.1:3233", proc) == 42
    assert target.rss_mb(42, proc) == 50
    assert target.command_line(42, proc) == ["python", "-m", "orrery.engine"]


def test_a_port_without_listener_has_no_process(proc: Path) -> None:
    assert target.local_pid("http://127.0.0.1:3234", proc) is None


def test_a_host_elsewhere_has_no_process_here(proc: Path) -> None:
    assert target.local_pid("http://192.0.2.1:3233", proc) is None


def test_a_forwarder_is_not_the_engine(proc: Path) -> None:
    (proc / "42" / "comm").write_text("docker-proxy\n")
    assert target.local_pid("http://127.0.0.1:3233", proc) is None


def test_a_process_that_is_gone_has_no_memory(proc: Path) -> None:
    assert target.rss_mb(4711, proc) is None


def test_this_very_process_is_found_by_its_socket() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        pid = target.local_pid(f"http://localhost:{listener.getsockname()[1]}")
    assert pid == os.getpid()
    assert (target.rss_mb(pid) or 0) > 1


def test_the_own_limits_of_a_user_come_before_those_of_the_host() -> None:
    info = {"limits": {"actions_per_minute": 60, "concurrent_actions": 30}}
    own = {"invocationsPerMinute": 100_000, "concurrentInvocations": 200}
    assert target.throttle(info, own) == Throttle(100_000, 200)
    assert target.throttle(info, {}) == Throttle(60, 30)


def test_a_host_that_names_no_throttles_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the host names no throttles"):
        target.throttle({}, {})


def test_throttles_that_are_too_small_are_named_with_the_value_needed() -> None:
    with pytest.raises(ConfigurationError) as error:
        target.check_throttle("http://x", Throttle(60, 30), Throttle(37_000, 8))
    assert str(error.value).startswith(
        "http://x: the user may start 60 activations a minute, 37000 needed. "
        "Raise invocationsPerMinute of the user, or lower --trials"
    )
    with pytest.raises(ConfigurationError) as error:
        target.check_throttle("http://x", Throttle(60, 30), Throttle(60, 64))
    assert "30 activations in flight, 64 needed" in str(error.value)
    target.check_throttle("http://x", Throttle(60, 30), Throttle(60, 30))
