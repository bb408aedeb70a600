"""Which lab is meant follows from options, lab.local.yml and the inventory."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery.errors import ConfigurationError, UsageError
from orrery.lab import settings


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    hosts = tmp_path / "inventory" / "local" / "hosts.yml"
    hosts.parent.mkdir(parents=True)
    hosts.write_text("lab: {hosts: {localhost: {}}}\n")
    return tmp_path


def test_the_default_lab_is_orrery(checkout: Path) -> None:
    found = settings.load("", (), checkout)
    assert found.lab_name == "orrery"
    assert found.state_file.path == Path("/var/lib/orrery/state.json")
    assert found.extra == ()


def test_a_later_place_wins(checkout: Path) -> None:
    variables = checkout / "inventory" / "local" / "group_vars" / "all.yml"
    variables.parent.mkdir()
    variables.write_text("lab_name: one\n")
    assert settings.load("", (), checkout).lab_name == "one"
    (checkout / "lab.local.yml").write_text("lab_name: two\n")
    found = settings.load("", (), checkout)
    assert found.lab_name == "two"
    assert found.extra == (f"@{checkout / 'lab.local.yml'}",)
    found = settings.load("", ("lab_name=three", "x=1"), checkout)
    assert found.lab_name == "three"
    assert found.extra[1:] == ("lab_name=three", "x=1")


def test_variables_can_come_from_a_file(checkout: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text("lab_name: four\n")
    assert settings.load("", (f"@{file}",), checkout).lab_name == "four"


def test_a_missing_inventory_is_an_error(checkout: Path) -> None:
    with pytest.raises(ConfigurationError, match="--inventory: there is no nope"):
        settings.load("nope", (), checkout)


@pytest.mark.parametrize("name", ["Orrery", "1lab", "a-name-too-long", "a/b", ""])
def test_a_name_that_cannot_prefix_an_interface_is_refused(checkout: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"lab_name: '{name}' found"):
        settings.load("", (f"lab_name={name}",), checkout)


def test_an_extra_is_name_and_value(checkout: Path) -> None:
    with pytest.raises(UsageError, match="--extra takes name=value or @file, not 'lab_name'"):
        settings.load("", ("lab_name",), checkout)


@pytest.mark.parametrize(
    ("text", "message"), [("- a\n", "variables .name: value. are needed"), ("a: [", "is no YAML")]
)
def test_a_broken_local_file_is_named(checkout: Path, text: str, message: str) -> None:
    (checkout / "lab.local.yml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        settings.load("", (), checkout)


def test_a_group_s_variables_name_the_lab_too(checkout: Path) -> None:
    folder = checkout / "inventory" / "local" / "group_vars"
    folder.mkdir()
    (folder / "all.yml").write_text("lab_name: one\n")
    (folder / "a_group.yml").write_text("lab_name: two\n")
    assert settings.load("", (), checkout).lab_name == "two"


@pytest.mark.parametrize(
    ("text", "in_vm"),
    [
        ("vms: {hosts: {lab-vm: {}}}\n", True),
        ("vms: {}\n", False),
        ("lab: {hosts: {localhost: {}}}\n", False),
    ],
)
def test_an_inventory_tells_whether_the_lab_lives_in_a_vm(
    checkout: Path, text: str, in_vm: bool
) -> None:
    (checkout / "inventory" / "local" / "hosts.yml").write_text(text)
    assert settings.load("", (), checkout).in_vm is in_vm
