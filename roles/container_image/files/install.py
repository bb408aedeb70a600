"""Installs what an image is made of; runs once, as root, inside the container it is made from.

Everything lies in one folder that this script removes at its end, so that the committed layer
holds only what was installed. There is no network, and nothing is looked up in an index.
"""

import compileall
import json
import os
import py_compile
import shutil
import sys
import sysconfig
from pathlib import Path

BUILD = Path("/orrery-build")


def take_packages(source: Path, site: Path) -> bool:
    """Move packages that were installed outside to their place; whether they are compiled."""
    if not source.is_dir():
        return True
    compiled = any(source.rglob(f"*.{sys.implementation.cache_tag}.pyc"))
    for entry in source.iterdir():
        if (site / entry.name).is_dir():
            copy_tree(entry, site / entry.name)
        else:
            shutil.move(entry, site / entry.name)
    return compiled


def copy_tree(source: Path, target: Path) -> None:
    """Lay a folder of the build over one of the image."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)


def add_user(name: str, number: int) -> None:
    """Make the user that the image runs as, with a home folder."""
    home = Path("/home") / name
    if name == "root" or any(
        line.startswith(f"{name}:") for line in Path("/etc/passwd").read_text().splitlines()
    ):
        return
    with Path("/etc/group").open("a") as groups:
        groups.write(f"{name}:x:{number}:\n")
    with Path("/etc/passwd").open("a") as users:
        users.write(f"{name}:x:{number}:{number}::{home}:/usr/sbin/nologin\n")
    home.mkdir(mode=0o755, parents=True)
    os.chown(home, number, number)


def main() -> None:
    """Install, compile, clean up."""
    plan = json.loads((BUILD / "plan.json").read_text())
    site = Path(sysconfig.get_path("purelib"))
    site.mkdir(parents=True, exist_ok=True)
    compiled = take_packages(BUILD / "packages", site)
    ours = sorted((BUILD / "site").glob("*"))
    copy_tree(BUILD / "site", site)
    copy_tree(BUILD / "root", Path("/"))
    sites = [site / one.name for one in ours] if compiled else [site]
    # The image's user cannot write beside the modules, so a cold start would compile each time.
    for folder in (*sites, *map(Path, plan["compile"])):
        if folder.is_dir():
            compileall.compile_dir(
                folder,
                quiet=2,
                workers=0,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
    add_user(plan["user"], plan["user_id"])
    shutil.rmtree(BUILD)


main()
