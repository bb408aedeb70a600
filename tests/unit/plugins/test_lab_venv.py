"""The environment of a lab's services, and the wheel that goes into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.modules import lab_venv


def test_a_wheel_that_was_brought_is_taken_as_it_is(tmp_path: Path) -> None:
    brought, wheels = tmp_path / "brought", tmp_path / "wheels"
    brought.mkdir()
    wheels.mkdir()
    (brought / "orrery-2-py3-none-any.whl").write_text("new")
    (brought / "tree").write_text("0a1b\n")
    (wheels / "orrery-1-py3-none-any.whl").write_text("old")
    params = {"wheel": str(brought), "wheels": str(wheels), "checkout": "/no/such"}
    assert lab_venv.tree_of(params) == "0a1b"
    made = lab_venv.own_wheel("/no/such/python", params)
    assert [path.name for path in wheels.iterdir()] == [made.name] == ["orrery-2-py3-none-any.whl"]
    (brought / "tree").unlink()
    with pytest.raises(lab_venv.VenvError, match="It comes with the wheel"):
        lab_venv.tree_of(params)


@pytest.mark.parametrize("count", [0, 2])
def test_just_one_wheel_is_needed(tmp_path: Path, count: int) -> None:
    for number in range(count):
        (tmp_path / f"orrery-{number}-py3-none-any.whl").write_text("")
    with pytest.raises(lab_venv.VenvError, match=f"{count} wheels of orrery found, one is needed"):
        lab_venv.ready_wheel(tmp_path)
