"""Which CPUs the switch takes on hosts of other shapes than this one."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils import cpu_topology as cpu

from plugins.modules import lab_topology


def host(cpus: int, *, threads: int = 1, nodes: int = 1) -> list[cpu.Cpu]:
    """Hardware threads of a core follow each other; cores are dealt to nodes in blocks."""
    cores = cpus // threads
    return [
        cpu.Cpu(number, (0, number // threads), (number // threads) * nodes // cores)
        for number in range(cpus)
    ]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-3,8", [0, 1, 2, 3, 8]), ("0", [0]), ("", []), ("2,0-1\n", [0, 1, 2])],
)
def test_the_notation_of_the_kernel_is_read(text: str, numbers: list[int]) -> None:
    assert cpu.parse_list(text) == numbers


@pytest.mark.parametrize(
    ("cpus", "pmd", "lcore"),
    [
        (host(1), (0,), (0,)),
        (host(2), (1,), (0,)),
        (host(3), (2,), (0,)),
        (host(4), (3,), (0,)),
        (host(4, threads=2), (2, 3), (0,)),
        (host(8), (6, 7), (0,)),
        (host(16, threads=2), (12, 13, 14, 15), (0,)),
        # One core with four hardware threads: there is no other core to give away.
        (host(4, threads=4), (3,), (0,)),
        # Cores of the first CPU's node come first.
        (host(8, nodes=2), (2, 3), (0,)),
    ],
)
def test_polling_gets_the_last_cpu_or_whole_cores_but_the_first(
    cpus: list[cpu.Cpu], pmd: tuple[int, ...], lcore: tuple[int, ...]
) -> None:
    choice = cpu.choose(cpus)
    assert (choice.pmd, choice.lcore) == (pmd, lcore)


def test_isolated_cores_are_preferred_and_their_node_gets_the_memory() -> None:
    choice = cpu.choose(host(8, nodes=2), [5, 6], pmd_count=1)
    assert choice.pmd == (6,)
    assert choice.nodes == (1,)
    assert choice.why == "8 CPUs, the kernel keeps some free (isolated)"
    assert lab_topology.socket_mem(choice.nodes, 512) == "0,512"
    assert cpu.choose(host(4), [1, 2, 3], pmd_count=1).lcore == (0,)


def test_the_number_of_cores_and_the_cpus_can_be_set() -> None:
    assert cpu.choose(host(8), pmd_count=3).pmd == (5, 6, 7)
    assert cpu.choose(host(4), pmd_count=9).pmd == (1, 2, 3)
    choice = cpu.choose(host(4), pmd=[2, 1], lcore=[3])
    assert (choice.pmd, choice.lcore) == ((1, 2), (3,))
    assert choice.why == "4 CPUs, ovs_pmd_cpus is set"


def test_a_cpu_that_does_not_exist_is_refused() -> None:
    with pytest.raises(cpu.TopologyError) as refused:
        cpu.choose(host(2), pmd=[1, 5, 7])
    assert str(refused.value) == (
        "ovs_pmd_cpus names CPUs 5 and 7, and this host has CPUs 0 and 1. "
        "Set ovs_pmd_cpus to some of these, or to [] to have them computed."
    )
    with pytest.raises(cpu.TopologyError, match="ovs_lcore_cpus names CPU 2"):
        cpu.choose(host(2), lcore=[2])


def test_masks_are_hexadecimal() -> None:
    assert cpu.mask([0, 1, 5]) == "0x23"
    assert cpu.mask([64]) == "0x10000000000000000"


@pytest.mark.parametrize(
    ("version", "column"),
    [
        ("2.17.9", ""),
        ("3.0.3", ""),
        ("3.1.0", "pmd-maxsleep"),
        ("3.2.0", "pmd-sleep-max"),
        ("3.10.1", "pmd-sleep-max"),
        ("4.0", "pmd-sleep-max"),
        ("", "pmd-sleep-max"),
    ],
)
def test_sleeping_has_another_name_in_each_release(version: str, column: str) -> None:
    assert cpu.sleep_column(version) == column


def test_the_sentence_says_who_polls_and_what_it_costs() -> None:
    two = cpu.choose(host(2))
    assert cpu.explain(two, 100, "pmd-maxsleep", "3.1.0") == (
        "2 CPUs: PMD polls on CPU 1 and sleeps up to 100 us when idle, the rest of OVS on CPU 0"
    )
    assert cpu.explain(two, 100, "", "2.17.9") == (
        "2 CPUs: PMD polls on CPU 1 and keeps it busy all the time "
        "(OVS 2.17.9 cannot let it sleep, 3.1 can), the rest of OVS on CPU 0"
    )
    assert cpu.explain(cpu.choose(host(8)), 0, "pmd-maxsleep", "3.1.0") == (
        "8 CPUs: PMD polls on CPUs 6 and 7 and keeps them busy all the time, "
        "the rest of OVS on CPU 0"
    )


def test_how_long_a_pmd_may_sleep_follows_the_number_of_cpus() -> None:
    assert cpu.sleep_us("auto", 3) == 100
    assert cpu.sleep_us("auto", 4) == 0
    assert cpu.sleep_us("250", 64) == 250
    with pytest.raises(cpu.TopologyError, match="ovs_pmd_max_sleep_us is 'long'; auto or a number"):
        cpu.sleep_us("long", 2)


def test_the_topology_is_read_from_the_kernels_files(tmp_path: Path) -> None:
    (tmp_path / "online").write_text("0-2\n")
    (tmp_path / "isolated").write_text("2\n")
    for number, siblings in ((0, "0-1"), (1, "0-1"), (2, "2")):
        topology = tmp_path / f"cpu{number}" / "topology"
        topology.mkdir(parents=True)
        (topology / "core_id").write_text("0\n")
        (topology / "physical_package_id").write_text("-1\n")
        (topology / "thread_siblings_list").write_text(siblings + "\n")
    (tmp_path / "cpu2" / "node1").mkdir()
    cpus, isolated = cpu.read(tmp_path, allowed=[0, 1])
    assert cpus == [cpu.Cpu(0, (0, 0)), cpu.Cpu(1, (0, 0)), cpu.Cpu(2, (0, 2), 1)]
    assert isolated == [2]
    assert [one.number for one in cpu.read(tmp_path, allowed=[1])[0]] == [1, 2]


def test_memory_that_does_not_fit_is_refused_with_both_variables() -> None:
    pages = {"size_kb": 2048, "count": 256}
    assert lab_topology.problem_with_memory(pages, 1, 512) == ""
    assert lab_topology.problem_with_memory({}, 1, 512) == ""
    assert lab_topology.problem_with_memory(pages, 2, 512) == (
        "ovs_socket_mem_mb is 512 on 2 NUMA nodes, and the lab has 512 MB of huge pages "
        "(256 of 2048 kB). Lower ovs_socket_mem_mb or raise hugepages_count."
    )


def test_the_version_is_read_from_the_programs_first_line() -> None:
    text = "ovs-vsctl (Open vSwitch) 3.1.0\nDB Schema 8.3.1\n"
    assert lab_topology.parse_version(text) == "3.1.0"
    assert lab_topology.parse_version("nothing") == ""
