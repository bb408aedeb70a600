"""Packages between two looks at dpkg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import lab_apt
from ansible.module_utils import lab_state_file as state_file

from plugins.modules import lab_packages

DEFAULTS: dict[str, Any] = {
    "lock_timeout_s": 1,
    "lab_name": "mine",
    "name": [],
    "suite": "",
    "suite_also": [],
    "upgrades": "allowed",
    "keep": [],
    "services": "packaged",
}
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
        self.params = {**DEFAULTS, **params}
        self.answers = answers
        self.calls: list[list[str]] = []
        self.check_mode = False

    def run_command(self, argv: list[str], **_: Any) -> tuple[int, str, str]:
        self.calls.append(argv)
        words = " ".join(argv)
        return next((a for key, a in self.answers.items() if key in words), (0, "", ""))

    def fail_json(self, msg: str, **_: Any) -> None:
        raise FailedError(msg)


def apt_of(module: Module) -> lab_apt.Apt:
    return lab_apt.Apt(module, 1)


def test_only_installed_packages_count_and_architectures_are_cut_off() -> None:
    text = "libc6:amd64 installed 2.1\nold config-files 1\nrunit installed 1:3-1\nvirtual \n"
    assert lab_apt.parse_installed(text) == {"libc6": "2.1", "runit": "1:3-1"}


def test_a_plan_tells_what_comes_what_changes_and_what_goes() -> None:
    plan = lab_apt.parse_plan(PLAN)
    assert plan.coming == {"runit-helper"}
    assert plan.upgraded == (lab_apt.Upgrade("libc6", "2.1", "2.2"),)
    assert plan.going == {"old-thing", "gone"}


def test_an_installation_that_would_remove_something_is_refused() -> None:
    apt = apt_of(Module({"--simulate": (0, PLAN, "")}))
    with pytest.raises(FailedError, match="apt would remove gone old-thing"):
        lab_packages.install(apt, ["runit"], dry=False)


UPGRADING = "Inst libc6:amd64 [2.1] (2.2 Debian:12 [amd64]) []\nInst new (1 Debian:12 [all])\n"


def test_upgrades_are_refused_where_they_are_not_wanted() -> None:
    module = Module({"--simulate": (0, UPGRADING, "")}, upgrades="refused")
    with pytest.raises(
        FailedError, match=r"would upgrade libc6 \(2\.1 to 2\.2\), and upgrades are refused\. "
    ):
        lab_packages.install(apt_of(module), ["new"], dry=False)
    assert not any("--yes" in call for call in module.calls)


def test_what_something_may_run_on_is_not_upgraded_even_where_upgrades_are_allowed() -> None:
    module = Module({"--simulate": (0, UPGRADING, "")}, keep=["qemu-*", "libc*"])
    with pytest.raises(FailedError, match=r"libc6 \(2\.1 to 2\.2\), which stay as they are"):
        lab_packages.install(apt_of(module), ["new"], dry=True)


def test_upgrades_of_the_host_s_packages_are_told_and_remembered(tmp_path: Path) -> None:
    path = write_lab(tmp_path, "mine", [])
    module = Module({"--simulate": (0, UPGRADING, "")}, record=str(path), name=["new"])
    looks = iter(["libc6:amd64 installed 2.1\n", "libc6:amd64 installed 2.2\nnew installed 1\n"])
    plain = module.run_command

    def run_command(argv: list[str], **more: Any) -> tuple[int, str, str]:
        return (0, next(looks), "") if argv[0] == "dpkg-query" else plain(argv, **more)

    # The fake answers from a table; this test needs two answers in turn.
    module.run_command = run_command  # type: ignore[method-assign]
    came, upgraded = lab_packages.install(apt_of(module), ["new"], dry=False)
    assert came == {"new"}
    assert [one.entry() for one in upgraded] == [{"name": "libc6", "from": "2.1", "to": "2.2"}]
    state = state_file.read(path, "mine")
    assert state["packages"] == ["new"]
    assert state["facts"] == {
        "upgraded_packages": [{"name": "libc6", "from": "2.1", "to": "2.2"}],
    }


def test_a_second_upgrade_keeps_the_version_that_was_there_first() -> None:
    state = {**state_file.empty("mine"), "packages": ["ours"]}
    once = lab_packages.with_upgrades(state, [lab_apt.Upgrade("libc6", "1", "2")])
    twice = lab_packages.with_upgrades(
        once, [lab_apt.Upgrade("libc6", "2", "3"), lab_apt.Upgrade("ours", "1", "2")]
    )
    assert twice["facts"]["upgraded_packages"] == [{"name": "libc6", "from": "1", "to": "3"}]
    assert lab_packages.with_upgrades(state, []) == state


def test_a_suite_is_preferred_for_the_packages_alone_and_not_for_all_they_need(
    tmp_path: Path,
) -> None:
    module = Module({"--simulate": (0, "Inst new (1 x [all])\n", "")}, suite="bookworm-backports")
    theirs = tmp_path / "preferences"
    theirs.write_text("Package: curl\nPin: version 1*\nPin-Priority: 1001\n", encoding="utf-8")
    module.answers["apt-config"] = (0, f"file='{theirs}'\n", "")
    apt = apt_of(module)
    with apt.pinned("bookworm-backports", ["new", "new-*"]):
        lab_packages.install(apt, ["new"], dry=True)
        pins = Path(apt.options[-1].removeprefix("Dir::Etc::preferences="))
        assert pins.read_text(encoding="utf-8") == (
            "Package: new new-*\nPin: release n=bookworm-backports\nPin-Priority: 990\n\n"
            "Package: curl\nPin: version 1*\nPin-Priority: 1001\n"
        )
    assert [call[-1] for call in module.calls[-2:]] == ["new/bookworm-backports", "new"]
    assert f"Dir::Etc::preferences={pins}" in module.calls[-1]
    assert "-t" not in module.calls[-1]
    assert not pins.exists()
    assert len(apt.options) == 2


def test_a_package_that_the_suite_has_not_is_not_taken_from_elsewhere() -> None:
    module = Module(
        {
            "new/odd": (100, "", "E: Release 'odd' for 'new' was not found\n"),
            "--simulate": (0, "Inst new (1 x [all])\n", ""),
        },
        suite="odd",
    )
    with pytest.raises(FailedError, match="E: Release 'odd' for 'new' was not found"):
        lab_packages.install(apt_of(module), ["new"], dry=False)
    assert not any("--yes" in call for call in module.calls)


def test_units_and_init_scripts_are_found_among_a_package_s_files() -> None:
    listing = (
        "/lib/systemd/system/virtlogd.socket\n/usr/lib/systemd/system/libvirtd.service\n"
        "/usr/lib/systemd/system/machine@.service\n/usr/lib/systemd/user/other.service\n"
        "/etc/init.d/libvirtd\n/etc/init.d\n/usr/sbin/libvirtd\n"
    )
    assert lab_apt.services_in(listing) == (["libvirtd.service", "virtlogd.socket"], ["libvirtd"])


def test_services_that_came_in_are_disabled_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listing = "/lib/systemd/system/virtlogd.socket\n/etc/init.d/virtlogd\n"
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    module = Module({"dpkg-query -L": (0, listing, "")})
    monkeypatch.setattr(lab_packages, "BOOTED", tmp_path / "none")
    lab_packages.disable_services(apt_of(module), ["libvirt-daemon-log"])
    assert module.calls[1:] == [
        ["systemctl", "disable", "virtlogd.socket"],
        ["update-rc.d", "virtlogd", "disable"],
    ]
    module.calls.clear()
    monkeypatch.setattr(lab_packages, "BOOTED", tmp_path)
    lab_packages.disable_services(apt_of(module), ["libvirt-daemon-log"])
    assert module.calls[1:] == [["systemctl", "disable", "--now", "virtlogd.socket"]]


def test_a_service_that_cannot_be_disabled_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lab_packages, "BOOTED", tmp_path / "none")
    module = Module(
        {"dpkg-query": (0, "/etc/init.d/virtlogd\n", ""), "update-rc.d": (1, "", "no such\n")}
    )
    with pytest.raises(FailedError, match=r"update-rc\.d virtlogd disable: no such"):
        lab_packages.disable_services(apt_of(module), ["libvirt-daemon-log"])


def test_a_look_changes_nothing_and_tells_what_is_ours(tmp_path: Path) -> None:
    path = write_lab(tmp_path, "mine", ["runit"])
    module = Module(
        {"dpkg-query": (0, "runit installed 2\nnginx installed 1\n", "")},
        record=str(path),
        name=["runit", "nginx", "missing"],
    )
    assert lab_packages.looked(module) == {
        "versions": {"runit": "2", "nginx": "1"},
        "recorded": ["runit"],
    }
    assert len(module.calls) == 1


def test_lists_are_refreshed_when_apt_does_not_know_a_package() -> None:
    module = Module({"--simulate": (100, "", "E: Unable to locate package nginx\n")})
    with pytest.raises(
        FailedError, match=r"cannot install them: E: Unable to locate package nginx\. "
    ):
        lab_packages.install(apt_of(module), ["nginx"], dry=False)
    assert [call[-1] for call in module.calls].count("update") == 1


def test_check_mode_names_an_unknown_package_and_refreshes_nothing() -> None:
    module = Module({"--simulate": (100, "", "E: Unable to locate package nginx\n")})
    assert lab_packages.install(apt_of(module), ["nginx"], dry=True) == ({"nginx"}, ())
    assert not any("update" in call for call in module.calls)


def test_nothing_is_started_while_packages_come_in(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with lab_apt.nothing_started(policy):
        assert policy.read_text().endswith("exit 101\n")
        assert policy.stat().st_mode & 0o111
    assert not policy.exists()


def test_a_policy_of_the_host_stays(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    with lab_apt.nothing_started(policy):
        assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert policy.exists()


def test_a_policy_that_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text(lab_apt.POLICY_TEXT)
    with pytest.raises(FailedError), lab_apt.nothing_started(policy):
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
            "dpkg-query": (0, "runit installed 1\nnginx installed 1\n", ""),
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
            "dpkg-query": (0, "runit installed 1\nhelper installed 1\n", ""),
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
