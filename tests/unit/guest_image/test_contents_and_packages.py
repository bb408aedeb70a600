from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from orrery.errors import ConfigurationError, HostError
from orrery.guest.image import assemble, contents, packages

DEBIAN = {"ID": "debian", "ID_LIKE": "", "VERSION_CODENAME": "bookworm"}
MINT = {"ID": "mint", "ID_LIKE": "debian ubuntu", "VERSION_CODENAME": "wilma"}


@pytest.fixture
def source(checkout: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    shutil.copytree(checkout / "roles/guest_image/files", folder)
    return folder


def test_the_recipe_follows_from_every_file_and_from_nothing_else(source: Path) -> None:
    first = contents.load(source).recipe
    assert contents.load(source).recipe == first
    for name in ("init", "shutdown", "contents.toml", "probe/cpu.c", "probe/probe.h"):
        path = source / name
        text = path.read_bytes()
        path.write_bytes(text + b"\n")
        assert contents.load(source).recipe != first, name
        path.write_bytes(text)
    (source / "README").touch()
    assert contents.load(source).recipe == first


def test_a_source_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--source has to be the folder files of the role"):
        contents.load(tmp_path)


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("programs", {"names": "busybox"}, "programs.names is 'busybox', a list of names"),
        ("modules", {}, "modules.boot is None, a list of names is needed"),
        ("kernel", {}, "kernel is {}, a package for each distribution is needed"),
    ],
)
def test_wrong_contents_are_named(checkout: Path, section: str, value: Any, message: str) -> None:
    text = (checkout / "roles/guest_image/files/contents.toml").read_text(encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        contents.parse({**tomllib.loads(text), section: value})
    assert message in str(caught.value)


def test_where_one_part_ends_counts_for_the_hash() -> None:
    assert contents.digest(["ab", "c"]) != contents.digest(["a", "bc"])


def test_a_derivative_takes_the_kernel_of_the_closest_relative() -> None:
    kernels = {"debian": "linux-image-cloud-amd64", "ubuntu": "linux-image-virtual"}
    assert packages.kernel_package(kernels, DEBIAN) == "linux-image-cloud-amd64"
    assert packages.kernel_package(kernels, MINT) == "linux-image-virtual"
    with pytest.raises(ConfigurationError, match="no kernel is known for 'arch', only for debian"):
        packages.kernel_package(kernels, {**DEBIAN, "ID": "arch"})


def test_a_mirror_becomes_a_signed_source() -> None:
    (line,) = packages.mirror_lines("http://mirror/debian", DEBIAN)
    assert line == (
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror/debian "
        "bookworm main"
    )
    assert packages.mirror_lines("http://mirror/ubuntu", MINT)[0].endswith("wilma main universe")
    assert packages.mirror_lines("deb http://mirror x y", DEBIAN) == ["deb http://mirror x y"]


def test_names_and_versions_are_read_from_what_apt_prints() -> None:
    text = (
        "'http://mirror/libc6_2.36-9_amd64.deb' libc6_2.36-9_amd64.deb 2759320 MD5Sum:8d98\n"
        "'http://mirror/e.deb' ethtool_1%3a6.1-1_amd64.deb 196612 \n"
    )
    assert packages.parse_uris(text) == [("libc6", "2.36-9"), ("ethtool", "1:6.1-1")]


def test_fields_are_read_from_stanzas() -> None:
    text = "Package: a\nVersion: 1\nDescription: x\n more: y\n\nPackage: b\nSHA256: 00\n\n"
    first, second = packages.parse_stanzas(text)
    assert (first["Package"], first["Version"]) == ("a", "1")
    assert second == {"Package": "b", "SHA256": "00"}


def test_a_plan_survives_json() -> None:
    one = packages.Package("a", "1:2", "a_1%3a2_amd64.deb", "00")
    plan = packages.Plan((one,), (one, one))
    assert packages.from_json(packages.to_json(plan)) == plan


def test_a_host_without_apt_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/none")
    with pytest.raises(HostError, match="apt-get is not there.*packages of Debian or Ubuntu"):
        packages.Apt(tmp_path, os_release=DEBIAN).update()


def test_a_library_that_no_package_holds_is_named_with_who_needs_it() -> None:
    program = Path(shutil.which("env") or "/usr/bin/env").resolve().read_bytes()
    with pytest.raises(HostError, match=r"env needs \S+, which no package holds"):
        assemble.libraries({"env": program}, lambda name: None)


def test_a_program_that_no_package_holds_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no package holds the program nothing"):
        assemble.programs(["nothing"], tmp_path)


def test_links_that_lead_to_the_host_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/env").symlink_to("/usr/bin/env")
    with pytest.raises(ConfigurationError, match="no package holds the program env"):
        assemble.programs(["env"], tmp_path)


def test_an_unpacked_package_without_a_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="kernels in the kernel's package: none; one is needed"):
        assemble.find_kernel(tmp_path)
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-6.1").touch()
    with pytest.raises(HostError, match=r"package of kernel 6.1 holds no modules"):
        assemble.find_kernel(tmp_path)
