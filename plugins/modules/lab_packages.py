#!/usr/bin/python
"""Ansible module: distribution packages, remembered in the lab's state file."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_packages
short_description: Installs distribution packages and remembers which came in
description:
  - Installs those that are missing with C(apt-get install --no-install-recommends), between two
    looks at dpkg; every package that came in, dependencies included, is added to C(packages) of
    the state file. What is there already is neither upgraded nor remembered.
  - Package lists are refreshed only when apt does not know a package or cannot fetch it.
  - Services that come in with a package are not started by it, whatever the host's policy says;
    roles start what they need.
  - Waits for apt's lock. Fails when an installation would remove a package.
options:
  name:
    description: Packages; with O(state=absent) empty means all that the state file names.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(absent) purges those of O(name) that the state file names, and only those. If another lab
        of this host is up they are handed over to it instead.
    type: str
    default: present
    choices: [present, absent]
  record:
    description: The state file.
    type: path
    required: true
  lab_name:
    description: Name of the lab it belongs to.
    type: str
    required: true
  lock_timeout_s:
    description: How long to wait for apt's lock [s].
    type: int
    default: 300
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Install nginx
  lab_packages:
    name: [nginx-light]
    record: /var/lib/orrery/state.json
    lab_name: orrery
"""

RETURN = r"""
installed:
  description: Packages that came in, or would in check mode.
  type: list
  elements: str
  returned: always
removed:
  description: Packages that were removed, or would be in check mode.
  type: list
  elements: str
  returned: always
handed_over_to:
  description: Lab that got the packages instead.
  type: str
  returned: always
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_state_file as state_file
from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, Any] = {
    "name": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    "record": {"type": "path", "required": True},
    "lab_name": {"type": "str", "required": True},
    "lock_timeout_s": {"type": "int", "default": 300},
}

PACKAGE_NAME = re.compile(r"^[a-z0-9][a-z0-9+.-]+$")
# Asked by invoke-rc.d and deb-systemd-invoke; 101 means that nothing is started.
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_MARK = "orrery: nothing is started while packages come in"
POLICY_TEXT = f"#!/bin/sh\n# {POLICY_MARK}\nexit 101\n"
DPKG_FORMAT = "${binary:Package} ${db:Status-Status}\n"


def parse_installed(text: str) -> set[str]:
    """Names of installed packages in dpkg-query's answer, without the architecture."""
    rows = (line.split() for line in text.splitlines())
    return {row[0].split(":")[0] for row in rows if len(row) == 2 and row[1] == "installed"}


def parse_plan(text: str) -> tuple[set[str], set[str]]:
    """Packages that a simulated apt-get run installs and removes."""
    coming, going = set(), set()
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "Inst":
            coming.add(words[1].split(":")[0])
        elif len(words) >= 2 and words[0] in ("Remv", "Purg"):
            going.add(words[1].split(":")[0])
    return coming, going


def last_lines(text: str, count: int = 6) -> str:
    """The end of a program's output, as one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:])


@contextlib.contextmanager
def nothing_started(policy: Path) -> Iterator[None]:
    """Keep packages from starting their services; a policy that the host has already stays."""
    if policy.exists() and POLICY_MARK not in policy.read_text(errors="replace"):
        yield
        return
    policy.write_text(POLICY_TEXT, encoding="utf-8")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


class Apt:
    """apt-get and dpkg-query, through the module's own runner."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.options = ["-o", f"DPkg::Lock::Timeout={module.params['lock_timeout_s']}"]
        self.environment = {
            "DEBIAN_FRONTEND": "noninteractive",
            "NEEDRESTART_SUSPEND": "1",
            "LC_ALL": "C.UTF-8",
        }

    def installed(self) -> set[str]:
        """Packages that dpkg knows as installed."""
        code, out, err = self.module.run_command(["dpkg-query", "-W", "-f", DPKG_FORMAT])
        if code != 0:
            self.module.fail_json(msg=f"dpkg-query failed: {last_lines(err)}")
        return parse_installed(out)

    def get(self, *arguments: str) -> tuple[int, str, str]:
        """Run apt-get."""
        argv = ["apt-get", *self.options, *arguments]
        code, out, err = self.module.run_command(argv, environ_update=self.environment)
        return int(code), str(out), str(err)

    def plan(self, *arguments: str) -> tuple[set[str], set[str]] | str:
        """What a run would install and remove, or why it cannot."""
        code, out, err = self.get("--simulate", *arguments)
        return parse_plan(out) if code == 0 else last_lines(err) or last_lines(out)

    def run(self, *arguments: str) -> str:
        """Run apt-get for real; the reason when it fails."""
        code, out, err = self.get("--yes", "-o", "Dpkg::Options::=--force-confold", *arguments)
        return "" if code == 0 else last_lines(err) or last_lines(out)


