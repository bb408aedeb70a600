"""What `./lab up` prints: a line per role, what changed, what was decided, and failures in full."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: lab
type: stdout
short_description: one line per role, what changed, and failures in full
description:
  - Prints roles with their time, tasks that changed something, messages and failures.
  - Writes the totals as JSON where the environment variable ORRERY_RESULT_FILE names a file.
"""

RESULT_FILE = "ORRERY_RESULT_FILE"
MAX_MESSAGE = 6000


class CallbackModule(CallbackBase):
    """Ansible's stdout callback of this repository."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "lab"

    def __init__(self) -> None:
        super().__init__()
        self._heading = ""
        self._role = ""
        self._role_began = time.monotonic()
        self._role_changed = 0
        self._changed: list[str] = []
        self._failures: list[dict[str, str]] = []
        self._messages: list[str] = []
        self._tty = sys.stdout.isatty()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Note the play's name, which is printed with its first task: it may have no host."""
        self._end_role()
        mode = " (check mode: nothing is changed)" if play.check_mode else ""
        self._heading = f"{play.get_name().strip()}{mode}"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Note which role is at work."""
        del is_conditional
        if self._heading:
            self._line(self._heading, color="bold")
            self._heading = ""
        role = self._role_of(task)
        if role != self._role:
            self._end_role()
            self._role, self._role_began, self._role_changed = role, time.monotonic(), 0
        if self._tty:
            sys.stdout.write(f"\r\033[K  {self._name_of(task)[:90]} ...")
            sys.stdout.flush()

    def v2_runner_on_ok(self, result: Any) -> None:
        """Print what changed, and messages."""
        data = result.result
        name = self._name_of(result.task)
        if data.get("changed"):
            self._role_changed += 1
            self._changed.append(name)
            self._line(f"    {self._where(result)}changed: {name}", color="yellow")
        if result.task.action in {"ansible.builtin.debug", "debug"} and "msg" in data:
            self._say(data["msg"], self._where(result))
        for warning in data.get("warnings") or []:
            self._line(f"    {self._where(result)}warning: {warning}", color="purple")

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Print messages of loops."""
        if result.task.action in {"ansible.builtin.debug", "debug"} and "msg" in result.result:
            self._say(result.result["msg"], self._where(result))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Print a failure and keep it for the exit code."""
        if ignore_errors:
            return
        self._failed(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Print the item that failed."""
        self._line(f"    {self._where(result)}failed item: {self._text(result)}", color="red")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """An unreachable host is a failure."""
        self._failed(result)

    def v2_runner_retry(self, result: Any) -> None:
        """Say that something is being waited for."""
        data = result.result
        if data.get("attempts", 0) in {5, 20, 60}:
            name = self._name_of(result.task)
            self._line(f"    {self._where(result)}waiting: {name}", color="blue")

    def v2_on_file_diff(self, result: Any) -> None:
        """Print differences with --diff."""
        data = result.result
        for item in data.get("results", [data]) if "results" in data else [data]:
            if item.get("diff") and item.get("changed"):
                text = self._get_diff(item["diff"])
                if text:
                    self._display.display(text.rstrip())

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Write the totals."""
        self._end_role()
        hosts = sorted(stats.processed)
        totals = [stats.summarize(host) for host in hosts]
        target = os.environ.get(RESULT_FILE)
        if target:
            Path(target).write_text(
                json.dumps(
                    {
                        "changed": sum(t["changed"] for t in totals),
                        "failed": sum(t["failures"] + t["unreachable"] for t in totals),
                        "changed_tasks": self._changed,
                        "failures": self._failures,
                        "messages": self._messages,
                    }
                )
            )

    def _failed(self, result: Any) -> None:
        role = self._role_of(result.task)
        text = self._text(result)
        name = self._name_of(result.task)
        play = result.task.play.get_name() if getattr(result.task, "play", None) else ""
        self._failures.append({"role": role, "task": name, "play": play, "message": text})
        self._line(f"    {self._where(result)}FAILED: {name}", color="bright red")
        for line in text.splitlines():
            self._line(f"      {line}", color="red")

    @staticmethod
    def _name_of(task: Any) -> str:
        # get_name() puts the role in front, which has a line of its own here.
        return str(task.name or task.get_name()).strip()

    @staticmethod
    def _role_of(task: Any) -> str:
        # Ansible gives callbacks no public way to a task's role.
        role = getattr(task, "_role", None)
        return Path(role.get_name()).name if role else ""

    @staticmethod
    def _text(result: Any) -> str:
        data = result.result
        parts = [str(data.get("msg") or data.get("reason") or "no message")]
        for key in ("stderr", "module_stderr", "stdout", "module_stdout"):
            value = str(data.get(key) or "").strip()
            if value and value not in parts[0]:
                parts.append("\n".join(value.splitlines()[-15:]))
                break
        return "\n".join(parts)[:MAX_MESSAGE]

    @staticmethod
    def _where(result: Any) -> str:
        """Which host, where that is not the machine at hand."""
        host = str(result.host.get_name())
        return "" if host == "localhost" else f"{host}: "

    def _say(self, message: Any, where: str) -> None:
        lines = message if isinstance(message, list) else str(message).splitlines()
        self._messages.extend(str(line) for line in lines)
        for line in lines:
            self._line(f"    {where}{line}")

    def _end_role(self) -> None:
        if self._role:
            changed = f", {self._role_changed} changed" if self._role_changed else ""
            took = time.monotonic() - self._role_began
            self._line(f"  {self._role:<18} {took:6.1f} s{changed}", color="green")
        self._role = ""

    def _line(self, text: str, color: str | None = None) -> None:
        if self._tty:
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()
        self._display.display(text, color=None if color == "bold" else color)
