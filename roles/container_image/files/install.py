"""Installs what an image is made of; runs once, as root, inside the container it is made from.

Everything lies in one folder that this script removes at its end, so that the committed layer
holds only what was installed. There is no network, and nothing is looked up in an index.
"""

import compileall
import json
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

BUILD = Path("/orrery-build")


def install_wheels(site: Path) -> None:
    """Install the locked packages, checking every wheel against its hash once more."""
    lock = BUILD / "requirements.lock"
    if not lock.is_file():
        return
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--require-hashes"]
    command += ["--no-deps", "--no-compile", "--no-cache-dir", "--disable-pip-version-check"]
    command += ["--root-user-action=ignore", "--quiet", f"--find-links={BUILD / 'wheels'}"]
    command += [f"--target={site}", f"--requirement={lock}"]
    environment = {**os.environ, "PYTHONPATH": str(BUILD / "lib")}
    subprocess.run(command, env=environment, check=True, timeout=600)


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
    install_wheels(site)
    copy_tree(BUILD / "site", site)
    copy_tree(BUILD / "root", Path("/"))
    # The image's user cannot write beside the modules, so a cold start would compile each time.
    for folder in (site, *map(Path, plan["compile"])):
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
