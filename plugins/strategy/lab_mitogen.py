"""Mitogen's linear strategy, with every process on whatever processor is free."""

from __future__ import annotations

import functools
import sys
from typing import Any

import ansible_mitogen.affinity
import ansible_mitogen.loaders
import ansible_mitogen.module_finder
import ansible_mitogen.services
import ansible_mitogen.strategy
import mitogen.parent

DOCUMENTATION = """
name: lab_mitogen
short_description: Mitogen's linear strategy, without processors of its own
description:
  - Works on a host with one Python that stays there, as Mitogen does.
  - Mitogen gives each of its processes one processor, which what a task starts inherits, a service
    that stays as well. A QEMU with two virtual processors ran on one. Here nobody is given any.
  - Mitogen sends its Python all modules of Ansible. Where that is this very Python, as on the
    controller itself, it takes them from its own files, compiled as they are.
"""

Linear: Any = ansible_mitogen.loaders.strategy_loader.get("linear", class_only=True)
ansible_mitogen.affinity.policy = ansible_mitogen.affinity.Policy()
# What a module imports is read from Ansible's sources, which it would compile for each module anew.
ansible_mitogen.module_finder.compile = functools.lru_cache(maxsize=None)(compile)


def _is_this_python(connection: Any) -> bool:
    local = type(connection) is mitogen.parent.Connection
    return local and connection.options.python_path == [sys.executable]


def _taking_own_files(original: Any) -> Any:
    def get_econtext_config(self: Any) -> Any:
        config = original(self)
        if _is_this_python(self):
            config["import_overrides"] = []
        return config

    return get_econtext_config


def _sending_no_more(original: Any) -> Any:
    def send_module_forwards(self: Any, context: Any) -> None:
        stream = self.router.stream_by_id(context.context_id)
        if not _is_this_python(getattr(stream, "conn", None)):
            original(self, context)

    return send_module_forwards


Service = ansible_mitogen.services.ContextService
# Mitogen has no setting for either; its version is pinned.
Service._send_module_forwards = _sending_no_more(Service._send_module_forwards)  # noqa: SLF001
Connection = mitogen.parent.Connection
Connection.get_econtext_config = _taking_own_files(Connection.get_econtext_config)


class StrategyModule(ansible_mitogen.strategy.StrategyMixin, Linear):
    """Ansible's strategy plugin of this repository."""
