from __future__ import annotations

import json
from pathlib import Path

import pytest

from orrery.mnist import prepare


def run(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    code = prepare.main([*options])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_everything_is_made_once_and_repaired_where_it_is_damaged(
    mnist_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "served"
    options = ("--source", str(mnist_dir), "--cache", str(cache), "--folder", str(folder))
    code, out, _ = run(capsys, *options, "--check")
    assert code == 0
    assert json.loads(out)["changed"] is True
    assert not folder.exists()
    code, out, _ = run(capsys, *options)
    assert len(json.loads(out)["made"]) == 4 + 4 + 20
    for check in ((), ("--check",)):
        code, out, _ = run(capsys, *options, *check)
        assert (code, json.loads(out)) == (0, {"changed": False, "made": []})
    damaged, missing = folder / "digits" / "3.png", folder / "train-labels-idx1-ubyte.gz"
    damaged.write_bytes(b"x")
    missing.unlink()
    code, out, _ = run(capsys, *options)
    assert sorted(json.loads(out)["made"]) == sorted([str(damaged), str(missing)])
    assert damaged.stat().st_mode & 0o777 == 0o644


def test_a_source_that_has_nothing_ends_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--cache", str(tmp_path / "cache"), "--folder", str(tmp_path / "served"))
    code, _, err = run(capsys, "--source", str(tmp_path), *where)
    assert code == 2
    assert f"{tmp_path}: no train-images-idx3-ubyte.gz there" in err
    assert not (tmp_path / "served").exists()
