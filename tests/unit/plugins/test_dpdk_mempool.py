"""The trial of a mempool: what is asked of EAL, and what is said when it fails."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from plugins.modules import dpdk_mempool
from plugins.modules.dpdk_mempool import Memory, Trial

FOLDER = Path("/run/t/hugepages")


def test_free_pages_of_the_mount_are_used_and_leave_no_file() -> None:
    words = dpdk_mempool.words(Memory(2048, free=32, busy=True), FOLDER, 64, "trial-1")
    assert words[-3:] == ["--huge-dir", str(FOLDER), "--huge-unlink=always"]
    assert "--no-pci" in words
    assert words[words.index("--file-prefix") + 1] == "trial-1"
    assert words[words.index("-l") + 1] == str(min(os.sched_getaffinity(0)))


def test_pages_that_the_lab_uses_already_are_left_to_it() -> None:
    words = dpdk_mempool.words(Memory(2048, free=31, busy=True), FOLDER, 64, "trial-1")
    assert words[-1] == "--no-huge"
    assert "--huge-dir" not in words


def test_pages_that_a_running_switch_has_without_the_mount_are_no_reason_to_fail() -> None:
    memory = Memory(2048, free=30, busy=False, room=512)
    assert "--no-huge" in dpdk_mempool.words(memory, FOLDER, 64, "trial-1")


def test_too_few_pages_name_what_is_needed_and_the_variables() -> None:
    with pytest.raises(dpdk_mempool.TrialError) as refused:
        dpdk_mempool.words(Memory(2048, free=3, busy=False), FOLDER, 64, "trial-1")
    assert str(refused.value) == (
        "dpdk: 3 huge pages of 2048 kB are free at /run/t/hugepages, 32 are needed to try a "
        "mempool in 64 MB. Set hugepages_count higher, stop what has the pages, or set "
        "dpdk_mempool_mb lower."
    )


def test_one_page_of_a_gigabyte_is_enough_for_a_trial() -> None:
    assert Memory(1048576, free=1, busy=False).needed(64) == 1


def test_a_missing_driver_is_told_from_a_lack_of_memory(tmp_path: Path) -> None:
    trial = Trial("pool", "Invalid argument", "22.11.11", "EAL: Detected NUMA nodes: 1\n")
    text = dpdk_mempool.explain(trial, "23", tmp_path)
    assert text == (
        f"dpdk: no mempool can be made: Invalid argument. {tmp_path} holds no "
        "librte_mempool_ring.so.23: a switch would start and pass no packet. Run apt-get install "
        "--reinstall librte-mempool-ring23."
    )
    (tmp_path / "librte_mempool_ring.so.23.0").touch()
    text = dpdk_mempool.explain(trial, "23", tmp_path)
    assert text == (
        "dpdk: no mempool can be made: Invalid argument. EAL said: EAL: Detected NUMA nodes: 1"
    )


def test_the_reason_of_eal_is_shown_without_the_stack(tmp_path: Path) -> None:
    log = "EAL: Not enough memory\nEAL: Cannot init memory\nEAL: Cannot init memory\n3: main()\n"
    trial = Trial("start", "Cannot allocate memory", "22.11.11", log)
    assert dpdk_mempool.explain(trial, "23", tmp_path) == (
        "dpdk: EAL cannot start: Cannot allocate memory. EAL said: EAL: Not enough memory | "
        "EAL: Cannot init memory"
    )


def test_a_library_that_is_missing_names_its_package() -> None:
    found = dpdk_mempool.attempt("0", ["orrery"])
    assert found["step"] == "load"
    text = dpdk_mempool.explain(Trial(**found), "0", Path("/nowhere"))
    assert "The packages librte-eal0 and librte-mbuf0 are needed: set dpdk_abi" in text


def test_a_trial_that_works_says_nothing() -> None:
    trial = dpdk_mempool.in_child(lambda: {"step": "done", "version": "22.11.11"}, 10)
    assert (trial.step, trial.version) == ("done", "22.11.11")
    assert dpdk_mempool.explain(trial, "23", Path("/nowhere")) == ""


def test_a_trial_that_crashes_or_hangs_is_ended_and_told_so() -> None:
    def crash() -> dict[str, str]:
        os.write(2, b"EAL: about to crash\n")
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    def hang() -> dict[str, str]:
        os.read(os.pipe()[0], 1)
        return {}

    crashed = dpdk_mempool.in_child(crash, 10)
    text = dpdk_mempool.explain(crashed, "23", Path("/nowhere"))
    assert text == (
        "dpdk: the trial of a mempool failed: it was ended by signal 9. "
        "EAL said: EAL: about to crash"
    )
    assert dpdk_mempool.in_child(hang, 0.2).reason == "it did not end within 0.2 s"


def test_a_folder_that_is_no_mount_of_huge_pages_names_the_role(tmp_path: Path) -> None:
    mountinfo = f"72 27 0:43 / {tmp_path} rw - tmpfs none rw,size=16777216\n"
    with pytest.raises(dpdk_mempool.TrialError, match="Run the role hugepages first"):
        dpdk_mempool.look(tmp_path, mountinfo)


def test_what_eal_left_in_run_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "dpdk/mine").mkdir(parents=True)
    (tmp_path / "dpdk/theirs").mkdir()
    dpdk_mempool.tidy("mine", there=False, run_dir=tmp_path / "dpdk")
    assert [path.name for path in (tmp_path / "dpdk").iterdir()] == ["theirs"]
    (tmp_path / "dpdk/theirs").rmdir()
    dpdk_mempool.tidy("mine", there=True, run_dir=tmp_path / "dpdk")
    assert (tmp_path / "dpdk").exists()
    dpdk_mempool.tidy("mine", there=False, run_dir=tmp_path / "dpdk")
    assert not (tmp_path / "dpdk").exists()
