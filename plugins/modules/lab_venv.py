#!/usr/bin/python
"""Ansible module: a virtual environment with locked packages and the wheel of this tree."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_venv
short_description: Keeps a virtual environment as a lock file and this tree say
description:
  - Makes the environment, installs the locked packages with their hashes, builds the wheel of
    C(tools/orrery) and installs it. A stamp file says what it holds; nothing runs when it fits.
options:
  prefix:
    description: Folder that gets C(venv).
    type: path
    required: true
  python:
    description: Interpreter to make it with.
    type: path
    required: true
  checkout:
    description: The repository.
    type: path
    required: true
  wheel:
    description: Folder with the wheel of the tree, built elsewhere; empty builds it here.
    type: str
    default: ""
  lock:
    description: Lock file with hashes.
    type: path
    required: true
  wheels:
    description: Folder that gets the wheel of this tree.
    type: path
    required: true
  wheel_dir:
    description: Folder of wheels to install from instead of the index.
    type: str
    default: ""
  ca_bundle:
    description: PEM file of certificate authorities for the index.
    type: str
    default: ""
  http_proxy:
    description: Proxy in front of the index.
    type: str
    default: ""
  timeout_s:
    description: Bound of every call of pip [s].
    type: int
    default: 600
attributes:
  check_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Make the environment
  lab_venv:
    prefix: /opt/orrery
    python: /usr/bin/python3
    checkout: /home/me/orrery
    lock: /home/me/orrery/requirements-host.lock
    wheels: /var/lib/orrery/wheels
"""

