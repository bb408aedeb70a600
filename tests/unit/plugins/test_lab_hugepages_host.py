"""What the kernel's files, the table of mounts and the links at boot say of huge pages."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.lab_hugepages_pool import HugepagesError

from plugins.module_utils import lab_hugepages_boot as boot
from plugins.module_utils import lab_hugepages_mount as mounts
from plugins.module_utils import lab_hugepages_pool as pools


def test_a_pool_is_read_and_written_through_its_files(tmp_path: Path) -> None:
    for name, value in (("nr", 9), ("free", 4), ("resv", 1), ("surplus", 2)):
        (tmp_path / f"{name}_hugepages").write_text(f"{value}\n")
    pool = pools.Pool(tmp_path)
    assert pool.counts() == pools.Counts(9, 4, 1, 2)
    assert (pool.counts().persistent, pool.counts().unclaimed) == (7, 3)
    pool.resize(11)
    assert (tmp_path / "nr_hugepages").read_text() == "11\n"


def test_mounts_are_found_with_sizes_in_any_unit() -> None:
    text = (
        "72 27 0:43 / /run/a\\040b rw - hugetlbfs t-hugepages rw,pagesize=1024M,size=16777216\n"
        "73 27 0:44 / /run/c rw shared:3 - tmpfs none rw,size=4096k\n"
    )
    found = mounts.mounted_at("/run/a b", text)
    assert found == mounts.Mount("hugetlbfs", "t-hugepages", 1048576, 16384)
    assert mounts.mounted_at("/run/d", text) is None
    with pytest.raises(HugepagesError) as refused:
        mounts.refuse_foreign("/run/c", mounts.mounted_at("/run/c", text), "t-hugepages")
    assert "none (tmpfs) is mounted at /run/c, which is not the lab's" in str(refused.value)
    mounts.refuse_foreign("/run/a b", found, "t-hugepages")


def test_only_huge_pages_of_the_file_count_as_proof() -> None:
    text = (
        "7f00-7f01 rw-s 00000000 00:2b 5   /run/x/.orrery-proof-1\n"
        "Shared_Hugetlb:        0 kB\nPrivate_Hugetlb:    2048 kB\n"
        "7f02-7f03 rw-s 00000000 00:2b 6   /run/y/other\nPrivate_Hugetlb:    2048 kB\n"
    )
    assert mounts.resident_kb(text, "/run/x/.orrery-proof-1") == 2048


def test_the_script_at_boot_is_found_and_disabled(tmp_path: Path) -> None:
    calls: list[list[str]] = []

    def run(argv: list[str]) -> tuple[int, str, str]:
        calls.append(argv)
        return (0, "", "") if argv[0] == "update-rc.d" else (1, "", "no bus")

    for manager, link in (
        ("runit", "rcS.d/S01t-hugepages"),
        ("systemd", "systemd/system/multi-user.target.wants/t-hugepages.service"),
    ):
        assert not boot.enabled("t-hugepages", manager, tmp_path)
        (tmp_path / link).parent.mkdir(parents=True)
        (tmp_path / link).symlink_to("/nowhere")
        assert boot.enabled("t-hugepages", manager, tmp_path)
    boot.disable(run, "t-hugepages", "runit")
    assert calls == [["update-rc.d", "-f", "t-hugepages", "remove"]]
    with pytest.raises(HugepagesError, match="systemctl disable t-hugepages.service ended with 1"):
        boot.disable(run, "t-hugepages", "systemd")
