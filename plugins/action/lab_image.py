"""Puts the content of an image together on the controller and hands it to the module lab_image.

What goes in is read, hashed and packed where the checkout is; only when the host has no image
with that hash does it travel there.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Raised when the way of building changes, so that older images are not taken for new ones.
RECIPE = "2"
BUILD = "orrery-build"
PACKAGE = "orrery"
SKIPPED = ("__pycache__", ".pyc", ".pyo")


def tree(source: Path, target: str) -> Iterator[tuple[str, Path]]:
    """Names inside the archive and the files behind them, in a fixed order.

    Raises:
        AnsibleActionFail: There is nothing at `source`.
    """
    if source.is_file():
        yield target, source
        return
    if not source.is_dir():
        raise AnsibleActionFail(f"container image: there is no {source}.")
    for path in sorted(source.rglob("*")):
        if path.is_file() and not any(part.endswith(SKIPPED) for part in path.parts):
            yield f"{target}/{path.relative_to(source)}", path


def room_files(source: Path, rooms: list[str]) -> Iterator[tuple[str, Path]]:
    """Our own package, reduced to the named rooms."""
    if not rooms:
        return
    site = f"{BUILD}/site/{PACKAGE}"
    yield f"{site}/__init__.py", source / PACKAGE / "__init__.py"
    for room in sorted(rooms):
        module = source / PACKAGE / f"{room}.py"
        name = f"{room}.py" if module.is_file() else room
        yield from tree(source / PACKAGE / name, f"{site}/{name}")


def members(arguments: dict[str, Any]) -> dict[str, bytes]:
    """Content of the archive: name to bytes.

    Raises:
        AnsibleActionFail: A file is missing, or its place in the image is not absolute.
    """
    pairs = [(f"{BUILD}/install.py", Path(arguments["install_script"]))]
    if arguments["lock"]:
        pairs.append((f"{BUILD}/requirements.lock", Path(arguments["lock"])))
    pairs += room_files(Path(arguments["source"]), arguments["rooms"])
    for entry in arguments["files"]:
        if not str(entry["dest"]).startswith("/"):
            raise AnsibleActionFail(
                f"container image {arguments['name']}: '{entry['dest']}' found in "
                "container_image_files, an absolute path is needed."
            )
        pairs += tree(Path(entry["src"]), f"{BUILD}/root{entry['dest']}".rstrip("/"))
    found = {}
    for name, path in pairs:
        try:
            found[name] = path.read_bytes()
        except OSError as error:
            raise AnsibleActionFail(
                f"container image {arguments['name']}: {path}: {error.strerror}."
            ) from error
    plan = {
        "compile": sorted(str(entry["dest"]) for entry in arguments["files"]),
        "user": arguments["user"],
        "user_id": int(arguments["user_id"]),
    }
    found[f"{BUILD}/plan.json"] = json.dumps(plan, sort_keys=True).encode()
    return found


def key_of(arguments: dict[str, Any], content: dict[str, bytes]) -> str:
    """Twelve hexadecimal digits over everything that decides what the image is."""
    total = hashlib.sha256()
    settings = [arguments[name] for name in ("base", "environment", "command", "ports")]
    total.update(json.dumps([RECIPE, *settings], sort_keys=True, default=str).encode())
    for name, data in sorted(content.items()):
        total.update(f"{name}\0{len(data)}\0".encode() + data)
    return total.hexdigest()[:12]


def pack(content: dict[str, bytes], target: Path) -> None:
    """Write the archive; owners, modes and times are fixed."""
    with tarfile.open(target, "w") as archive:
        for name, data in sorted(content.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))


class ActionModule(ActionBase):
    """What Ansible runs on the controller."""

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the module, a second time with the content when the host has no such image."""
        super().run(tmp, task_vars)
        defaults: dict[str, Any] = {
            "install_script": "", "lock": "", "source": "", "rooms": [], "files": [],
            "environment": {}, "command": [], "ports": [], "user": "root", "user_id": 0,
        }  # fmt: skip
        arguments = {**defaults, **self._task.args}
        local = ("install_script", "lock", "source", "rooms", "files", "user_id")
        remote = {name: value for name, value in arguments.items() if name not in local}
        if arguments.get("state", "present") == "absent":
            return dict(self._module(remote, task_vars))
        content = members(arguments)
        remote["key"] = key_of(arguments, content)
        answer = self._module(remote, task_vars)
        if answer.pop("needs_context", False) and not answer.get("failed"):
            answer = self._build(remote, content, task_vars)
        return dict(answer)

    def _build(self, remote: dict[str, Any], content: dict[str, bytes], task_vars: Any) -> Any:
        place = self._make_tmp_path()
        try:
            with tempfile.TemporaryDirectory(prefix="orrery-image-") as folder:
                packed = Path(folder) / "context.tar"
                pack(content, packed)
                context = str(PurePosixPath(place) / packed.name)
                self._transfer_file(str(packed), context)
                return self._module({**remote, "context": context}, task_vars)
        finally:
            self._remove_tmp_path(place)

    def _module(self, arguments: dict[str, Any], task_vars: Any) -> Any:
        return self._execute_module(
            module_name="lab_image", module_args=arguments, task_vars=task_vars
        )
