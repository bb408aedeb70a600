"""Which lab is meant: from the options of a task, `lab.local.yml` and the inventory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from orrery import shell
from orrery.errors import ConfigurationError, UsageError
from orrery.state import LabState, StateFile

CHECKOUT = Path(__file__).resolve().parents[3]
DEFAULT_LAB_NAME = "orrery"
LAB_NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")
LOCAL_FILE = "lab.local.yml"


@dataclass(frozen=True)
class Settings:
    """What every task needs to know.

    Attributes:
        inventory: Folder or file given to Ansible.
        extra: Arguments of `-e` for ansible-playbook, `lab.local.yml` first.
        in_vm: Whether the lab lives in a VM that this machine runs.
        variables: Of inventory, `lab.local.yml` and `-e`, as they stand there.
    """

    checkout: Path
    lab_name: str
    inventory: Path
    extra: tuple[str, ...]
    in_vm: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state_file(self) -> StateFile:
        """Where the lab writes down what it did."""
        return StateFile(Path("/var/lib") / self.lab_name / "state.json")

    @property
    def records(self) -> Path:
        """Folder of measurement records."""
        return self.checkout / ".lab" / "records"

    def state(self) -> LabState:
        """The lab's state.

        Raises:
            ConfigurationError: There is no such lab, or it may not be read.
        """
        path = self.state_file.path
        if os.geteuid() == 0 or not path.exists() or os.access(path, os.R_OK):
            return self.state_file.read()
        done = shell.run(["sudo", "-n", "cat", path], timeout_s=20, check=False)
        if done.returncode != 0:
            return self.state_file.read()
        return StateFile.parse(done.stdout, path)


def load(inventory: str, extra: Sequence[str], checkout: Path = CHECKOUT) -> Settings:
    """Find out which lab is meant; the later of inventory, lab.local.yml, `-e` wins.

    Raises:
        ConfigurationError: The inventory or a file of variables is missing or cannot be read.
        UsageError: An `-e` is neither `name=value` nor `@file`.
    """
    chosen = Path(inventory or checkout / "inventory" / "local").expanduser()
    if not chosen.exists():
        raise ConfigurationError(
            f"--inventory: there is no {chosen}. Inventories are folders such as inventory/local."
        )
    arguments: list[str] = []
    values: dict[str, Any] = dict(_inventory_variables(chosen))
    local = checkout / LOCAL_FILE
    if local.exists():
        values.update(_read_yaml(local))
        arguments.append(f"@{local}")
    for text in extra:
        values.update(_one_extra(text))
        arguments.append(text)
    name = str(values.get("lab_name", DEFAULT_LAB_NAME))
    if not LAB_NAME.fullmatch(name):
        raise ConfigurationError(
            f"lab_name: '{name}' found; needed is a small letter, then up to eleven of a-z, 0-9, -"
        )
    return Settings(checkout, name, chosen.absolute(), tuple(arguments), _has_vms(chosen), values)


def _one_extra(text: str) -> Mapping[str, Any]:
    if text.startswith("@"):
        return _read_yaml(Path(text[1:]).expanduser())
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise UsageError(f"--extra takes name=value or @file, not '{text}'")
    return {name: value}


def _inventory_variables(inventory: Path) -> Mapping[str, Any]:
    """Variables of all groups; those of `all` come first, as they do in Ansible."""
    folder = inventory if inventory.is_dir() else inventory.parent
    everywhere = [folder / "group_vars" / "all.yml", *sorted(folder.glob("group_vars/all/*.yml"))]
    others = [*sorted(folder.glob("group_vars/*.yml")), *sorted(folder.glob("group_vars/*/*.yml"))]
    found: dict[str, Any] = {}
    for place in dict.fromkeys([*everywhere, *others]):
        if place.is_file():
            found.update(_read_yaml(place))
    return found


def _has_vms(inventory: Path) -> bool:
    """Whether the inventory's group `vms` has a host."""
    place = inventory / "hosts.yml" if inventory.is_dir() else inventory
    if place.suffix not in (".yml", ".yaml") or not place.is_file():
        return False
    group = _read_yaml(place).get("vms")
    return bool(isinstance(group, dict) and group.get("hosts"))


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: is no YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: variables (name: value) are needed")
    return data
