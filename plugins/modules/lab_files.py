#!/usr/bin/python
"""Ansible module: several small files in one run."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_files
short_description: Writes several small files in one run
description:
  - Each file is replaced as a whole when its content, mode or owner differs. One run instead of one
    task a file keeps a second C(up) quick.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      content:
        description: What it holds; with O(state=absent) it may be left out.
        type: str
      link_to:
        description: Makes a symbolic link with this target instead; it need not exist.
        type: str
      mode:
        description: Permissions, four digits in quotes.
        type: str
        default: "0644"
      owner:
        description: User, by name.
        type: str
        default: root
      group:
        description: Group, by name.
        type: str
        default: root
  create_parents:
    description: Whether missing folders above a file are made, mode 0755, owned by root.
    type: bool
    default: false
  state:
    description: V(absent) removes the files, not their folders.
    type: str
    default: present
    choices: [present, absent]
  no_diff:
    description: Whether contents are left out of the diff, for secrets.
    type: bool
    default: false
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Write the configuration
  lab_files:
    create_parents: true
    files:
      - {path: /etc/orrery/engine.json, content: "{}", mode: "0640", group: daemon}
"""

RETURN = r"""
changed_paths:
  description: Files that were written or removed, or would be in check mode.
  type: list
  elements: str
  returned: always
"""

import grp
import os
import pwd
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, Any] = {
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str"},
            "link_to": {"type": "str"},
            "mode": {"type": "str", "default": "0644"},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
        },
    },
    "create_parents": {"type": "bool", "default": False},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    "no_diff": {"type": "bool", "default": False},
}

FOUR_DIGITS = re.compile(r"^0[0-7]{3}$")


@dataclass(frozen=True)
class Wanted:
    """One file as it shall be; uid and gid are None while the account does not exist."""

    path: Path
    content: str
    link_to: str
    mode: int
    uid: int | None
    gid: int | None


@dataclass(frozen=True)
class Found:
    """One file as it is; content is None when there is none."""

    content: str | None
    link_to: str
    mode: int
    uid: int
    gid: int


def account(kind: str, name: str) -> int | None:
    """Number of a user or a group, or None when there is none of that name."""
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def parse(entry: dict[str, Any], *, absent: bool) -> Wanted | str:
    """One item of `files`, or what is wrong with it."""
    path = Path(entry["path"])
    if not path.is_absolute():
        return f"lab_files: {path}: an absolute path is needed."
    if not absent and (entry["content"] is None) == (entry["link_to"] is None):
        return f"lab_files: {path}: either content or link_to is needed."
    if not FOUR_DIGITS.match(entry["mode"]):
        return f"lab_files: {path}: mode {entry['mode']!r}: four octal digits in quotes are needed."
    return Wanted(
        path=path,
        content=entry["content"] or "",
        link_to=entry["link_to"] or "",
        mode=int(entry["mode"], 8),
        uid=account("user", entry["owner"]),
        gid=account("group", entry["group"]),
    )


def look(path: Path) -> Found:
    """What is at a path.

    Raises:
        OSError: It is no file, or cannot be read.
    """
    try:
        info = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return Found(None, "", 0, -1, -1)
    if stat.S_ISLNK(info.st_mode):
        return Found("", str(path.readlink()), 0, info.st_uid, info.st_gid)
    if not stat.S_ISREG(info.st_mode):
        raise OSError(f"{path}: is no regular file; move it out of the way")
    content = path.read_bytes().decode("utf-8", errors="replace")
    return Found(content, "", stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)


def same(wanted: Wanted, found: Found) -> bool:
    """Whether there is nothing to do."""
    if wanted.link_to or found.link_to:
        return wanted.link_to == found.link_to
    return (
        found.content == wanted.content
        and found.mode == wanted.mode
        and (found.uid, found.gid) == (wanted.uid, wanted.gid)
    )


def write(wanted: Wanted) -> None:
    """Replace one file or link as a whole."""
    folder = tempfile.mkdtemp(dir=wanted.path.parent, prefix=".lab-files-")
    temporary = Path(folder) / "new"
    try:
        if wanted.link_to:
            temporary.symlink_to(wanted.link_to)
        else:
            temporary.touch(mode=0o600)
            temporary.write_text(wanted.content, encoding="utf-8")
            os.chown(temporary, -1 if wanted.uid is None else wanted.uid, wanted.gid or 0)
            temporary.chmod(wanted.mode)
        temporary.replace(wanted.path)
    finally:
        temporary.unlink(missing_ok=True)
        Path(folder).rmdir()


def difference(wanted: Wanted, found: Found, *, absent: bool, no_diff: bool) -> dict[str, str]:
    """Ansible's diff of one file."""
    before, after = found.content or "", "" if absent else wanted.content
    if no_diff:
        before, after = ("(not shown)\n" if text else "" for text in (before, after))
        after = after.replace("not shown", "not shown, other than before")
    elif before == after and not absent:
        before = f"{found.link_to or oct(found.mode)} {found.uid}:{found.gid}\n"
        after = f"{wanted.link_to or oct(wanted.mode)} {wanted.uid}:{wanted.gid}\n"
    header = str(wanted.path)
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def missing_account(module: AnsibleModule, wanted: Wanted, entry: dict[str, Any]) -> None:
    """Fail when the owner does not exist; in check mode an earlier task may be about to make it."""
    for number, kind in ((wanted.uid, "owner"), (wanted.gid, "group")):
        if number is None and not wanted.link_to and not module.check_mode:
            module.fail_json(msg=f"lab_files: {wanted.path}: there is no {kind} {entry[kind]!r}.")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    os.umask(0o022)  # folders that are made on the way are readable, whatever the caller's umask
    absent, no_diff = module.params["state"] == "absent", module.params["no_diff"]
    changed: list[str] = []
    diffs: list[dict[str, str]] = []
    for entry in module.params["files"]:
        wanted = parse(entry, absent=absent)
        if isinstance(wanted, str):
            module.fail_json(msg=wanted)
            return
        try:
            found = look(wanted.path)
            if (found.content is None) if absent else same(wanted, found):
                continue
            if not absent:
                missing_account(module, wanted, entry)
            changed.append(str(wanted.path))
            diffs.append(difference(wanted, found, absent=absent, no_diff=no_diff))
            if module.check_mode:
                continue
            if absent:
                wanted.path.unlink()
                continue
            if module.params["create_parents"]:
                wanted.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            write(wanted)
        except OSError as error:
            module.fail_json(msg=f"lab_files: {wanted.path}: {error}", changed_paths=changed)
    module.exit_json(changed=bool(changed), changed_paths=changed, diff=diffs)


if __name__ == "__main__":
    main()
