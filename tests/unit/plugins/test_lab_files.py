"""Several small files in one run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from plugins.modules import lab_files


def entry(at: Path, **fields: Any) -> dict[str, Any]:
    blank: dict[str, Any] = {"content": None, "link_to": None, "mode": "0640"}
    return {"path": str(at), **blank, "owner": "nobody-knows", "group": "nobody-knows", **fields}


def wanted(path: Path, **fields: Any) -> lab_files.Wanted:
    parsed = lab_files.parse(entry(path, **fields), absent=False)
    assert isinstance(parsed, lab_files.Wanted)
    return lab_files.Wanted(
        **{**vars(parsed), "uid": os.geteuid(), "gid": os.getegid(), "path": path}
    )


def test_a_file_is_written_once(tmp_path: Path) -> None:
    file = wanted(tmp_path / "a", content="x\n")
    assert not lab_files.same(file, lab_files.look(file.path))
    lab_files.write(file)
    assert lab_files.same(file, lab_files.look(file.path))
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize("change", [{"content": "y\n"}, {"content": "x\n", "mode": "0600"}])
def test_another_content_or_mode_is_a_change(tmp_path: Path, change: dict[str, str]) -> None:
    lab_files.write(wanted(tmp_path / "a", content="x\n"))
    other = wanted(tmp_path / "a", **change)
    assert not lab_files.same(other, lab_files.look(other.path))


def test_a_link_may_point_to_what_is_not_there_yet(tmp_path: Path) -> None:
    link = wanted(tmp_path / "l", link_to="/run/nothing/here")
    lab_files.write(link)
    assert lab_files.same(link, lab_files.look(link.path))
    assert not lab_files.same(wanted(link.path, content=""), lab_files.look(link.path))


def test_a_folder_in_the_way_is_reported(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="is no regular file; move it out of the way"):
        lab_files.look(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "either content or link_to is needed"),
        ({"content": "x", "mode": "640"}, "four octal digits in quotes are needed"),
        ({"content": "x", "path": "a/b"}, "an absolute path is needed"),
    ],
)
def test_a_bad_item_is_explained(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    assert message in str(lab_files.parse(entry(tmp_path / "a", **fields), absent=False))


def test_no_diff_shows_no_content(tmp_path: Path) -> None:
    file = wanted(tmp_path / "a", content="secret\n")
    shown = lab_files.difference(file, lab_files.look(file.path), absent=False, no_diff=True)
    assert "secret" not in str(shown)
    assert shown["before"] != shown["after"]
