"""Columns of a record, the JSON of ovs-vsctl, and what the log of the switch says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import ovs_database as ovs

from plugins.modules import ovs_record

ROW: dict[str, Any] = {
    "other_config": {"dpdk-init": "try", "pmd-maxsleep": "100"},
    "external_ids": {},
    "cur_cfg": 3,
    "fail_mode": [],
    "trunks": [10, 20],
    "dpdk_initialized": True,
}


def planned(
    columns: dict[str, Any], *, absent: bool = False, prune: bool = False
) -> tuple[list[str], list[str]]:
    wanted = ovs_record.wanted_columns(columns, ROW, absent=absent, prune=prune)
    before = ovs_record.found_columns(wanted, ROW)
    return ovs_record.plan("Open_vSwitch", ".", before, wanted)


def test_what_is_as_wanted_is_not_written() -> None:
    columns = {"other_config": {"pmd-maxsleep": 100, "max-idle": None}, "trunks": [20, 10]}
    assert planned(columns) == ([], [])


def test_maps_are_merged_key_by_key_and_null_removes() -> None:
    words, changed = planned({"other_config": {"pmd-maxsleep": None, "tso": True, "a": "x y"}})
    assert words == [
        *("--", "remove", "Open_vSwitch", ".", "other_config", '"pmd-maxsleep"'),
        *("--", "set", "Open_vSwitch", ".", 'other_config:"tso"="true"'),
        *("--", "set", "Open_vSwitch", ".", 'other_config:"a"="x y"'),
    ]
    assert changed == ["other_config:pmd-maxsleep", "other_config:tso", "other_config:a"]


def test_prune_removes_the_keys_that_are_not_named() -> None:
    assert planned({"other_config": {"dpdk-init": "try"}}, prune=True)[1] == [
        "other_config:pmd-maxsleep"
    ]


def test_absent_removes_the_named_keys_and_no_others() -> None:
    assert planned({"other_config": {"dpdk-init": "whatever", "no": 1}}, absent=True)[1] == [
        "other_config:dpdk-init"
    ]


def test_columns_that_are_no_maps_are_set_as_a_whole() -> None:
    words, changed = planned({"fail_mode": "secure", "cur_cfg": 4, "trunks": None})
    assert words == [
        *("--", "set", "Open_vSwitch", ".", 'fail_mode="secure"'),
        *("--", "set", "Open_vSwitch", ".", "cur_cfg=4"),
        *("--", "clear", "Open_vSwitch", ".", "trunks"),
    ]
    assert changed == ["fail_mode", "cur_cfg", "trunks"]
    assert planned({"trunks": [30]})[0][-1] == "trunks=[30]"


def test_what_was_found_restores_it() -> None:
    columns = {"other_config": {"pmd-maxsleep": 5, "new": 1}, "fail_mode": "secure"}
    wanted = ovs_record.wanted_columns(columns, ROW, absent=False, prune=False)
    before = ovs_record.found_columns(wanted, ROW)
    assert before == {"other_config": {"pmd-maxsleep": "100", "new": None}, "fail_mode": None}
    assert planned(before) == ([], [])


@pytest.mark.parametrize(
    ("changed", "row", "restart"),
    [
        (["other_config:dpdk-extra"], ROW, True),
        (["other_config:userspace-tso-enable"], ROW, True),
        (["other_config:pmd-cpu-mask", "other_config:max-idle"], ROW, False),
        ([], ROW, False),
        ([], {**ROW, "dpdk_initialized": False}, True),
        ([], {**ROW, "dpdk_initialized": False, "other_config": {}}, False),
    ],
)
def test_the_switch_starts_anew_for_what_it_reads_once_and_for_dpdk_that_failed(
    changed: list[str], row: dict[str, Any], restart: bool
) -> None:
    assert ovs_record.needs_restart(changed, ["dpdk-", "userspace-tso-enable$"], row) is restart


def test_a_diff_shows_only_what_holds_something() -> None:
    columns = {"other_config": {"b": "2", "a": None}, "fail_mode": "secure"}
    assert ovs_record.shown(columns) == 'fail_mode = "secure"\nother_config:b = "2"\n'


def test_the_json_of_the_database_is_read() -> None:
    table = {
        "headings": ["name", "options", "tag", "ports"],
        "data": [["p", ["map", [["a", "1"]]], ["set", []], ["set", [["uuid", "u1"]]]]],
    }
    text = json.dumps(table) + "\n" + json.dumps({"headings": ["name"], "data": []}) + "\n"
    assert ovs.parse_tables(text) == [
        [{"name": "p", "options": {"a": "1"}, "tag": [], "ports": ["u1"]}],
        [],
    ]


class Program:
    """What ovs-vsctl answers."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.answer = (code, out, err)
        self.argv: list[str] = []

    def __call__(self, argv: list[str]) -> tuple[int, str, str]:
        self.argv = argv
        return self.answer


