"""Loads Ansible, with this checkout's configuration: for `playbooks`, in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

# Ansible reads its configuration while it is loaded.
os.environ["ANSIBLE_CONFIG"] = str(Path(__file__).resolve().parents[2] / "ansible.cfg")

import ansible.cli.playbook
import ansible.executor.playbook_executor
import ansible_mitogen.process
import ansible_mitogen.services
import ansible_mitogen.strategy  # noqa: F401 (loaded for the runs)
import mitogen.fork
import mitogen.parent
import pytest  # noqa: F401 (what multiprocessing loads in every child of a test)

mitogen.parent.get_core_source_partial()

main = ansible.cli.playbook.main
