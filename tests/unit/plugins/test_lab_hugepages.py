"""A lab's share of huge pages, on a kernel made of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import lab_state_file as state_file
from ansible.module_utils.lab_hugepages_pool import HugepagesError

from plugins.module_utils import lab_hugepages_pool as pools
from plugins.module_utils.lab_hugepages_lab import Host, Lab
from plugins.modules import lab_hugepages


class KernelPool(pools.Pool):
    """A pool that behaves as mm/hugetlb.c does, with as much memory as the test says."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.total = self.used = self.surplus = 0
        self.most = 1_000_000
        self.interrupt = False

    def exists(self) -> bool:
        return True

    def counts(self) -> pools.Counts:
        return pools.Counts(self.total, self.total - self.used, 0, self.surplus)

    def _write(self, pages: int) -> None:
        if self.interrupt:
            raise KeyboardInterrupt
        taken_in = min(self.surplus, max(0, pages - (self.total - self.surplus)))
        self.surplus -= taken_in
        if pages > self.total - self.surplus:
            self.total = min(pages, self.most)
            return
        self.total = max(pages, self.used)
        self.surplus = self.total - pages

    def free(self, pages: int) -> None:
        """A program ends that had so many."""
        self.used -= pages
        gone = min(self.surplus, pages)
        self.surplus -= gone
        self.total -= gone


class FakeHost(Host):
    """A host with one pool of each size, and a table of mounts."""

    def __init__(self, root: Path) -> None:
        super().__init__(self.program, root)
        self.all: dict[tuple[int, str], KernelPool] = {}
        self.table: dict[str, str] = {}
        self.boot = "boot-1"
        (root / "run").mkdir(parents=True)
        (root / "etc").mkdir()

    def pool(self, size_kb: int, node: str = "") -> KernelPool:
        return self.all.setdefault((size_kb, node), KernelPool(Path("/nowhere")))

    def boot_id(self) -> str:
        return self.boot

    def text(self, path: str) -> str:
        if path == "proc/meminfo":
            return "MemTotal: 9000000 kB\nMemAvailable:    8192000 kB\n"
        return "\n".join(self.table.values())

    def program(self, argv: list[str]) -> tuple[int, str, str]:
        path = argv[-1]
        if argv[0] == "mount":
            line = f"1 2 0:43 / {path} rw - hugetlbfs {argv[-2]} rw,{argv[4]}"
            self.table[path] = line
        else:
            del self.table[path]
        return 0, "", ""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    monkeypatch.setattr("ansible.module_utils.lab_hugepages_mount.prove", lambda *_: "mapped")
    return FakeHost(tmp_path / "host")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lib"


def lab_of(host: Host, folder: Path, name: str = "mine", **more: Any) -> Lab:
    args = {
        "lab_name": name,
        "state_file": str(folder / name / "state.json"),
        "count": 8,
        "size_kb": 2048,
        "mount": str(folder.parent / "mnt" / name),
        "numa_node": "",
        "max_share_percent": 50,
        "manager": "runit",
        **more,
    }
    return Lab(host, args, bool(more.get("dry")))


def up(host: Host, folder: Path, name: str = "mine", **more: Any) -> bool:
    return bool(lab_hugepages.present(lab_of(host, folder, name, **more))[0])


def down(host: Host, folder: Path, name: str = "mine", **more: Any) -> list[str]:
    lab = lab_of(host, folder, name, **more)
    lab_hugepages.absent(lab)
    return lab.notes


def fact(folder: Path, name: str = "mine") -> Any:
    state = state_file.read(folder / name / "state.json", name)
    return state["facts"].get("hugepages")


def test_pages_come_on_top_of_those_of_others_and_go_again(host: FakeHost, folder: Path) -> None:
    pool = host.pool(2048)
    pool.total, pool.used = 20, 5
    assert up(host, folder)
    assert (pool.total, pool.used) == (28, 5)
    assert fact(folder)["added"] == fact(folder)["count"] == 8
    before = state_file.read(folder / "mine/state.json", "mine")["before"]["hugepages"]
    assert before["pages"] == 20
    assert not up(host, folder)
    assert down(host, folder) == []
    assert pool.total == 20
    assert state_file.read(folder / "mine/state.json", "mine") == state_file.empty("mine")
    assert host.table == {}
    assert not host.marker("mine").exists()
    assert not (folder.parent / "mnt").exists()


