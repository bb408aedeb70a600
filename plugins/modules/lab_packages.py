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
  - A package of the host that apt upgrades because one of ours needs it newer is returned, and
    remembered in the fact C(upgraded_packages) of the state file, since nothing takes that back.
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
        of this host is up they are handed over to it instead. V(looked) changes nothing.
    type: str
    default: present
    choices: [present, absent, looked]
  suite:
    description:
      - Suite that the packages are taken from; empty takes what apt prefers. What they depend on
        comes from the host's release, except for O(suite_also).
    type: str
    default: ""
  suite_also:
    description: Shell patterns of further packages that are taken from O(suite).
    type: list
    elements: str
    default: []
  upgrades:
    description: Whether packages that the host has may be upgraded, where one of ours needs that.
    type: str
    default: allowed
    choices: [allowed, refused]
  keep:
    description: Shell patterns of packages that are not upgraded in any case.
    type: list
    elements: str
    default: []
  services:
    description:
      - V(disabled) keeps units and init scripts that come in from starting at boot, too.
    type: str
    default: packaged
    choices: [packaged, disabled]
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
upgraded:
  description: Packages of the host that were upgraded, or would be; name, from and to.
  type: list
  elements: dict
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
versions:
  description: Those of O(name) that are installed now, and their versions.
  type: dict
  returned: state is present or looked
recorded:
  description: Those of O(name) that came in with the lab.
  type: list
  elements: str
  returned: state is looked
