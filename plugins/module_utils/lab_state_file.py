"""The lab's state file as modules see it: the schema of orrery.state, on hosts without orrery."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEMA = 1
SECTIONS = ("services", "facts", "before")

State = dict[str, Any]


class StateFileError(Exception):
    """The file exists but is not a state file of this schema."""


def empty(lab_name: str) -> State:
    """State of a lab that has done nothing yet."""
    return {
        "schema": SCHEMA,
        "lab_name": lab_name,
        "packages": [],
        "services": {},
        "facts": {},
        "before": {},
    }


def read(path: Path, lab_name: str) -> State:
    """Read the state file, or give the empty state when there is none.

    Raises:
        StateFileError: It is damaged, of another schema or of another lab.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return empty(lab_name)
    except (OSError, ValueError) as error:
        raise StateFileError(f"{path}: cannot be read: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise StateFileError(
            f"{path}: not a state file of schema {SCHEMA}. It was written by another version "
            "of Orrery: run that version's ./lab down."
        )
    if data.get("lab_name") != lab_name:
        raise StateFileError(
            f"{path}: belongs to the lab {data.get('lab_name')!r}, not to {lab_name!r}. "
            "Set lab_name or the path of the state file."
        )
    return {**empty(lab_name), **data}


def write(path: Path, state: State) -> None:
    """Replace the file as a whole, mode 0600; a crash leaves the old one."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".state-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(state, indent=2, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on the folder of the state file while it is read, changed and replaced."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def with_value(state: State, section: str, key: str, value: Any) -> State:
    """A copy of the state with one entry set; `before` keeps the first value ever written."""
    new = copy.deepcopy(state)
    if section == "packages":
        known = new["packages"]
        known += [name for name in names_of(key, value) if name not in known]
    elif section == "before":
        new[section].setdefault(key, value)
    elif section == "services":
        new[section][key] = {"name": key, **value}
    else:
        new[section][key] = value
    return new


def without(state: State, section: str, key: str, value: Any = None) -> State:
    """A copy of the state without one entry; without a key, without all but packages."""
    new = copy.deepcopy(state)
    if section == "packages":
        gone = names_of(key, value)
        new["packages"] = [name for name in new["packages"] if name not in gone]
    elif key:
        new[section].pop(key, None)
    else:
        new[section] = {}
    return new


def names_of(key: str, value: Any) -> list[str]:
    """Package names given as key, as one value or as a list."""
    names = value if isinstance(value, list) else [value] if value else []
    return list(dict.fromkeys(str(name) for name in [key, *names] if name))


def other_labs(path: Path, lab_name: str) -> dict[Path, State]:
    """State files of other labs of this host that are up: beside ours, one folder each."""
    found: dict[Path, State] = {}
    for candidate in sorted(path.parent.parent.glob("*/" + path.name)):
        with contextlib.suppress(OSError, ValueError):
            data = json.loads(candidate.read_text(encoding="utf-8"))
            if (
                isinstance(data, dict)
                and data.get("schema") == SCHEMA
                and data.get("lab_name") not in (None, lab_name)
                and (data.get("services") or data.get("facts"))
            ):
                found[candidate] = {**empty(str(data["lab_name"])), **data}
    return found
