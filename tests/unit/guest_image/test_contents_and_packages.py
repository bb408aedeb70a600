from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from orrery.errors import ConfigurationError, HostError
from orrery.guest.image import assemble, contents, packages
from orrery.packages.apt import Package

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


def test_a_derivative_takes_the_kernel_of_the_closest_relative() -> None:
    kernels = {"debian": "linux-image-cloud-amd64", "ubuntu": "linux-image-virtual"}
    assert packages.kernel_package(kernels, DEBIAN) == "linux-image-cloud-amd64"
    assert packages.kernel_package(kernels, MINT) == "linux-image-virtual"
    with pytest.raises(ConfigurationError, match="no kernel is known for 'arch', only for debian"):
        packages.kernel_package(kernels, {**DEBIAN, "ID": "arch"})


def test_a_plan_survives_json() -> None:
    one = Package("a", "1:2", "a_1%3a2_amd64.deb", "00")
    plan = packages.Plan((one,), (one, one))
    assert packages.from_json(packages.to_json(plan)) == plan


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