def install(apt: Apt, names: Sequence[str], *, dry: bool) -> set[str]:
    """Install packages; gives all that came in."""
    arguments = ("install", "--no-install-recommends", *names)
    before = apt.installed()
    plan = apt.plan(*arguments)
    refreshed = False
    if isinstance(plan, str) and not dry:
        apt.get("update")
        refreshed = True
        plan = apt.plan(*arguments)
    if isinstance(plan, str):
        if dry:
            return set(names)
        return apt.module.fail_json(
            msg=f"packages {' '.join(names)}: apt cannot install them: {plan}. "
            "Check the apt sources of this host."
        )
    coming, going = plan
    if going:
        apt.module.fail_json(
            msg=f"packages {' '.join(names)}: apt would remove {' '.join(sorted(going))}. "
            "Install or remove by hand what conflicts."
        )
    if dry:
        return coming
    with nothing_started(POLICY):
        reason = apt.run(*arguments)
        if reason and not refreshed:
            # A mirror that moved on since the lists were fetched answers 404.
            apt.get("update")
            reason = apt.run(*arguments)
    came = apt.installed() - before
    if reason:
        remember(apt.module, came)
        apt.module.fail_json(msg=f"packages {' '.join(names)}: apt failed: {reason}")
    return came


def purge(apt: Apt, names: Sequence[str], *, dry: bool) -> set[str]:
    """Purge packages; refuses when others would go along."""
    arguments = ("purge", *names)
    plan = apt.plan(*arguments)
    if isinstance(plan, str):
        return apt.module.fail_json(msg=f"packages {' '.join(names)}: apt cannot remove: {plan}")
    extra = plan[1] - set(names)
    if extra:
        # Somebody installed something later that needs one of ours: those stay, with their needs.
        keep = needed_by(apt, extra, names)
        rest = [name for name in names if name not in keep]
        if not rest or rest == list(names):
            return set()
        return purge(apt, rest, dry=dry)
    if not dry and (reason := apt.run(*arguments)):
        apt.module.fail_json(msg=f"packages {' '.join(names)}: apt failed: {reason}")
    return set(names)


def needed_by(apt: Apt, extra: set[str], names: Sequence[str]) -> set[str]:
    """Those of our packages whose removal would take one of the others along."""
    keep = set()
    for name in names:
        plan = apt.plan("purge", name)
        if isinstance(plan, str) or plan[1] & extra:
            keep.add(name)
    return keep


def remember(module: AnsibleModule, names: set[str]) -> None:
    """Add packages to the state file."""
    path, lab_name = Path(module.params["record"]), module.params["lab_name"]
    if not names or module.check_mode:
        return
    with state_file.locked(path):
        state = state_file.read(path, lab_name)
        new = state_file.with_value(state, "packages", "", sorted(names))
        if new != state:
            state_file.write(path, new)


def forget(module: AnsibleModule, names: Sequence[str], new_owner: Path | None) -> None:
    """Take packages out of the state file, into another lab's when it gets them."""
    path, lab_name = Path(module.params["record"]), module.params["lab_name"]
    if module.check_mode or not names:
        return
    with state_file.locked(path):
        state = state_file.read(path, lab_name)
        if new_owner is not None:
            other = state_file.other_labs(path, lab_name)[new_owner]
            state_file.write(new_owner, state_file.with_value(other, "packages", "", list(names)))
        state_file.write(path, state_file.without(state, "packages", "", list(names)))


def present(module: AnsibleModule) -> dict[str, Any]:
    """Install what is missing."""
    apt = Apt(module)
    missing = [name for name in module.params["name"] if name not in apt.installed()]
    if not missing:
        return {"installed": [], "removed": [], "handed_over_to": ""}
    if os.geteuid() != 0 and not module.check_mode:
        module.fail_json(msg=f"packages {' '.join(missing)}: root is needed to install them.")
    came = install(apt, missing, dry=module.check_mode)
    remember(module, came)
    return {"installed": sorted(came), "removed": [], "handed_over_to": ""}


def absent(module: AnsibleModule) -> dict[str, Any]:
    """Purge what the state file names, or hand it over to a lab that is still up."""
    path, lab_name = Path(module.params["record"]), module.params["lab_name"]
    recorded = state_file.read(path, lab_name)["packages"]
    wanted = module.params["name"] or recorded
    names = [name for name in recorded if name in wanted]
    result: dict[str, Any] = {"installed": [], "removed": [], "handed_over_to": ""}
    if not names:
        return result
    others = state_file.other_labs(path, lab_name)
    if others:
        new_owner = next(iter(others))
        forget(module, names, new_owner)
        return {**result, "handed_over_to": others[new_owner]["lab_name"], "moved": names}
    apt = Apt(module)
    there = [name for name in names if name in apt.installed()]
    gone = purge(apt, there, dry=module.check_mode) if there else set()
    forget(module, [name for name in names if name in gone or name not in there], None)
    return {**result, "removed": sorted(gone), "kept": sorted(set(there) - gone)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    bad = [name for name in module.params["name"] if not PACKAGE_NAME.match(name)]
    if bad:
        module.fail_json(msg=f"packages: {bad[0]!r} is no package name.")
    try:
        result = present(module) if module.params["state"] == "present" else absent(module)
    except (state_file.StateFileError, OSError) as error:
        module.fail_json(msg=str(error))
    changed = bool(result["installed"] or result["removed"] or result["handed_over_to"])
    lines = {"before": result["removed"], "after": result["installed"]}
    diff = {key: "".join(f"{name}\n" for name in names) for key, names in lines.items()}
    module.exit_json(
        changed=changed,
        diff={**diff, "before_header": "packages", "after_header": "packages"},
        **result,
    )


if __name__ == "__main__":
    main()
