#!/usr/bin/python
"""Ansible module: keep one service of the lab running as it is defined."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_service
short_description: Keeps one service of the lab running as it is defined
description:
  - Works for the role C(service), which writes the definition. Starts the service with systemd or
    with runit's runsv, restarts it when its definition or O(restart_on) changed, waits until it
    answers, and shows the end of its log when it does not.
  - An answer counts only when the process that listens belongs to the service.
options:
  name:
    description: Full name of the service.
    type: str
    required: true
  manager:
    description: What runs it.
    type: str
    required: true
    choices: [systemd, runit]
  state:
    description: V(absent) stops it and removes definition, run files, log and record.
    type: str
    default: present
    choices: [present, absent]
  definition:
    description: Files that define it.
    type: list
    elements: path
    default: []
  definition_changed:
    description: Whether they were, or in check mode would be, written just now.
    type: bool
    default: false
  restart_on:
    description: Further files or folders whose content decides about a restart.
    type: list
    elements: path
    default: []
  ready:
    description: What must answer, C(tcp:host:port), C(http://...) or C(unix:/path).
    type: list
    elements: str
    default: []
  ready_timeout_s:
    description: How long to wait for that [s].
    type: int
    default: 30
  stop_timeout_s:
    description: How long it may take to end before it is killed [s].
    type: int
    default: 10
  log:
    description: Its log.
    type: path
    required: true
  record:
    description: The state file; empty to leave it out.
    type: str
    default: ""
  record_key:
    description: Name of the service that users see.
    type: str
    default: ""
  record_entry:
    description: What is recorded, address, health and kind.
    type: dict
    default: {}
  lab_name:
    description: Name of the lab it belongs to.
    type: str
    required: true
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
author: Orrery
"""

EXAMPLES = r"""
- name: Keep the engine running
  lab_service:
    name: orrery-engine
    lab_name: orrery
    manager: runit
    log: /var/log/orrery/engine/current
    definition: [/etc/orrery-engine/run]
    ready: ["http://127.0.0.1:3233/ping"]
"""

RETURN = r"""
pid:
  description: The service's process; 0 when it is down.
  type: int
  returned: always
action:
  description: What was done, none, started, restarted or removed.
  type: str
  returned: always
"""

import contextlib
import hashlib
import re
import time
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_managers, lab_ready
from ansible.module_utils import lab_state_file as state_file
from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "manager": {"type": "str", "required": True, "choices": ["systemd", "runit"]},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    "definition": {"type": "list", "elements": "path", "default": []},
    "definition_changed": {"type": "bool", "default": False},
    "restart_on": {"type": "list", "elements": "path", "default": []},
    "ready": {"type": "list", "elements": "str", "default": []},
    "ready_timeout_s": {"type": "int", "default": 30},
    "stop_timeout_s": {"type": "int", "default": 10},
    "log": {"type": "path", "required": True},
    "record": {"type": "str", "default": ""},
    "record_key": {"type": "str", "default": "", "no_log": False},
    "record_entry": {"type": "dict", "default": {}},
    "lab_name": {"type": "str", "required": True},
}

SERVICE_NAME = re.compile(r"^[a-z][a-z0-9-]{2,40}$")
LOG_LINES = 15
# A service that was running answers soon, or hangs and is started again.
RUNNING_TIMEOUT_S = 10
# A foreign process at our port may be one of ours that is about to end.
FOREIGN_TIMEOUT_S = 5
# runsv and systemd start again after a second; so many processes are no accident.
CRASHES = 4


def content_hash(paths: list[str]) -> str:
    """SHA-256 over names and contents of files, and of all files in folders."""
    digest = hashlib.sha256()
    for text in paths:
        path = Path(text)
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                digest.update(f"{file}\0".encode() + file.read_bytes() + b"\0")
            elif file == path:
                digest.update(f"{file} missing\0".encode())
    return digest.hexdigest()


