"""One further suite of the host's mirror: reading sources, and adding and removing a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import lab_apt
from ansible.module_utils import lab_apt_sources as apt_sources
from ansible.module_utils import lab_state_file as state_file

from plugins.modules import lab_apt_suite

SUITE = "bookworm-backports"
DEBIAN = """\
Types: deb deb-src
# a comment of the image
URIs: http://mirror/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

types: deb
uris: http://mirror/security
suites: bookworm-security
components: main
signed-by: /usr/share/keyrings/debian.gpg
"""
UBUNTU = """\
# see the manual

Types: deb
URIs: http://security/ubuntu/
Suites: noble-security
Components: main universe
Signed-By: /usr/share/keyrings/ubuntu.gpg

Types: deb
URIs: http://archive/ubuntu/
Suites: noble noble-updates noble-backports
Components: main universe
Signed-By: /usr/share/keyrings/ubuntu.gpg
"""
INLINE = """\
Enabled: no
Types: deb
URIs: http://off/debian
Suites: bookworm-backports
Components: main

Types: deb
URIs: http://mirror/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJ
 -----END PGP PUBLIC KEY BLOCK-----
Architectures: amd64
"""
ONE_LINE = """\
# deb http://off/debian bookworm-backports main
deb [arch=amd64,i386 signed-by=/k.gpg trusted=yes] http://mirror/debian bookworm main contrib # own
deb-src http://mirror/debian bookworm main
deb http://mirror/debian bookworm-updates main
deb cdrom:[Debian 12]/ bookworm main
deb http://flat/ ./
"""


def test_stanzas_are_read_with_comments_and_any_case_of_names() -> None:
    first, second = apt_sources.parse_deb822(DEBIAN)
    assert first.types == ("deb", "deb-src")
    assert first.suites == ("bookworm", "bookworm-updates")
    assert first.components == ("main", "contrib")
    assert second.uris == ("http://mirror/security",)
    assert first.options == second.options == {"signed-by": "/usr/share/keyrings/debian.gpg"}


def test_lines_are_read_with_their_options_and_without_those_that_are_off() -> None:
    found = apt_sources.parse_one_line(ONE_LINE)
    assert found[0] == apt_sources.Source(
        ("deb",),
        ("http://mirror/debian",),
        ("bookworm",),
        ("main", "contrib"),
        options={"architectures": "amd64 i386", "signed-by": "/k.gpg", "trusted": "yes"},
    )
    assert [(one.types, one.suites) for one in found[1:]] == [
        (("deb-src",), ("bookworm",)),
        (("deb",), ("bookworm-updates",)),
        (("deb",), ("bookworm",)),
        (("deb",), ("./",)),
    ]
    assert not apt_sources.has_suite(found, SUITE)


def test_an_entry_that_is_disabled_counts_as_absent() -> None:
    found = apt_sources.parse_deb822(INLINE)
    assert not found[0].enabled
    assert not apt_sources.has_suite(found, SUITE)
    assert apt_sources.has_suite(found, "bookworm")


def test_a_key_within_the_entry_goes_along_to_the_new_suite() -> None:
    mirror = apt_sources.mirror_of(apt_sources.parse_deb822(INLINE), "bookworm")
    assert mirror is not None
    text = apt_sources.rendered(mirror, SUITE, "Ansible managed")
    assert text == (
        "# Ansible managed\nTypes: deb\nURIs: http://mirror/debian\nSuites: bookworm-backports\n"
        "Components: main\nArchitectures: amd64\nSigned-By:\n"
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY865UxYJ\n"
        " -----END PGP PUBLIC KEY BLOCK-----\n"
    )
    assert apt_sources.parse_deb822(text)[0].options == mirror.options


def test_ubuntu_s_archive_is_the_mirror_and_not_its_security_host() -> None:
    sources = apt_sources.parse_deb822(UBUNTU)
    mirror = apt_sources.mirror_of(sources, "noble")
    assert mirror is not None
    assert mirror.uris == ("http://archive/ubuntu/",)
    assert apt_sources.has_suite(sources, "noble-backports")


def test_a_vendor_that_uses_the_release_s_name_is_not_taken_for_the_mirror() -> None:
    vendor = apt_sources.parse_one_line("deb http://vendor/apt bookworm main\n")
    own = apt_sources.parse_deb822(DEBIAN)
    by_updates = apt_sources.mirror_of([*vendor, *own], "bookworm")
    assert by_updates is own[0]
    no_updates = apt_sources.parse_one_line("deb http://mirror/debian/ bookworm main\n")
    by_lists = apt_sources.mirror_of([*vendor, *no_updates], "bookworm", ["http://mirror/debian"])
    assert by_lists is no_updates[0]
    assert apt_sources.mirror_of(own, "trixie") is None


def test_apt_s_lists_tell_the_mirror_and_the_suites_under_all_their_names() -> None:
    targets = (
        "http://mirror/debian/|bookworm|main|Debian|bookworm|oldstable\n"
        "http://vendor/apt/|bookworm|main|Vendor|bookworm|stable\n"
        "http://mirror/debian/|oldstable-backports|main|Debian Backports|bookworm-backports|x\n"
    )
    assert lab_apt_suite.own_uris(targets, "bookworm") == ["http://mirror/debian/"]
    assert lab_apt_suite.listed(targets, SUITE)
    assert not lab_apt_suite.listed(targets, "trixie-backports")


class EndError(Exception):
    """What exit_json and fail_json raise here."""


class World:
    """As much of AnsibleModule as the module uses, and an apt with folders of its own."""

    def __init__(self, folder: Path, lab: str = "mine", **params: Any) -> None:
        self.parts = folder / "etc" / "sources.list.d"
        self.lists = folder / "lists"
        for one in (self.parts, self.lists):
            one.mkdir(parents=True, exist_ok=True)
        self.params = {
            "suite": SUITE,
            "release": "bookworm",
            "timeout_s": 5,
            "lock_timeout_s": 1,
            "record": str(folder / lab / "state.json"),
            "lab_name": lab,
            **params,
        }
        self.check_mode = False
        self.targets = ""
        self.update: tuple[int, str, str] = (0, "", "")
        self.calls: list[list[str]] = []

    def run_command(self, argv: list[str], **_: Any) -> tuple[int, str, str]:
        self.calls.append(argv)
        if argv[0] == "apt-config":
            folder = self.parts.parent
            main = f"main='{folder}/sources.list'\nparts='{self.parts}/'\nlists='{self.lists}/'\n"
            return 0, main, ""
        if "indextargets" in argv:
            return 0, self.targets, ""
        assert argv[-1] == "update"
        (self.lists / f"mirror_dists_{SUITE}_InRelease").touch()
        return self.update

    def fail_json(self, msg: str, **_: Any) -> None:
        raise EndError(msg)

    @property
    def file(self) -> Path:
        return self.parts / f"orrery-{SUITE}.sources"

    @property
    def fact(self) -> Any:
        path = Path(self.params["record"])
        return state_file.read(path, self.params["lab_name"])["facts"].get("apt_suite")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    made = World(tmp_path)
    (made.parts / "debian.sources").write_text(DEBIAN, encoding="utf-8")
    yield made
    assert (made.parts / "debian.sources").read_text(encoding="utf-8") == DEBIAN


def present(world: World) -> dict[str, Any]:
    return lab_apt_suite.present(world)


def absent(world: World) -> dict[str, Any]:
    return lab_apt_suite.absent(world)


def test_the_suite_is_added_fetched_alone_kept_and_removed(world: World) -> None:
    result = present(world)
    assert (result["changed"], result["reachable"]) == (True, True)
    assert world.file.read_text(encoding="utf-8").splitlines()[1:] == [
        "Types: deb",
        "URIs: http://mirror/debian",
        "Suites: bookworm-backports",
        "Components: main",
        "Signed-By: /usr/share/keyrings/debian.gpg",
    ]
    assert world.file.stat().st_mode & 0o777 == 0o644
    update = world.calls[-1]
    assert update[:3] == ["timeout", "5", "apt-get"]
    assert f"Dir::Etc::sourcelist={world.file}" in update
    assert {"Dir::Etc::sourceparts=-", "APT::Get::List-Cleanup=0"} <= set(update)
    assert world.fact == {"suite": SUITE, "file": str(world.file)}

    world.calls.clear()
    assert present(world)["changed"] is False
    assert not any("update" in call for call in world.calls)

    assert absent(world)["kept_for"] == ""
    assert not world.file.exists()
    assert list(world.lists.iterdir()) == []
    assert world.fact is None
    assert absent(world)["changed"] is False


def test_check_mode_writes_nothing(world: World) -> None:
    world.check_mode = True
    result = present(world)
    assert result["changed"] is True
    assert "Suites: bookworm-backports" in result["diff"]["after"]
    assert not world.file.exists()
    assert not Path(world.params["record"]).exists()
    assert not any("update" in call for call in world.calls)


def test_a_suite_of_the_user_s_is_used_as_it_is(world: World) -> None:
    theirs = world.parts / "theirs.list"
    theirs.write_text(f"deb http://mirror/debian {SUITE} main\n", encoding="utf-8")
    world.targets = f"http://mirror/debian/|{SUITE}|main|Debian Backports|{SUITE}|x\n"
    result = present(world)
    assert (result["changed"], result["reachable"], result["file"]) == (False, True, "")
    assert not world.file.exists()
    assert world.fact is None
    assert absent(world)["changed"] is False
    assert theirs.exists()


def test_a_suite_of_the_user_s_without_lists_is_fetched_or_reported(world: World) -> None:
    (world.parts / "theirs.list").write_text(f"deb http://m/debian {SUITE} main\n")
    world.update = (100, "", "E: it does not answer\n")
    result = present(world)
    assert (result["reachable"], result["reason"]) == (False, "E: it does not answer")
    assert not world.file.exists()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((100, "", "W: x\nE: no Release file.\nE: Some failed.\n"), "E: no Release file"),
        ((124, "", ""), "longer than 5 s"),
    ],
)
def test_a_suite_that_cannot_be_reached_leaves_nothing(
    world: World, answer: tuple[int, str, str], reason: str
) -> None:
    world.update = answer
    result = present(world)
    assert (result["changed"], result["reachable"]) == (False, False)
    assert result["reason"].endswith(reason)
    assert not world.file.exists()
    assert list(world.lists.iterdir()) == []
    assert world.fact is None


def test_a_host_without_a_mirror_of_its_release_is_told_so(world: World) -> None:
    world.params.update(release="trixie", suite="trixie-backports")
    result = present(world)
    assert result["reachable"] is False
    assert result["reason"] == "the sources of this host name no mirror of trixie"


def test_rejects_a_name_that_is_no_suite(world: World) -> None:
    world.params["suite"] = "../etc"
    with pytest.raises(EndError, match=r"suite is '\.\./etc' and release 'bookworm'; names such"):
        present(world)


def test_the_file_stays_while_another_lab_uses_it(world: World, tmp_path: Path) -> None:
    present(world)
    other = World(tmp_path, lab="other")
    assert present(other)["changed"] is False
    assert other.fact == world.fact

    result = absent(world)
    assert result["kept_for"] == "other"
    assert world.file.exists()
    assert world.fact is None

    assert absent(other)["kept_for"] == ""
    assert not world.file.exists()


def test_lists_that_the_user_s_own_entry_needs_stay(world: World) -> None:
    present(world)
    (world.parts / "theirs.list").write_text(f"deb http://mirror/debian {SUITE} main\n")
    absent(world)
    assert not world.file.exists()
    assert len(list(world.lists.iterdir())) == 1


def test_folders_of_apt_come_from_its_configuration(world: World) -> None:
    folders = lab_apt.Apt(world, 1).folders()
    assert (folders.parts, folders.lists) == (world.parts, world.lists)
    # From here on every program fails, apt-config too.
    world.run_command = lambda argv, **_: (100, "", "E: broken\n")  # type: ignore[method-assign]
    with pytest.raises(EndError, match="apt-config failed: E: broken"):
        lab_apt.Apt(world, 1).folders()
