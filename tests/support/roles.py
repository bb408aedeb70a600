"""Run one role against this host, the way a playbook does."""

from __future__ import annotations

import atexit
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery.lab import converge
from tests.support import playbooks

# Facts of this host are gathered once: no test changes what roles read of them.
FACTS = tempfile.mkdtemp(prefix="orrery-test-facts-")
atexit.register(shutil.rmtree, FACTS)
ENVIRONMENT = {
    **converge.MITOGEN,
    "ANSIBLE_GATHERING": "smart",
    "ANSIBLE_CACHE_PLUGIN": "jsonfile",
    "ANSIBLE_CACHE_PLUGIN_CONNECTION": FACTS,
}


@dataclass(frozen=True)
class RoleRun:
    """What a run of a role came to.

    Attributes:
        changed: Number of changed tasks.
        changed_tasks: Their names.
        messages: Lines of debug messages, and of failures.
        output: All that was printed.
    """

    changed: int
    failed: bool
    changed_tasks: tuple[str, ...]
    messages: tuple[str, ...]
    output: str

    @property
    def text(self) -> str:
        """All messages as one text, with white space folded."""
        return " ".join(" ".join(self.messages).split())


def run_role_on_this_host(
    checkout: Path,
    folder: Path,
    role: str,
    variables: Mapping[str, Any],
    *,
    check: bool,
    expect_failure: bool,
    tasks_from: str = "main",
    timeout_s: float = 280,
) -> RoleRun:
    """Write a one-role playbook beside the lab's group_vars and run it.

    Raises:
        AssertionError: It failed though it should not, or the other way round.
    """
    play = folder / "playbooks" / "role.yml"
    play.parent.mkdir(exist_ok=True)
    link = play.parent / "group_vars"
    if not link.exists():
        link.symlink_to(checkout / "playbooks" / "group_vars")
    play.write_text(json.dumps([_play(checkout, role, tasks_from)]), encoding="utf-8")
    values = folder / "values.json"
    base = {
        "lab_checkout": str(checkout),
        "lab_cache_dir": "/var/cache/orrery",
        "ansible_python_interpreter": sys.executable,
    }
    values.write_text(json.dumps({**base, **variables}), encoding="utf-8")
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    inventory = folder / "hosts.yml"
    inventory.write_text("all: {hosts: {localhost: {ansible_connection: local}}}", encoding="utf-8")
    argv: list[str | Path] = [
        play,
        "-i",
        inventory,
        "-e",
        f"@{values}",
        *(["--check", "--diff"] if check else []),
    ]
    log = folder / "ansible.log"
    env = {**ENVIRONMENT, "ORRERY_RESULT_FILE": str(result)}
    code = playbooks.run(argv, log, cwd=checkout, env=env, timeout_s=timeout_s)
    output = log.read_text(encoding="utf-8", errors="replace")
    failed = code != 0
    if failed != expect_failure:
        raise AssertionError(f"{role} {'failed' if failed else 'did not fail'}:\n{output}")
    data = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    failures = [entry["message"] for entry in data.get("failures", [])]
    return RoleRun(
        changed=int(data.get("changed", 0)),
        failed=failed,
        changed_tasks=tuple(data.get("changed_tasks", [])),
        messages=(*data.get("messages", []), *failures),
        output=output,
    )


def _play(checkout: Path, role: str, tasks_from: str) -> dict[str, Any]:
    return {
        "name": f"Run {role}",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": True,
        "gather_subset": ["min", "python"],
        "tasks": [
            {
                "name": f"Run the role {role}",
                "ansible.builtin.include_role": {
                    "name": str(checkout / "roles" / role),
                    "tasks_from": tasks_from,
                },
            }
        ],
    }
