"""Packages between two looks at dpkg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import lab_state_file as state_file

from plugins.modules import lab_packages

PLAN = """\
Reading package lists...
Remv old-thing [1.0]
Inst runit-helper (2.15.2 Debian:12 [all])
Inst libc6:amd64 [2.1] (2.2 Debian:12 [amd64]) []
Conf runit-helper (2.15.2 Debian:12 [all])
Purg gone [3]
"""


class FailedError(Exception):
    """What fail_json raises here."""


class Module:
    """As much of AnsibleModule as the functions use; answers come from a table."""

    def __init__(self, answers: dict[str, tuple[int, str, str]], **params: Any) -> None:
        self.params = {"lock_timeout_s": 1, "lab_name": "mine", "name": [], **params}
        self.answers = answers
        self.calls: list[list[str]] = []
        self.check_mode = False

    def run_command(self, argv: list[str], **_: Any) -> tuple[int, str, str]:
        self.calls.append(argv)
        words = " ".join(argv)
        return next((a for key, a in self.answers.items() if key in words), (0, "", ""))

    def fail_json(self, msg: str, **_: Any) -> None:
        raise FailedError(msg)


def test_only_installed_packages_count_and_architectures_are_cut_off() -> None:
    text = "libc6:amd64 installed\nold config-files\nrunit installed\n"
    assert lab_packages.parse_installed(text) == {"libc6", "runit"}


def test_a_plan_tells_what_comes_and_what_goes() -> None:
    assert lab_packages.parse_plan(PLAN) == ({"runit-helper", "libc6"}, {"old-thing", "gone"})


def test_an_installation_that_would_remove_something_is_refused() -> None:
    apt = lab_packages.Apt(Module({"--simulate": (0, PLAN, "")}))
    with pytest.raises(FailedError, match="apt would remove gone old-thing"):
        lab_packages.install(apt, ["runit"], dry=False)


def test_lists_are_refreshed_when_apt_does_not_know_a_package() -> None:
    module = Module({"--simulate": (100, "", "E: Unable to locate package nginx\n")})
    with pytest.raises(
        FailedError, match=r"cannot install them: E: Unable to locate package nginx\. "
    ):
        lab_packages.install(lab_packages.Apt(module), ["nginx"], dry=False)
    assert [call[-1] for call in module.calls].count("update") == 1


def test_check_mode_names_an_unknown_package_and_refreshes_nothing() -> None:
    module = Module({"--simulate": (100, "", "E: Unable to locate package nginx\n")})
    assert lab_packages.install(lab_packages.Apt(module), ["nginx"], dry=True) == {"nginx"}
    assert not any("update" in call for call in module.calls)


def test_nothing_is_started_while_packages_come_in(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with lab_packages.nothing_started(policy):
        assert policy.read_text().endswith("exit 101\n")
        assert policy.stat().st_mode & 0o111
    assert not policy.exists()


def test_a_policy_of_the_host_stays(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    with lab_packages.nothing_started(policy):
        assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert policy.exists()


def test_a_policy_that_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text(lab_packages.POLICY_TEXT)
    with pytest.raises(FailedError), lab_packages.nothing_started(policy):
        raise FailedError
    assert not policy.exists()


def write_lab(folder: Path, name: str, packages: list[str], **facts: Any) -> Path:
    path = folder / name / "state.json"
    path.parent.mkdir()
    state_file.write(path, {**state_file.empty(name), "packages": packages, "facts": facts})
    return path


def test_purge_touches_only_what_the_state_file_names(tmp_path: Path) -> None:
    path = write_lab(tmp_path, "mine", ["runit"])
    module = Module(
        {
            "dpkg-query": (0, "runit installed\nnginx installed\n", ""),
            "--simulate purge": (0, "Purg runit [1]\n", ""),
        },
        record=str(path),
        name=["runit", "nginx"],
    )
    assert lab_packages.absent(module)["removed"] == ["runit"]
    assert state_file.read(path, "mine")["packages"] == []


def test_a_package_that_something_newer_needs_stays(tmp_path: Path) -> None:
    path = write_lab(tmp_path, "mine", ["runit", "helper"])
    module = Module(
        {
            "dpkg-query": (0, "runit installed\nhelper installed\n", ""),
            "--simulate purge runit helper": (0, "Purg runit [1]\nPurg helper\nPurg mine\n", ""),
            "--simulate purge runit": (0, "Purg runit [1]\nPurg mine [2]\n", ""),
            "--simulate purge helper": (0, "Purg helper [1]\n", ""),
        },
        record=str(path),
    )
    result = lab_packages.absent(module)
    assert (result["removed"], result["kept"]) == (["helper"], ["runit"])
    assert state_file.read(path, "mine")["packages"] == ["runit"]


def test_packages_go_to_a_lab_that_is_still_up(tmp_path: Path) -> None:
    path = write_lab(tmp_path, "mine", ["runit"])
    other = write_lab(tmp_path, "other", [], up=True)
    module = Module({}, record=str(path))
    assert lab_packages.absent(module)["handed_over_to"] == "other"
    assert state_file.read(path, "mine")["packages"] == []
    assert state_file.read(other, "other")["packages"] == ["runit"]
    assert module.calls == []
