"""Guests are known by their folders, and dead ones are told from living ones."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest

from orrery import shell
from orrery.errors import GuestError, HostError
from orrery.guest import registry
from orrery.guest.registry import Entry, Registry

NO_PID = 2**22 + 1


@pytest.fixture
def guests(tmp_path: Path) -> Registry:
    return Registry("t-reg", tmp_path / "guests")


def test_an_entry_is_read_back_as_written(guests: Registry) -> None:
    entry = Entry("a", 11, backend="vhost-user", queues=2, vlan=5, pid=os.getpid(), ready=True)
    guests.write(entry)
    assert guests.entries() == [entry]
    assert guests.entry("a") == entry


def test_a_folder_without_a_readable_entry_is_no_guest(guests: Registry) -> None:
    (guests.folder / "b").mkdir(parents=True)
    (guests.folder / "b" / registry.ENTRY).write_text('{"name": ')
    assert guests.entries() == []


def test_a_missing_guest_is_named_with_those_that_run(guests: Registry) -> None:
    guests.write(Entry("a", 11, pid=os.getpid(), ready=True))
    with pytest.raises(GuestError, match=re.escape("no running guest 'x' in the lab 't-reg' (ru")):
        guests.entry("x")
    with pytest.raises(GuestError, match=re.escape("(running: a)")):
        guests.entry("")


def test_indices_are_given_out_once(guests: Registry) -> None:
    assert guests.free_index() == registry.FIRST_INDEX
    guests.write(Entry("a", registry.FIRST_INDEX))
    guests.write(Entry("b", registry.FIRST_INDEX + 2))
    assert guests.free_index() == registry.FIRST_INDEX + 1


def test_a_dead_guest_and_a_start_broken_off_are_stale(guests: Registry) -> None:
    guests.write(Entry("living", 11, pid=os.getpid(), ready=True))
    guests.write(Entry("dead", 12, pid=NO_PID, ready=True))
    guests.write(Entry("coming", 13, starter=os.getpid()))
    guests.write(Entry("broken", 14, pid=os.getpid(), starter=NO_PID))
    assert sorted(entry.name for entry in guests.stale()) == ["broken", "dead"]


def test_a_guest_that_outlived_what_it_is_bound_to_is_stale(guests: Registry) -> None:
    here = os.getpid()
    guests.write(Entry("held", 11, pid=here, ready=True, bound=True, starter=here))
    guests.write(Entry("lost", 12, pid=here, ready=True, bound=True, starter=NO_PID))
    guests.write(Entry("free", 13, pid=here, ready=True, starter=NO_PID))
    assert [entry.name for entry in guests.stale()] == ["lost"]


def test_a_folder_belongs_to_one_start_only(guests: Registry) -> None:
    first = guests.write(Entry("a", 11, run="1"))
    assert guests.is_current(first)
    guests.forget("a")
    assert not guests.is_current(first)
    guests.write(Entry("a", 11, run="2"))
    assert not guests.is_current(first)


def test_a_folder_that_a_broken_off_start_left_is_found(guests: Registry) -> None:
    guests.write(Entry("a", 11))
    (guests.folder / "b").mkdir()
    assert guests.unreadable() == ["b"]


def test_an_entry_that_cannot_be_written_is_an_error_for_the_user(guests: Registry) -> None:
    guests.folder.mkdir()
    (guests.folder / "a").touch()
    with pytest.raises(HostError, match=r"guest a: .*/a cannot be written: File exists"):
        guests.write(Entry("a", 11))


def test_only_root_can_hold_the_lock_of_guests(guests: Registry) -> None:
    with guests.locked():
        assert guests.folder.stat().st_mode & 0o777 == 0o700


def test_only_processes_with_the_marks_of_this_lab_are_ours(guests: Registry) -> None:
    words = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"]
    ours = shell.start(words, env={registry.LAB_MARK: "t-reg", registry.GUEST_MARK: "a"})
    theirs = shell.start(words, env={registry.LAB_MARK: "t-other", registry.GUEST_MARK: "a"})
    try:
        # A program that was just started has no environment for a moment.
        end = time.monotonic() + 5
        while not guests.processes() and time.monotonic() < end:
            time.sleep(0.01)
        assert guests.processes() == {ours.pid: "a"}
        guests.end_processes("a")
        assert ours.wait(5) < 0
        assert theirs.poll() is None
    finally:
        shell.stop(ours)
        shell.stop(theirs)