"""

import copy
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_apt
from ansible.module_utils import lab_state_file as state_file
from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, Any] = {
    "name": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent", "looked"]},
    "suite": {"type": "str", "default": ""},
    "suite_also": {"type": "list", "elements": "str", "default": []},
    "upgrades": {"type": "str", "default": "allowed", "choices": ["allowed", "refused"]},
    "keep": {"type": "list", "elements": "str", "default": []},
    "services": {"type": "str", "default": "packaged", "choices": ["packaged", "disabled"]},
    "record": {"type": "path", "required": True},
    "lab_name": {"type": "str", "required": True},
    "lock_timeout_s": {"type": "int", "default": 300},
}

PACKAGE_NAME = re.compile(r"^[a-z0-9][a-z0-9+.-]+$")
SUITE_NAME = re.compile(r"^([a-z0-9][a-z0-9.-]*)?$")
INSTALL = ("install", "--no-install-recommends")
UPGRADED = "upgraded_packages"
BOOTED = Path("/run/systemd/system")


def check_plan(module: AnsibleModule, names: Sequence[str], plan: lab_apt.Plan) -> None:
    """Fail when the plan removes something, or upgrades what has to stay."""
    head = f"packages {' '.join(names)}: apt would"
    if plan.going:
        module.fail_json(
            msg=f"{head} remove {' '.join(sorted(plan.going))}. "
            "Install or remove by hand what conflicts."
        )
    kept = lab_apt.matching(plan.upgraded, module.params["keep"])
    if kept:
        module.fail_json(
            msg=f"{head} upgrade {', '.join(map(str, kept))}, which stay as they are, since "
            "something may run on them. Upgrade them by hand when nothing does."
        )
    if plan.upgraded and module.params["upgrades"] == "refused":
        module.fail_json(
            msg=f"{head} upgrade {', '.join(map(str, plan.upgraded))}, and upgrades are refused. "
            "Upgrade them by hand, or allow upgrades."
        )


def settled(apt: lab_apt.Apt, names: Sequence[str]) -> lab_apt.Plan | str:
    """A plan that nothing is wrong with, or why apt has none."""
    if suite := apt.module.params["suite"]:
        # Named like this a package that the suite has not is an error; but what it needs would
        # come from there, too, so that the plan itself follows the pins alone.
        plan = apt.plan(*INSTALL, *(f"{name}/{suite}" for name in names))
        if isinstance(plan, str):
            return plan
    plan = apt.plan(*INSTALL, *names)
    if not isinstance(plan, str):
        check_plan(apt.module, names, plan)
    return plan


def install(
    apt: lab_apt.Apt, names: Sequence[str], *, dry: bool
) -> tuple[set[str], tuple[lab_apt.Upgrade, ...]]:
    """Install packages; gives all that came in, and what was upgraded."""
    module = apt.module
    plan = settled(apt, names)
    if dry:
        return (set(names), ()) if isinstance(plan, str) else (set(plan.coming), plan.upgraded)
    refreshed = isinstance(plan, str)
    if refreshed:
        apt.get("update")
        plan = settled(apt, names)
    if isinstance(plan, str):
        return module.fail_json(
            msg=f"packages {' '.join(names)}: apt cannot install them: {plan.rstrip('.')}. "
            "Check the apt sources of this host."
        )
    before = apt.installed()
    with lab_apt.nothing_started(lab_apt.POLICY):
        reason = apt.run(*INSTALL, *names)
        if reason and not refreshed:
            # A mirror that moved on since the lists were fetched answers 404.
            apt.get("update")
            settled(apt, names)
            reason = apt.run(*INSTALL, *names)
        came, upgraded = note(apt, before)
    if reason:
        module.fail_json(msg=f"packages {' '.join(names)}: apt failed: {reason}")
    return came, upgraded


def note(apt: lab_apt.Apt, before: dict[str, str]) -> tuple[set[str], tuple[lab_apt.Upgrade, ...]]:
    """Remember what came in and what was upgraded since `before`, whether apt failed or not."""
    after = apt.installed()
    came = set(after) - set(before)
    upgraded = lab_apt.differences(before, after)
    remember(apt.module, came, upgraded)
    if apt.module.params["services"] == "disabled" and came:
        disable_services(apt, sorted(came))
    return came, upgraded


def disable_services(apt: lab_apt.Apt, came: Sequence[str]) -> None:
    """Take units and init scripts of packages out of the start of the host."""
    units, scripts = lab_apt.services_in(apt.files_of(came))
    argvs = [["update-rc.d", name, "disable"] for name in scripts] if not BOOTED.exists() else []
    if units and shutil.which("systemctl"):
        # Elsewhere than under systemd this works on files only, for a host that boots it later.
        now = ["--now"] if BOOTED.exists() else []
        argvs.insert(0, ["systemctl", "disable", *now, *units])
    for argv in argvs:
        code, _, err = apt.module.run_command(argv)
        if code != 0:
            apt.module.fail_json(
                msg=f"packages {' '.join(came)}: their services cannot be disabled: "
                f"{' '.join(argv)}: {lab_apt.last_lines(err)}"
            )


def purge(apt: lab_apt.Apt, names: Sequence[str], *, dry: bool) -> set[str]:
    """Purge packages; refuses when others would go along."""
    arguments = ("purge", *names)
    plan = apt.plan(*arguments)
    if isinstance(plan, str):
        return apt.module.fail_json(msg=f"packages {' '.join(names)}: apt cannot remove: {plan}")
    extra = plan.going - set(names)
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


def needed_by(apt: lab_apt.Apt, extra: frozenset[str], names: Sequence[str]) -> set[str]:
    """Those of our packages whose removal would take one of the others along."""
    keep = set()
    for name in names:
        plan = apt.plan("purge", name)
        if isinstance(plan, str) or plan.going & extra:
            keep.add(name)
    return keep


def with_upgrades(state: state_file.State, upgraded: Sequence[lab_apt.Upgrade]) -> state_file.State:
    """A copy of the state that knows these upgrades; where it knew one the first version stays."""
    known = {one["name"]: one for one in state["facts"].get(UPGRADED, [])}
    for one in upgraded:
        if one.name not in state["packages"]:
            first = known.get(one.name, one.entry())["from"]
            known[one.name] = {"name": one.name, "from": first, "to": one.new}
    if not known:
        return copy.deepcopy(state)
    return state_file.with_value(state, "facts", UPGRADED, [known[name] for name in sorted(known)])


def remember(
    module: AnsibleModule, names: set[str], upgraded: Sequence[lab_apt.Upgrade] = ()
) -> None:
    """Add packages that came in, and the host's that were upgraded, to the state file."""
    path, lab_name = Path(module.params["record"]), module.params["lab_name"]
    if module.check_mode or not (names or upgraded):
        return
    with state_file.locked(path):
        state = state_file.read(path, lab_name)
        new = with_upgrades(state, upgraded)
        new = state_file.with_value(new, "packages", "", sorted(names))
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