def end_of(log: Path, lines: int = LOG_LINES) -> str:
    """The last lines of a log, or that there are none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        text = ""
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


def first_problem(endpoints: list[lab_ready.Endpoint]) -> str:
    """Why the first endpoint that does not answer does not; empty when all do."""
    return next(filter(None, map(lab_ready.answers, endpoints)), "")


def wait_ready(
    manager: lab_managers.Manager, name: str, endpoints: list[lab_ready.Endpoint], timeout_s: float
) -> str:
    """Wait until the service is up and all endpoints are answered by it; why not, otherwise."""
    start = time.monotonic()
    foreign_since = start
    seen: set[int] = set()
    while True:
        pid = manager.pid()
        seen.add(pid)
        # Asked even while it is down: that somebody else has its port is why it goes down.
        holders = (lab_ready.foreign_holder(endpoint, pid, name) for endpoint in endpoints)
        foreign = next(filter(None, holders), "")
        problem = foreign or ("it is down" if pid == 0 else first_problem(endpoints))
        # It may have ended between the two looks, with somebody else answering.
        if not problem and manager.pid() == pid:
            return ""
        now = time.monotonic()
        foreign_since = foreign_since if foreign else now
        if len(seen - {0}) >= CRASHES:
            return f"it ends as soon as it is started ({problem or 'nothing else to be seen'})"
        if now > start + timeout_s or now > foreign_since + FOREIGN_TIMEOUT_S:
            return f"{problem or 'it does not stay up'} (waited {now - start:.1f} s)"
        time.sleep(0.1)


class Keeper:
    """One service of the lab."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        self.names = lab_managers.Names(self.params["name"], self.params["stop_timeout_s"])
        kind = lab_managers.Systemd if self.params["manager"] == "systemd" else lab_managers.Runit
        self.manager: lab_managers.Manager = kind(self.names, self.run)
        self.stamp = self.names.folder / "started-with"
        self.log = Path(self.params["log"])

    def run(self, argv: list[str]) -> tuple[int, str]:
        """Run a program; its code and what it said."""
        code, out, err = self.module.run_command(argv)
        return int(code), str(out).strip() or str(err).strip()

    def present(self) -> dict[str, Any]:
        """Have it running as defined."""
        endpoints = [lab_ready.parse(text) for text in self.params["ready"]]
        wanted = content_hash([*self.params["definition"], *self.params["restart_on"]])
        stamp = self.stamp.read_text().strip() if self.stamp.is_file() else ""
        changed = self.params["definition_changed"] or stamp != wanted
        running = self.manager.pid() > 0
        name = self.params["name"]
        if self.module.check_mode:
            action = ("restarted" if changed else "none") if running else "started"
            return {"action": action, "pid": self.manager.pid()}
        if running and not changed:
            bound_s = min(RUNNING_TIMEOUT_S, self.params["ready_timeout_s"])
            if not wait_ready(self.manager, name, endpoints, bound_s):
                return {"action": "none", "pid": self.manager.pid()}
        self.log.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.manager.stop()
        self.stamp.unlink(missing_ok=True)
        self.manager.start()
        problem = wait_ready(self.manager, name, endpoints, self.params["ready_timeout_s"])
        if problem:
            raise lab_managers.ManagerError(f"{name} is not ready: {problem}.")
        self.stamp.write_text(wanted + "\n")
        return {"action": "restarted" if running else "started", "pid": self.manager.pid()}

    def absent(self) -> dict[str, Any]:
        """Stop it and remove what it left."""
        traces = lab_managers.existing([*self.manager.traces(), self.log.parent])
        running = self.manager.pid()
        if not self.module.check_mode:
            self.manager.stop()
            if traces:
                self.manager.forget()
            for path in traces:
                lab_managers.remove(path)
            if self.params["manager"] == "systemd" and traces:
                self.run(["systemctl", "daemon-reload"])
        return {"action": "removed" if running or traces else "none", "pid": 0}

    def record(self) -> bool:
        """Bring the state file's entry up to date; whether it was another."""
        key, path = self.params["record_key"], Path(self.params["record"])
        if not self.params["record"] or not key:
            return False
        absent = self.params["state"] == "absent"
        if absent and not path.exists():
            return False
        quiet = self.module.check_mode or absent
        with contextlib.nullcontext() if quiet else state_file.locked(path):
            old = state_file.read(path, self.params["lab_name"])
            entry = {"log": str(self.log), **self.params["record_entry"]}
            new = (
                state_file.without(old, "services", key)
                if absent
                else state_file.with_value(old, "services", key, entry)
            )
            if new != old and not self.module.check_mode:
                state_file.write(path, new)
        return new != old


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    name = module.params["name"]
    if not SERVICE_NAME.match(name):
        module.fail_json(msg=f"service_name: {name!r}: 3 to 41 of a-z, 0-9 and - are needed.")
    keeper = Keeper(module)
    try:
        result = keeper.present() if module.params["state"] == "present" else keeper.absent()
        recorded = keeper.record()
    except lab_managers.ManagerError as error:
        log = end_of(keeper.log)
        module.fail_json(msg=f"{error} End of {keeper.log}:\n{log}", log=log)
    except (OSError, ValueError, state_file.StateFileError) as error:
        module.fail_json(msg=f"{name}: {error}")
    else:
        module.exit_json(changed=result["action"] != "none" or recorded, **result)


if __name__ == "__main__":
    main()