def test_a_program_that_fails_is_quoted() -> None:
    program = Program(1, "", 'ovs-vsctl: no row "x" in table Bridge\n')
    with pytest.raises(ovs.NoRowError) as refused:
        ovs.Database("unix:/run/x", program, 5).record("Bridge", "x")
    assert str(refused.value) == ('ovs-vsctl list at unix:/run/x: no row "x" in table Bridge')
    assert program.argv[:4] == ["ovs-vsctl", "--db=unix:/run/x", "--timeout=5", "--format=json"]
    with pytest.raises(ovs.OvsError, match="no answer in time; is ovs-vswitchd running"):
        ovs.Database("unix:/run/x", Program(-14, "", "")).call(["list", "Bridge"], wait=True)


RUN = """\
2026-01-01_00:00:00.1 2026-01-01T00:00:00Z|00001|ovs_numa|INFO|Discovered 2 CPU cores
2026-01-01_00:00:00.2 2026-01-01T00:00:00Z|00009|bridge|ERR|of the run before
2026-01-01_00:00:01.1 2026-01-01T00:00:01Z|00001|ovs_numa|INFO|Discovered 2 CPU cores
2026-01-01_00:00:01.2 2026-01-01T00:00:01Z|00001|dpdk(x)|INFO|a thread that counts for itself
2026-01-01_00:00:01.3 2026-01-01T00:00:01Z|00012|dpdk|ERR|EAL: Not enough memory on socket 0!
EAL: FATAL: Cannot init memory
2026-01-01_00:00:01.4 2026-01-01T00:00:01Z|00016|dpdk|EMER|Unable to initialize DPDK: no
2026-01-01_00:00:01.5 2026-01-01T00:00:01Z|00017|dpdk|ERR|EAL: Not enough memory on socket 0!
"""


def test_errors_are_those_of_the_last_run_once_each_and_without_the_allowed() -> None:
    lines = ovs.run_lines(RUN)
    assert len(lines) == 6
    assert ovs.errors(lines) == [
        "dpdk|ERR|EAL: Not enough memory on socket 0!",
        "dpdk|EMER|Unable to initialize DPDK: no",
    ]
    assert ovs.errors(lines, ["Not enough memory"]) == ["dpdk|EMER|Unable to initialize DPDK: no"]


def test_dpdk_that_did_not_start_is_explained_by_its_own_words() -> None:
    assert ovs.no_dpdk(ovs.run_lines(RUN), "/var/log/x") == (
        "DPDK did not start: EAL: Not enough memory on socket 0!; Unable to initialize DPDK: no "
        "(/var/log/x). Raise hugepages_count, lower ovs_socket_mem_mb, or stop who uses the huge "
        "pages."
    )
    assert "does not say why" in ovs.no_dpdk([], "/var/log/x")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("EAL: Cannot get hugepage information", "Set ovs_hugepage_dir to a hugetlbfs mount"),
        ("EAL: invalid coremask syntax", "Set ovs_lcore_cpus to CPUs of this host."),
        ("something new", "Run the role again once that is mended."),
    ],
)
def test_known_reasons_come_with_advice(reason: str, advice: str) -> None:
    assert ovs.dpdk_advice([reason]).startswith(advice)


def test_a_missing_mempool_driver_is_named_with_its_package() -> None:
    lines = ['x|00020|netdev_dpdk|ERR|Failed to create mempool "ovs1" with a request of 262144']
    assert ovs.no_mempool(lines, "23", False).endswith(
        "the mempool driver is missing. Install the package librte-mempool-ring23."
    )
    assert ovs.no_mempool(lines, "23", True).endswith(
        "the huge pages do not suffice. Raise hugepages_count."
    )
    assert ovs.no_mempool(["x|00020|bridge|INFO|fine"], "23", False) == ""


def test_the_abi_and_the_driver_are_found_among_the_libraries(tmp_path: Path) -> None:
    folder = tmp_path / "x86_64-linux-gnu"
    folder.mkdir()
    assert ovs.dpdk_drivers(tmp_path) == ("", False)
    (folder / "librte_eal.so.23").touch()
    (folder / "librte_eal.so.23.0").touch()
    assert ovs.dpdk_drivers(tmp_path) == ("23", False)
    drivers = folder / "dpdk" / "pmds-23.0"
    drivers.mkdir(parents=True)
    (drivers / "librte_mempool_ring.so.23").touch()
    assert ovs.dpdk_drivers(tmp_path) == ("23", True)
