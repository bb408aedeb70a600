"""The repository as the contract tests see it: its files, roles and Fabric tasks."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from invoke import Collection

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def files() -> tuple[Path, ...]:
    """Every file of the repository, without what .gitignore names; works where git does not."""
    patterns = tuple(_ignored())
    found = []
    for folder, names, entries in os.walk(ROOT):
        here = Path(folder)
        names[:] = sorted(n for n in names if n != ".git" and not _match(here / n, True, patterns))
        found += [here / e for e in sorted(entries) if not _match(here / e, False, patterns)]
    return tuple(path for path in found if not path.is_symlink())


def matching(*patterns: str) -> list[Path]:
    """Files whose path relative to the root matches one of the glob patterns (`*` takes `/`)."""
    return [path for path in files() if any(fnmatch(relative(path), p) for p in patterns)]


@functools.cache
def texts() -> dict[Path, str]:
    """Every file that is UTF-8 text, with its content."""
    result = {}
    for path in files():
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            continue
        try:
            result[path] = data.decode("utf-8")
        except UnicodeDecodeError:
            continue
    return result


def relative(path: Path) -> str:
    """The path as a reader of the repository writes it."""
    return path.relative_to(ROOT).as_posix()


def roles() -> list[str]:
    """Names of the roles: folders under roles/ that hold any file."""
    return sorted({path.relative_to(ROOT).parts[1] for path in matching("roles/*/*")})


def load_yaml(path: Path) -> Any:
    """The only document of a YAML file; an empty one is None."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)


@functools.cache
def collection() -> Any:
    """What fabfile.py gives to Fabric."""
    return Collection.from_module(importlib.import_module("fabfile"))


@functools.cache
def tasks() -> dict[str, Any]:
    """Every Fabric task by the name that is typed after ./lab."""
    names = collection().task_names
    # A collection's default task is typed by the name of the collection.
    typed = [next(iter(aliases), name) for name, aliases in names.items()]
    return {name: collection()[name] for name in typed}


class _Loader(yaml.SafeLoader):
    """Reads Ansible's tags as plain values."""


def _plain(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node)


_Loader.add_multi_constructor("!", _plain)


def _ignored() -> Iterator[str]:
    for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def _match(path: Path, is_folder: bool, patterns: tuple[str, ...]) -> bool:
    for pattern in patterns:
        if pattern.endswith("/") and not is_folder:
            continue
        plain = pattern.strip("/")
        if fnmatch(relative(path) if pattern.startswith("/") else path.name, plain):
            return True
    return False
