"""One archive travels to the other host, named by what is in it."""

from __future__ import annotations

import importlib.util
import os
import sys
import tarfile
from pathlib import Path

import pytest

from orrery import shell
from plugins.modules import lab_cargo


def test_files_and_folders_get_their_places(tmp_path: Path) -> None:
    (tmp_path / "wheels" / "deep").mkdir(parents=True)
    (tmp_path / "wheels" / "a.whl").write_text("a")
    (tmp_path / "wheels" / "deep" / "b.whl").write_text("b")
    (tmp_path / "lock").write_text("l")
    found = lab_cargo.files(
        [
            {"src": [str(tmp_path / "wheels")], "dest": "cargo/wheels"},
            {"src": [str(tmp_path / "lock")], "dest": "cargo"},
        ]
    )
    assert sorted(found) == [
        "cargo/lock",
        "cargo/wheels/a.whl",
        "cargo/wheels/deep/b.whl",
    ]


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(lab_cargo.CargoError, match=f"there is no {tmp_path}/gone"):
        lab_cargo.files([{"src": [str(tmp_path / "gone")], "dest": "a"}])


@pytest.mark.parametrize("dest", ["/etc/passwd", "cargo/../../etc"])
def test_nothing_leaves_the_archive(tmp_path: Path, dest: str) -> None:
    with pytest.raises(lab_cargo.CargoError, match="a relative path is needed"):
        lab_cargo.files([{"src": [str(tmp_path)], "dest": dest}])


def test_the_name_follows_from_what_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    first = lab_cargo.key_of({"a": file})
    assert lab_cargo.key_of({"a": file}) == first
    assert lab_cargo.key_of({"b": file}) != first
    os.utime(file, (1, 1))
    assert lab_cargo.key_of({"a": file}) != first


def test_the_stamp_is_the_last_file_and_older_archives_go(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    folder = tmp_path / "cargo"
    lab_cargo.pack({"x/a": tmp_path / "a"}, "cargo/loaded-1", folder / "1.tar")
    lab_cargo.pack({"x/a": tmp_path / "a"}, "cargo/loaded-2", folder / "2.tar")
    assert [path.name for path in folder.iterdir()] == ["2.tar"]
    with tarfile.open(folder / "2.tar") as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == ["x/a", "cargo/loaded-2"]
    assert {(member.uid, member.uname) for member in members} <= {(0, "root"), (0, "")}


def test_modules_come_compiled_for_whoever_may_not_write_beside_them(tmp_path: Path) -> None:
    texts = {"good.py": "VALUE = 7\n", "template.py": "{{ no module }} =\n", "data.txt": "x"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    site = "opt/t/lib/site-packages"
    found = {f"{site}/{name}": tmp_path / name for name in texts}
    found |= {f"{site}/pip/good.py": tmp_path / "good.py", "etc/good.py": tmp_path / "good.py"}
    archive = tmp_path / "cargo" / "1.tar"
    lab_cargo.pack(found, "cargo/loaded-1", archive)
    with tarfile.open(archive) as packed:
        compiled = [name for name in packed.getnames() if name.endswith(".pyc")]
        packed.extractall(tmp_path / "there", filter="data")
    assert compiled == [importlib.util.cache_from_source(f"{site}/good.py")]
    source = tmp_path / "there" / site / "good.py"
    os.utime(source, (1, 1))
    argv = [sys.executable, "-B", "-v", "-c", "import good; print(good.VALUE)"]
    took = f"{Path(compiled[0]).name} matches"
    said = shell.run(argv, timeout_s=30, cwd=source.parent)
    assert (said.stdout, took in said.stderr) == ("7\n", True)
    source.write_text("VALUE = 8\n")
    said = shell.run(argv, timeout_s=30, cwd=source.parent)
    assert said.stdout == "8\n"


def test_half_an_archive_does_not_stay(tmp_path: Path) -> None:
    folder = tmp_path / "cargo"
    with pytest.raises(OSError, match="No such file"):
        lab_cargo.pack({"a": tmp_path / "gone"}, "cargo/loaded-1", folder / "1.tar")
    assert list(folder.iterdir()) == []
