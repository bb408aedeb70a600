#!/usr/bin/python
"""Ansible module: one archive of files that another host will need."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_cargo
short_description: Packs files of this host for another one
description:
  - Writes one archive, because one transfer is quick where hundreds of small ones are not. It is
    named by what is in it, so that the receiver knows whether it has it already; older ones are
    removed.
  - Modules of Python in a site-packages come with what they compile to. An emulated receiver would
    take seconds at the first start of each program.
options:
  entries:
    description: What goes in.
    type: list
    elements: dict
    required: true
    suboptions:
      src:
        description: Files and folders of this host; a missing one is an error.
        type: list
        elements: path
        required: true
      dest:
        description: Folder inside, relative, that gets the files and what the folders hold.
        type: str
        required: true
  folder:
    description: Where the archive is kept.
    type: path
    required: true
  stamp:
    description: Relative path that, with the hash behind it, is the last file inside.
    type: str
    default: cargo/loaded
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
author: Orrery
"""

EXAMPLES = r"""
- name: Pack the wheels
  lab_cargo:
    folder: /var/cache/orrery/cargo
    entries:
      - {src: [/var/cache/orrery/wheels/0a1b], dest: cargo/wheels}
"""

RETURN = r"""
id:
  description: Hash of names, sizes and times.
  type: str
  returned: always
path:
  description: The archive.
  type: str
  returned: always
sha256:
  description: Of the archive; empty in check mode where it is not there.
  type: str
  returned: always
stamp:
  description: Last file inside; with it, all is there.
  type: str
  returned: always
size_mb:
  description: Its size [MB].
  type: int
  returned: always
"""

import hashlib
import importlib.util
import io
import py_compile
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.module_utils.basic import AnsibleModule

FORMAT = "2"
"""Raised when the same files make another archive."""
SITE = "site-packages"
NOT_COMPILED = ("pip", "setuptools")
"""Packages that nobody uses at the other end."""

ARGUMENTS: dict[str, Any] = {
    "entries": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "src": {"type": "list", "elements": "path", "required": True},
            "dest": {"type": "str", "required": True},
        },
    },
    "folder": {"type": "path", "required": True},
    "stamp": {"type": "str", "default": "cargo/loaded"},
}


class CargoError(Exception):
    """The archive cannot be made; the text says why."""


def files(entries: list[dict[str, Any]]) -> dict[str, Path]:
    """Names inside the archive and the files and links behind them.

    Raises:
        CargoError: A source is missing, or a destination leaves the archive.
    """
    found: dict[str, Path] = {}
    for entry in entries:
        dest = PurePosixPath(entry["dest"])
        if dest.is_absolute() or ".." in dest.parts:
            raise CargoError(f"'{dest}' found as a destination, a relative path is needed.")
        for source in map(Path, entry["src"]):
            if source.is_file():
                found[str(dest / source.name)] = source
            elif source.is_dir():
                inside = (path for path in sorted(source.rglob("*")) if is_content(path))
                found |= {str(dest / path.relative_to(source)): path for path in inside}
            else:
                raise CargoError(f"there is no {source}, which is to be loaded.")
    return found


def is_content(path: Path) -> bool:
    """Whether a path is a file or link; Python writes its caches by itself, at any time."""
    return (path.is_symlink() or path.is_file()) and "__pycache__" not in path.parts


def key_of(found: dict[str, Path]) -> str:
    """Twelve hexadecimal digits over names, sizes and times; archives hold whole seconds."""
    digest = hashlib.sha256(FORMAT.encode())
    for name, path in sorted(found.items()):
        seen = path.lstat()
        digest.update(f"{name}\0{seen.st_size}\0{int(seen.st_mtime)}\0".encode())
    return digest.hexdigest()[:12]


def pack(found: dict[str, Path], stamp: str, target: Path) -> None:
    """Write the archive under a temporary name and put it in place when whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for old in target.parent.glob("*.tar*"):
        old.unlink()
    partial = target.with_suffix(".tar.partial")
    try:
        with tarfile.open(partial, "w") as archive:
            for name, path in sorted(found.items()):
                add(archive, name, path)
                if is_module(name):
                    add_compiled(archive, name, path)
            archive.addfile(tarfile.TarInfo(stamp))
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def add(archive: tarfile.TarFile, name: str, path: Path) -> None:
    """Add a file or a link, owned by root."""
    member = archive.gettarinfo(path, name)
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    if member.issym():
        archive.addfile(member)
        return
    # Two names of one file would be a link to a name that others do not see.
    member.type, member.linkname, member.size = tarfile.REGTYPE, "", path.stat().st_size
    member.mode = 0o755 if member.mode & 0o100 else 0o644
    with path.open("rb") as stream:
        archive.addfile(member, stream)


def is_module(name: str) -> bool:
    """Whether a name is one of a module that programs at the other end may import."""
    place = PurePosixPath(name)
    if place.suffix != ".py" or SITE not in place.parts:
        return False
    return place.parts[place.parts.index(SITE) + 1] not in NOT_COMPILED


def add_compiled(archive: tarfile.TarFile, name: str, path: Path) -> None:
    """Add what this Python makes of a module; another version does not look at it.

    It holds as long as the module is the same, whatever its time. What is no module has none.
    """
    with tempfile.TemporaryDirectory(prefix="orrery-cargo-") as folder:
        target = Path(folder) / "compiled"
        try:
            py_compile.compile(
                str(path),
                str(target),
                dfile=f"/{name}",
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
            )
        except (py_compile.PyCompileError, SyntaxError, ValueError):
            return
        data = target.read_bytes()
    member = tarfile.TarInfo(importlib.util.cache_from_source(name))
    member.size, member.mode = len(data), 0o644
    archive.addfile(member, io.BytesIO(data))


def publish(target: Path) -> str:
    """Let `current.tar` lead to the archive; its SHA-256."""
    current = target.with_name("current.tar")
    if not current.is_symlink() or current.readlink() != Path(target.name):
        current.unlink(missing_ok=True)
        current.symlink_to(target.name)
    with target.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        found = files(module.params["entries"])
        key = key_of(found)
        target = Path(module.params["folder"]) / f"{key}.tar"
        stamp = f"{module.params['stamp']}-{key}"
        changed = not target.is_file()
        if changed and not module.check_mode:
            pack(found, stamp, target)
        digest = publish(target) if target.is_file() else ""
    except (CargoError, OSError, tarfile.TarError) as error:
        module.fail_json(msg=f"cargo: {error}")
    size = sum(path.stat().st_size for path in found.values())
    module.exit_json(
        changed=changed,
        id=key,
        path=str(target),
        stamp=stamp,
        sha256=digest,
        size_mb=size // 1_000_000,
    )


if __name__ == "__main__":
    main()
