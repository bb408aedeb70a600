from __future__ import annotations

import hashlib
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.module_utils import lab_site_packages, lab_wheels

from plugins.action import lab_image as action

WHEEL = "wandering-1.0-py3-none-any.whl"
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    package = tmp_path / "tools" / "orrery"
    for name in ("__init__.py", "errors.py", "runtime/__init__.py", "engine/__init__.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(f"# {name}\n", encoding="utf-8")
    (package / "runtime" / "__pycache__").mkdir()
    (package / "runtime" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (tmp_path / "install.py").write_text("", encoding="utf-8")
    return {
        "name": "tried", "base": "b:1", "install_script": str(tmp_path / "install.py"), "lock": "",
        "source": str(tmp_path / "tools"), "rooms": ["runtime", "errors"], "files": [],
        "environment": {}, "command": [], "ports": [], "user": "action", "user_id": 1,
    }  # fmt: skip


def test_only_the_named_rooms_go_in(arguments: dict[str, Any]) -> None:
    assert sorted(action.members(arguments)) == [
        "orrery-build/install.py",
        "orrery-build/plan.json",
        "orrery-build/site/orrery/__init__.py",
        "orrery-build/site/orrery/errors.py",
        "orrery-build/site/orrery/runtime/__init__.py",
    ]


def test_the_key_follows_what_goes_in_and_nothing_else(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    key = action.key_of(arguments, action.members(arguments))
    (tmp_path / "tools" / "orrery" / "engine" / "__init__.py").write_text("new", encoding="utf-8")
    assert action.key_of(arguments, action.members(arguments)) == key
    other = {**arguments, "base": "b:2"}
    assert action.key_of(other, action.members(other)) != key
    (tmp_path / "tools" / "orrery" / "errors.py").write_text("new", encoding="utf-8")
    assert action.key_of(arguments, action.members(arguments)) != key


def test_the_archive_is_the_same_each_time(arguments: dict[str, Any], tmp_path: Path) -> None:
    content = action.members(arguments)
    for name in ("one.tar", "two.tar"):
        action.pack(content, tmp_path / name)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        assert {(entry.uid, entry.mode, entry.mtime) for entry in archive} == {(0, 0o644, 0)}


def test_a_place_that_is_not_absolute_is_refused(arguments: dict[str, Any]) -> None:
    wrong = {**arguments, "files": [{"src": arguments["install_script"], "dest": "opt/x"}]}
    with pytest.raises(AnsibleActionFail, match="'opt/x' found in container_image_files"):
        action.members(wrong)


def test_platforms_go_down_from_the_c_library_of_the_image() -> None:
    tags = lab_wheels.Target("3.11", "x86_64", "2.36").platforms()
    assert tags[0] == "manylinux_2_36_x86_64"
    assert "manylinux_2_17_x86_64" in tags
    assert "manylinux_2_37_x86_64" not in tags


def lock_and_arguments(tmp_path: Path, digest: str) -> tuple[str, dict[str, Any]]:
    wheels = tmp_path / "wheels"
    wheels.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheels / WHEEL, "w") as wheel:
        info = zipfile.ZipInfo("wandering-1.0.dist-info/METADATA")
        wheel.writestr(info, "Metadata-Version: 2.1\nName: wandering\nVersion: 1.0\n")
        wheel.writestr(
            zipfile.ZipInfo("wandering-1.0.dist-info/WHEEL"),
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(zipfile.ZipInfo("wandering-1.0.dist-info/RECORD"), "")
        for name in (
            "wandering.py",
            "wandering_far/tests/ends.py",
            "wandering_far/tests/test_a.py",
            "wandering_far/tools/deep/maker.py",
            "wandering_far/maker-1.2.so",
        ):
            wheel.writestr(zipfile.ZipInfo(name), "STEPS = 3\n")
    digest = digest or hashlib.sha256((wheels / WHEEL).read_bytes()).hexdigest()
    lock = (
        "# without: wandering_far/tools wandering_far/maker-*.so not/there\n"
        f"wandering==1.0 ; python_full_version >= '3.11' \\\n    --hash=sha256:{digest}\n"
        f"elsewhere==2.0 ; sys_platform == 'win32' \\\n    --hash=sha256:{digest}\n"
    )
    arguments = {
        "python": sys.executable,
        "cache_dir": str(tmp_path / "cache"),
        "wheel_dir": str(wheels),
        # Nothing listens there: the index cannot be asked.
        "proxy": "http://127.0.0.1:9",
        "ca_bundle": "",
        "timeout_s": 120,
    }
    return lock, arguments


def collect(tmp_path: Path, digest: str) -> Path:
    lock, arguments = lock_and_arguments(tmp_path, digest)
    target = lab_wheels.Target("3.11", "x86_64", "2.36")
    folder: Path = lab_wheels.collect(lock, target, arguments)
    return folder


def test_wheels_come_from_the_local_folder_and_stay_in_the_cache(tmp_path: Path) -> None:
    folder = collect(tmp_path, "")
    assert [one.name for one in folder.iterdir()] == [WHEEL]
    made = folder.stat().st_mtime_ns
    assert collect(tmp_path, "").stat().st_mtime_ns == made


def test_a_wheel_with_another_hash_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(lab_wheels.WheelsError) as refused:
        collect(tmp_path, "0" * 64)
    assert "wheels for Python 3.11 cannot be had" in str(refused.value)
    assert "Set lab_wheel_dir to a folder that holds them" in str(refused.value)
    assert not list((tmp_path / "cache" / "wheels").glob("*[0-9a-f]"))


@pytest.mark.parametrize(("python", "compiled"), [(THIS, True), ("3.99", False)])
def test_packages_are_installed_once_and_compiled_by_their_own_python(
    tmp_path: Path, python: str, compiled: bool
) -> None:
    lock, arguments = lock_and_arguments(tmp_path, "")
    target = lab_wheels.Target(python, "x86_64", "2.36")
    archive = lab_site_packages.install(lock, target, arguments)
    with tarfile.open(archive) as content:
        names = [Path(entry.name).relative_to(lab_site_packages.PLACE) for entry in content]
        assert {(entry.uid, entry.gid) for entry in content} == {(0, 0)}
    assert Path("wandering.py") in names
    assert [name.name for name in names if "tests" in name.parts and name.suffix == ".py"] == [
        "ends.py"
    ], "tests of packages stay out, and what packages may share with them does not"
    assert not [name for name in names if "maker" in name.name], "the lock says: without"
    assert any(name.suffix == ".pyc" for name in names) is compiled
    made = archive.stat().st_mtime_ns
    assert lab_site_packages.install(lock, target, arguments).stat().st_mtime_ns == made
    assert not list(archive.parent.glob("*.partial"))


@pytest.mark.parametrize("path", ["/etc", "wandering_far/../../x"])
def test_what_is_left_out_lies_among_the_packages(tmp_path: Path, path: str) -> None:
    lock, arguments = lock_and_arguments(tmp_path, "")
    target = lab_wheels.Target(THIS, "x86_64", "2.36")
    with pytest.raises(lab_wheels.WheelsError, match="a path below it is needed"):
        lab_site_packages.install(f"# without: {path}\n{lock}", target, arguments)
    assert not list((tmp_path / "cache").rglob("*.tar"))


def test_packages_that_cannot_be_had_leave_no_archive(tmp_path: Path) -> None:
    lock, arguments = lock_and_arguments(tmp_path, "0" * 64)
    with pytest.raises(lab_wheels.WheelsError, match="cannot be had"):
        lab_site_packages.install(lock, lab_wheels.Target(THIS, "x86_64", "2.36"), arguments)
    assert not list((tmp_path / "cache").rglob("*.tar"))
