#!/usr/bin/python
"""Ansible module: one further suite of the mirror that the host installs from."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_apt_suite
short_description: Adds one further suite of the host's own mirror
description:
  - Reads the host's own sources (one-line and deb822), takes the mirror that its release comes
    from, and adds one suite of it in a file of its own, signed as the mirror is. Then the lists of
    that suite alone are fetched.
  - A suite that the host has already, under whatever name, is used as it is and nothing is added.
  - A suite that cannot be reached is taken out again, and RV(reachable) is false.
  - The fact C(apt_suite) of the state file says that the lab uses a suite that was added.
options:
  suite:
    description: The suite, such as bookworm-backports. Not needed with O(state=absent).
    type: str
    default: ""
  release:
    description: Code name of the host's release, such as bookworm.
    type: str
    default: ""
  state:
    description:
      - V(absent) removes the file that the state file names, with the lists that came from it,
        unless another lab of this host uses it.
    type: str
    default: present
    choices: [present, absent]
  timeout_s:
    description: How long fetching the lists may take [s].
    type: int
    default: 120
  lock_timeout_s:
    description: How long to wait for apt's lock [s].
    type: int
    default: 300
  record:
    description: The state file.
    type: path
    required: true
  lab_name:
    description: Name of the lab it belongs to.
    type: str
    required: true
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Add the backports of this host's release
  lab_apt_suite:
    suite: bookworm-backports
    release: bookworm
    record: /var/lib/orrery/state.json
    lab_name: orrery
"""

RETURN = r"""
reachable:
  description: Whether packages of the suite can be installed; in check mode that is assumed.
  type: bool
  returned: state is present
reason:
  description: Why it is not reachable.
  type: str
  returned: always
file:
  description: The file that holds the suite; empty where the host had it before.
  type: str
  returned: always
kept_for:
  description: Lab that uses the suite, too, so that the file stays.
  type: str
  returned: state is absent
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_apt, lab_apt_sources, lab_mirror
from ansible.module_utils import lab_state_file as state_file
from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, Any] = {
    "suite": {"type": "str", "default": ""},
    "release": {"type": "str", "default": ""},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    "timeout_s": {"type": "int", "default": 120},
    "lock_timeout_s": {"type": "int", "default": 300},
    "record": {"type": "path", "required": True},
    "lab_name": {"type": "str", "required": True},
}
FACT = "apt_suite"
NAME = re.compile(r"^[a-z0-9][a-z0-9.-]*$")
HEAD = "Ansible managed: Orrery's, gone with ./lab down. Yours go into files of your own."
# The first four are what lab_mirror.mirror_lines reads.
FIELDS = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)|$(CODENAME)|$(SUITE)"


def suite_file(parts: Path, suite: str) -> Path:
    """File that holds the suite; labs of a host share it."""
    return parts / f"orrery-{suite}.sources"


def listed(targets: str, suite: str) -> bool:
    """Whether apt has lists of the suite, under one of its names."""
    rows = (line.split("|") for line in targets.splitlines())
    return any(len(row) >= 6 and suite in (row[1], row[4], row[5]) for row in rows)


def own_uris(targets: str, release: str) -> list[str]:
    """Where the release comes from, as apt's lists say it."""
    lines = lab_mirror.mirror_lines(release, "", targets)
    words = (line.split() for line in lines)
    return [uri for _, uri, name, _ in words if name == release]


def write(path: Path, text: str) -> None:
    """Put a file in place as a whole, mode 0644."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".orrery-")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    Path(name).chmod(0o644)
    Path(name).replace(path)


def remove_lists(folder: Path, suite: str) -> None:
    """Remove what was fetched of a suite."""
    for path in folder.glob(f"*_dists_{suite}_*"):
        path.unlink(missing_ok=True)


def fetch(apt: lab_apt.Apt, suite: str, source: Path | None) -> str:
    """Fetch the lists of one file of sources, or all; the reason when the suite is not there."""
    timeout_s = apt.module.params["timeout_s"]
    only = [f"Dir::Etc::sourcelist={source}", "Dir::Etc::sourceparts=-"] if source else []
    # Without the error mode a mirror that cannot be reached is a warning.
    settings = [*only, "APT::Get::List-Cleanup=0", "APT::Update::Error-Mode=any"]
    settings += ["Acquire::Retries=1", "Acquire::http::Timeout=20", "Acquire::https::Timeout=20"]
    options = [word for setting in settings for word in ("-o", setting)]
    code, out, err = apt.get(*options, "update", timeout_s=timeout_s)
    if code == 124:
        return f"fetching its lists took longer than {timeout_s} s"
    there = code == 0 if source else listed(apt.targets(FIELDS), suite)
    return "" if there else first_error(err or out) or "its mirror does not answer"


def first_error(text: str) -> str:
    """What went wrong first, of all that apt-get says."""
    errors = [line for line in text.splitlines() if line.startswith("E:")]
    return (errors[0] if errors else lab_apt.last_lines(text, 2)).strip().rstrip(".")


def record(module: AnsibleModule, value: dict[str, str] | None) -> None:
    """Write the lab's fact, or remove it."""
    path, lab_name = Path(module.params["record"]), module.params["lab_name"]
    if module.check_mode or (value is None and not path.exists()):
        return
    with state_file.locked(path):
        state = state_file.read(path, lab_name)
        if value is None:
            new = state_file.without(state, "facts", FACT)
        else:
            new = state_file.with_value(state, "facts", FACT, value)
        if new != state:
            state_file.write(path, new)