def test_check_mode_changes_nothing(host: FakeHost, folder: Path) -> None:
    assert up(host, folder, dry=True)
    assert host.pool(2048).total == 0
    assert not folder.exists()
    up(host, folder)
    lab = lab_of(host, folder, count=10, dry=True)
    assert lab_hugepages.present(lab)[0]
    assert lab.before[0] == "pages of 2048 kB: 8, 8 ours\n"
    assert lab.after[0] == "pages of 2048 kB: 10, 10 ours\n"
    assert host.pool(2048).total == 8


def test_fragmented_memory_is_given_back_and_told(host: FakeHost, folder: Path) -> None:
    pool = host.pool(2048)
    pool.total, pool.most = 10, 47
    with pytest.raises(HugepagesError) as refused:
        up(host, folder, count=512)
    assert str(refused.value) == (
        "hugepages: 37 of 512 pages of 2048 kB could be had, memory is fragmented. Set "
        "hugepages_count lower, drop caches and let the kernel move pages together (echo 3 > "
        "/proc/sys/vm/drop_caches; echo 1 > /proc/sys/vm/compact_memory), or reserve at boot: "
        "hugepagesz=2M hugepages=512 on the kernel's command line."
    )
    assert pool.total == 10
    assert fact(folder) is None


def test_a_share_that_cannot_grow_stays_as_it_was(host: FakeHost, folder: Path) -> None:
    up(host, folder)
    host.pool(2048).most = 10
    with pytest.raises(HugepagesError, match="10 of 20 pages"):
        up(host, folder, count=20)
    assert host.pool(2048).total == 8
    assert fact(folder)["added"] == 8
    down(host, folder)
    assert host.pool(2048).total == 0


def test_another_count_grows_and_shrinks_share_and_mount(host: FakeHost, folder: Path) -> None:
    path = str(folder.parent / "mnt" / "mine")
    for count in (8, 12, 3):
        assert up(host, folder, count=count)
        assert host.pool(2048).total == fact(folder)["added"] == count
        found = host.mounted(path)
        assert found is not None
        assert (found.page_kb, found.size_kb) == (2048, 2048 * count)


def test_another_size_gives_the_old_pages_back_first(host: FakeHost, folder: Path) -> None:
    up(host, folder)
    assert up(host, folder, size_kb=1048576, count=1)
    assert host.pool(2048).total == 0
    assert host.pool(1048576).total == 1
    down(host, folder)
    assert host.pool(1048576).total == 0


def test_a_pool_that_was_lowered_gets_the_share_again(host: FakeHost, folder: Path) -> None:
    pool = host.pool(2048)
    pool.total = 20
    up(host, folder)
    pool._write(22)
    assert up(host, folder)
    assert pool.total == 28
    pool._write(20)
    down(host, folder)
    assert pool.total == 20


def test_a_boot_takes_the_pages_unless_the_script_added_them(host: FakeHost, folder: Path) -> None:
    pool = host.pool(2048)
    up(host, folder)
    host.boot, pool.total = "boot-2", 5
    assert up(host, folder)
    assert pool.total == 13
    host.boot, pool.total = "boot-3", 13
    host.marker("mine").write_text("boot-3 8 2048 -\n")
    assert not up(host, folder)
    assert pool.total == 13
    down(host, folder)
    assert pool.total == 5
    assert down(host, folder) == []
    assert pool.total == 5


def test_nothing_is_given_back_twice_after_a_boot(host: FakeHost, folder: Path) -> None:
    up(host, folder)
    host.boot, host.pool(2048).total = "boot-2", 100
    down(host, folder)
    assert host.pool(2048).total == 100
    assert fact(folder) is None


def test_a_lost_state_file_leaves_the_marker_to_go_by(host: FakeHost, folder: Path) -> None:
    up(host, folder)
    (folder / "mine/state.json").unlink()
    down(host, folder)
    assert host.pool(2048).total == 0
    assert not host.marker("mine").exists()


def test_a_crash_that_took_mount_and_marker_does_no_harm(host: FakeHost, folder: Path) -> None:
    up(host, folder)
    host.table.clear()
    host.marker("mine").unlink()
    down(host, folder)
    assert host.pool(2048).total == 0


def test_an_interrupted_run_is_finished_by_the_next(host: FakeHost, folder: Path) -> None:
    pool = host.pool(2048)
    pool.total, pool.interrupt = 4, True
    with pytest.raises(KeyboardInterrupt):
        up(host, folder)
    pool.interrupt = False
    down(host, folder)
    assert pool.total == 4
    pool.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        up(host, folder)
    pool.interrupt = False
    up(host, folder)
    assert pool.total == 12