RETURN = r"""
needs:
  description: Distribution packages without which no environment can be made.
  type: list
  elements: str
  returned: always
tree:
  description: Hash of the installed tree.
  type: str
  returned: always
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

OLDEST = (3, 11)
TREE_FILE = "tree"
STAMP = ".orrery-stamp"
TREE_SUFFIXES = {".py", ".json", ".sql", ".typed"}


class VenvError(Exception):
    """The environment could not be made."""


def run(argv: list[str], timeout_s: int, env: dict[str, str] | None = None) -> str:
    """Run a program; its standard output.

    Raises:
        VenvError: It failed or took too long.
    """
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VenvError(f"{' '.join(argv[:4])}: {error}") from error
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-10:])
        raise VenvError(f"{' '.join(argv[:6])} ended with {done.returncode}\n{last}")
    return done.stdout.strip()


def version_of(python: str) -> str:
    """Full version of an interpreter that is new enough.

    Raises:
        VenvError: It is missing or too old.
    """
    wanted = "Set host_python_interpreter to a Python of version 3.11 or newer."
    try:
        text = run([python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"], 20)
    except VenvError as error:
        raise VenvError(f"{python} does not run. {wanted}") from error
    if tuple(int(part) for part in text.split(".")[:2]) < OLDEST:
        raise VenvError(f"{python} is version {text}. {wanted}")
    return text


def tree_hash(checkout: Path) -> str:
    """Hash of everything that the wheel holds."""
    digest = hashlib.sha256((checkout / "pyproject.toml").read_bytes())
    root = checkout / "tools" / "orrery"
    for path in sorted(root.rglob("*")):
        if path.suffix in TREE_SUFFIXES and path.is_file():
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def pip_options(params: dict[str, Any]) -> list[str]:
    """Options that say where packages come from."""
    options = ["--disable-pip-version-check", "--no-input", "--quiet"]
    if params["wheel_dir"]:
        return [*options, "--no-index", "--find-links", params["wheel_dir"]]
    options += ["--cert", params["ca_bundle"]] if params["ca_bundle"] else []
    options += ["--proxy", params["http_proxy"]] if params["http_proxy"] else []
    return options


def build_wheel(python: str, checkout: Path, wheels: Path, timeout_s: int) -> Path:
    """Build the wheel of this tree outside of the tree; the folder then holds just this one."""
    wheels.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="orrery-wheel-") as name:
        source = Path(name) / "source"
        source.mkdir()
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy2(checkout / file, source / file)
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(checkout / "tools", source / "tools", ignore=ignore)
        argv = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        argv += ["--no-index", "--disable-pip-version-check", "--wheel-dir", name, str(source)]
        run(argv, timeout_s)
        built = next(Path(name).glob("orrery-*.whl"))
        for old in wheels.glob("orrery-*.whl"):
            old.unlink()
        target = wheels / built.name
        shutil.copy2(built, target)
    return target


def ready_wheel(folder: Path) -> Path:
    """The wheel that was built elsewhere.

    Raises:
        VenvError: There is not just one in the folder.
    """
    found = sorted(folder.glob("orrery-*.whl"))
    if len(found) != 1:
        raise VenvError(
            f"{folder}: {len(found)} wheels of orrery found, one is needed. It comes with the "
            "role preload; or empty host_python_wheel, and it is built from the checkout."
        )
    return found[0]


def tree_of(params: dict[str, Any]) -> str:
    """Hash of the tree that is to be installed; of a brought wheel it is written beside it."""
    if not params["wheel"]:
        return tree_hash(Path(params["checkout"]))
    beside = ready_wheel(Path(params["wheel"])).with_name(TREE_FILE)
    try:
        return beside.read_text(encoding="ascii").strip()
    except OSError as error:
        raise VenvError(f"{beside}: {error.strerror}. It comes with the wheel.") from error


def own_wheel(python: str, params: dict[str, Any]) -> Path:
    """The wheel of this tree in the folder of wheels, built or brought."""
    wheels = Path(params["wheels"])
    if not params["wheel"]:
        return build_wheel(python, Path(params["checkout"]), wheels, params["timeout_s"])
    brought = ready_wheel(Path(params["wheel"]))
    wheels.mkdir(parents=True, exist_ok=True)
    for old in wheels.glob("orrery-*.whl"):
        old.unlink()
    return Path(shutil.copy2(brought, wheels / brought.name))


def make(params: dict[str, Any], stamp: dict[str, str], found: dict[str, str]) -> None:
    """Bring the environment to what the stamp says."""
    venv = Path(params["prefix"]) / "venv"
    python = str(venv / "bin" / "python")
    timeout_s = params["timeout_s"]
    if any(found.get(key) != stamp[key] for key in ("lock", "python")):
        if venv.exists():
            shutil.rmtree(venv)
        venv.parent.mkdir(parents=True, exist_ok=True)
        run([params["python"], "-m", "venv", str(venv)], 120)
        argv = [python, "-m", "pip", "install", *pip_options(params), "--no-deps"]
        argv += ["--no-compile", "--require-hashes", "-r", params["lock"]]
        run(argv, timeout_s)
    wheel = own_wheel(python, params)
    argv = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    run([*argv, "--no-deps", "--force-reinstall", "--no-compile", str(wheel)], timeout_s)
    wheel.with_name(TREE_FILE).write_text(stamp["tree"] + "\n", encoding="ascii")
    (venv / STAMP).write_text(json.dumps(stamp))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "path", "required": True},
            "python": {"type": "path", "required": True},
            "checkout": {"type": "path", "required": True},
            "wheel": {"type": "str", "default": ""},
            "lock": {"type": "path", "required": True},
            "wheels": {"type": "path", "required": True},
            "wheel_dir": {"type": "str", "default": ""},
            "ca_bundle": {"type": "str", "default": ""},
            "http_proxy": {"type": "str", "default": ""},
            "timeout_s": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        version = version_of(params["python"])
        lock = Path(params["lock"])
        stamp = {
            "python": f"{params['python']} {version}",
            "lock": hashlib.sha256(lock.read_bytes()).hexdigest(),
            "tree": tree_of(params),
        }
        place = Path(params["prefix"]) / "venv" / STAMP
        found = json.loads(place.read_text()) if place.is_file() else {}
        has_wheel = params["wheel"] or any(Path(params["wheels"]).glob("orrery-*.whl"))
        changed = found != stamp or not has_wheel
        needs = []
        if changed:
            probe = [params["python"], "-c", "import ensurepip, venv"]
            if subprocess.run(probe, capture_output=True, timeout=30, check=False).returncode:
                needs = [f"python{version.rpartition('.')[0]}-venv"]
        if changed and not needs and not module.check_mode:
            make(params, stamp, found)
    except (OSError, ValueError, VenvError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed and not needs, needs=needs, tree=stamp["tree"])


if __name__ == "__main__":
    main()