def used(module: AnsibleModule, apt: lab_apt.Apt, targets: str) -> dict[str, Any]:
    """Use a suite that the host has already."""
    suite, reason = module.params["suite"], ""
    if not listed(targets, suite) and not module.check_mode:
        reason = fetch(apt, suite, None)
    return {"changed": False, "reachable": not reason, "reason": reason, "file": ""}


def added(module: AnsibleModule, apt: lab_apt.Apt, mirror: Any) -> dict[str, Any]:
    """Have the suite in a file of ours."""
    suite = module.params["suite"]
    folders = apt.folders()
    path = suite_file(folders.parts, suite)
    text = lab_apt_sources.rendered(mirror, suite, HEAD)
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    value = {"suite": suite, "file": str(path)}
    if old == text:
        record(module, value)
        return {"changed": False, "reachable": True, "reason": "", "file": str(path)}
    diff = {"before": old, "after": text, "before_header": str(path), "after_header": str(path)}
    result = {"changed": True, "reachable": True, "reason": "", "file": str(path), "diff": diff}
    if module.check_mode:
        return result
    # The record comes first: a run that is killed here leaves what `down` finds.
    record(module, value)
    write(path, text)
    if reason := fetch(apt, suite, path):
        path.unlink()
        remove_lists(folders.lists, suite)
        record(module, None)
        return {"changed": False, "reachable": False, "reason": reason, "file": ""}
    return result


def present(module: AnsibleModule) -> dict[str, Any]:
    """Have the suite, the host's own way or ours."""
    params = module.params
    suite, release = params["suite"], params["release"]
    if not NAME.match(suite) or not NAME.match(release):
        module.fail_json(
            msg=f"apt suite: suite is {suite!r} and release {release!r}; names such as "
            "bookworm-backports and bookworm are needed."
        )
    apt = lab_apt.Apt(module, params["lock_timeout_s"])
    folders = apt.folders()
    path = suite_file(folders.parts, suite)
    sources = lab_apt_sources.read(folders.main, folders.parts, path)
    targets = apt.targets(FIELDS)
    if lab_apt_sources.has_suite(sources, suite) or (not path.exists() and listed(targets, suite)):
        return used(module, apt, targets)
    mirror = lab_apt_sources.mirror_of(sources, release, own_uris(targets, release))
    if mirror is None:
        reason = f"the sources of this host name no mirror of {release}"
        return {"changed": False, "reachable": False, "reason": reason, "file": ""}
    if os.geteuid() != 0 and not module.check_mode:
        module.fail_json(msg=f"apt suite {suite}: root is needed to add it.")
    return added(module, apt, mirror)


def absent(module: AnsibleModule) -> dict[str, Any]:
    """Remove the suite that the lab recorded, unless another lab uses it."""
    params = module.params
    record_path = Path(params["record"])
    mine = state_file.read(record_path, params["lab_name"])["facts"].get(FACT)
    if not mine:
        return {"changed": False, "file": "", "reason": "", "kept_for": ""}
    others = state_file.other_labs(record_path, params["lab_name"]).values()
    users = [one["lab_name"] for one in others if (one["facts"].get(FACT) or {}) == mine]
    path = Path(mine["file"])
    old = path.read_text(encoding="utf-8") if path.exists() and not users else ""
    if not users and not module.check_mode:
        path.unlink(missing_ok=True)
        folders = lab_apt.Apt(module, params["lock_timeout_s"]).folders()
        rest = lab_apt_sources.read(folders.main, folders.parts, path)
        if not lab_apt_sources.has_suite(rest, mine["suite"]):
            remove_lists(folders.lists, mine["suite"])
    record(module, None)
    diff = {"before": old, "after": "", "before_header": str(path), "after_header": str(path)}
    kept = str(users[0]) if users else ""
    return {"changed": True, "file": str(path), "reason": "", "kept_for": kept, "diff": diff}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    result: dict[str, Any] = {}
    try:
        result = present(module) if module.params["state"] == "present" else absent(module)
    except (state_file.StateFileError, OSError) as error:
        module.fail_json(msg=f"apt suite: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