def test_pages_that_others_use_beyond_their_pool_are_not_ours(host: FakeHost, folder: Path) -> None:
    pool = host.pool(2048)
    pool.total = pool.used = pool.surplus = 3
    up(host, folder)
    assert pool.counts() == pools.Counts(total=11, free=8, reserved=0, surplus=0)
    assert fact(folder)["added"] == 8
    assert not up(host, folder)
    down(host, folder)
    assert pool.counts() == pools.Counts(total=3, free=0, reserved=0, surplus=3)


def test_pages_in_use_stay_with_their_program_and_are_told(host: FakeHost, folder: Path) -> None:
    pool = host.pool(2048)
    up(host, folder)
    pool.used = 6
    assert down(host, folder) == [
        "hugepages: 6 of 8 pages are still in use; the kernel takes each back when the program "
        "that has it ends."
    ]
    assert (pool.total, pool.surplus) == (6, 6)
    pool.free(6)
    assert pool.total == 0


def test_labs_do_not_count_each_others_pages(host: FakeHost, folder: Path) -> None:
    pool = host.pool(2048)
    pool.total = 1
    up(host, folder)
    up(host, folder, "other", count=4)
    assert pool.total == 13
    assert not up(host, folder)
    pool._write(6)
    assert up(host, folder)
    assert not up(host, folder, "other", count=4)
    assert pool.total == 13
    down(host, folder)
    assert pool.total == 5
    down(host, folder, "other")
    assert pool.total == 1


def test_labs_with_state_files_elsewhere_are_known_by_their_markers(
    host: FakeHost, folder: Path
) -> None:
    pool = host.pool(2048)
    up(host, folder / "here")
    up(host, folder / "there", "other", count=4)
    down(host, folder / "here")
    assert pool.total == 4
    up(host, folder / "here")
    down(host, folder / "there", "other")
    assert not up(host, folder / "here")
    assert pool.total == 8


def test_a_user_who_changes_his_own_pages_finds_them_so(host: FakeHost, folder: Path) -> None:
    pool = host.pool(2048)
    pool.total = 10
    up(host, folder)
    pool._write(30)
    assert not up(host, folder)
    pool._write(25)
    assert up(host, folder)
    down(host, folder)
    assert pool.total == 22


def test_a_user_who_gives_back_more_than_the_lab_has_meant_his_own(
    host: FakeHost, folder: Path
) -> None:
    pool = host.pool(2048)
    pool.total = 100
    up(host, folder)
    pool._write(108 - 80)
    assert not up(host, folder)
    down(host, folder)
    assert pool.total == 20
    up(host, folder)
    pool._write(0)
    assert up(host, folder)
    assert pool.total == 8


def test_a_node_has_a_pool_of_its_own(host: FakeHost, folder: Path) -> None:
    host.pool(2048, "1").total = 2
    up(host, folder, numa_node="1")
    assert host.pool(2048, "1").total == 10
    assert host.pool(2048).total == 0
    assert fact(folder)["node"] == "1"


def test_more_memory_than_allowed_names_the_variable(host: FakeHost, folder: Path) -> None:
    up(host, folder, count=1000)
    with pytest.raises(HugepagesError) as refused:
        up(host, folder, count=3000)
    # 8000 MB are available, and 2000 MB are ours already.
    assert str(refused.value) == (
        "hugepages: 3000 pages of 2048 kB are 6000 MB, more than 50 % of the 10000 MB that are "
        "available. Set hugepages_count to 2500 or less, or hugepages_max_share_percent higher."
    )
    assert up(host, folder, count=2500)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "hugepages_count is 0"),
        ({"max_share_percent": 101}, "hugepages_max_share_percent is 101"),
        ({"numa_node": "east"}, "there is no NUMA node 'east' here. Set hugepages_numa_node"),
        ({"numa_node": "7"}, "there is no NUMA node '7' here"),
        ({"size_kb": 16384}, "this kernel has no pages of 16384 kB, it has 2048"),
    ],
)
def test_inputs_that_cannot_work_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    real = Host(lambda argv: (0, "", ""), tmp_path)
    folder = real.pool(2048).folder
    folder.mkdir(parents=True)
    (folder / "nr_hugepages").write_text("0")
    with pytest.raises(HugepagesError) as refused:
        lab_hugepages.check(real, lab_of(real, tmp_path / "lib", **change).args)
    assert message in str(refused.value)