def looked(module: AnsibleModule) -> dict[str, Any]:
    """Tell what is there of the packages, and what of that came in with the lab."""
    params = module.params
    installed = lab_apt.Apt(module, params["lock_timeout_s"]).installed()
    recorded = state_file.read(Path(params["record"]), params["lab_name"])["packages"]
    return {
        "versions": {name: installed[name] for name in params["name"] if name in installed},
        "recorded": [name for name in params["name"] if name in recorded],
    }


def present(module: AnsibleModule) -> dict[str, Any]:
    """Install what is missing."""
    apt, names = lab_apt.Apt(module, module.params["lock_timeout_s"]), module.params["name"]
    installed = apt.installed()
    missing = [name for name in names if name not in installed]
    came: set[str] = set()
    upgraded: tuple[lab_apt.Upgrade, ...] = ()
    if missing:
        if os.geteuid() != 0 and not module.check_mode:
            module.fail_json(msg=f"packages {' '.join(missing)}: root is needed to install them.")
        with apt.pinned(module.params["suite"], [*missing, *module.params["suite_also"]]):
            came, upgraded = install(apt, missing, dry=module.check_mode)
        installed = apt.installed()
    return {
        "installed": sorted(came),
        "upgraded": [one.entry() for one in upgraded],
        "versions": {name: installed[name] for name in names if name in installed},
    }


def absent(module: AnsibleModule) -> dict[str, Any]:
    """Purge what the state file names, or hand it over to a lab that is still up."""
    path, lab_name = Path(module.params["record"]), module.params["lab_name"]
    recorded = state_file.read(path, lab_name)["packages"]
    wanted = module.params["name"] or recorded
    names = [name for name in recorded if name in wanted]
    if not names:
        return {}
    others = state_file.other_labs(path, lab_name)
    if others:
        new_owner = next(iter(others))
        forget(module, names, new_owner)
        return {"handed_over_to": others[new_owner]["lab_name"], "moved": names}
    apt = lab_apt.Apt(module, module.params["lock_timeout_s"])
    installed = apt.installed()
    there = [name for name in names if name in installed]
    gone = purge(apt, there, dry=module.check_mode) if there else set()
    forget(module, [name for name in names if name in gone or name not in there], None)
    return {"removed": sorted(gone), "kept": sorted(set(there) - gone)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    bad = [name for name in module.params["name"] if not PACKAGE_NAME.match(name)]
    if bad:
        module.fail_json(msg=f"packages: {bad[0]!r} is no package name.")
    if not SUITE_NAME.match(module.params["suite"]):
        module.fail_json(msg=f"packages: {module.params['suite']!r} is no name of a suite.")
    result: dict[str, Any] = {"installed": [], "upgraded": [], "removed": [], "handed_over_to": ""}
    work = {"present": present, "absent": absent, "looked": looked}[module.params["state"]]
    try:
        result |= work(module)
    except (state_file.StateFileError, OSError) as error:
        module.fail_json(msg=str(error))
    changed = any(result[key] for key in ("installed", "upgraded", "removed", "handed_over_to"))
    old = [f"{one['name']} {one['from']}" for one in result["upgraded"]]
    new = [f"{one['name']} {one['to']}" for one in result["upgraded"]]
    lines = {"before": old + result["removed"], "after": new + result["installed"]}
    diff = {key: "".join(f"{line}\n" for line in those) for key, those in lines.items()}
    module.exit_json(
        changed=changed,
        diff={**diff, "before_header": "packages", "after_header": "packages"},
        **result,
    )


if __name__ == "__main__":
    main()
