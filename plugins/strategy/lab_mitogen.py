"""Mitogen's linear strategy, with every process on whatever processor is free."""

from __future__ import annotations

from typing import Any

import ansible_mitogen.affinity
import ansible_mitogen.loaders
import ansible_mitogen.strategy

DOCUMENTATION = """
name: lab_mitogen
short_description: Mitogen's linear strategy, without processors of its own
description:
  - Works on a host with one Python that stays there, as Mitogen does.
  - Mitogen gives each of its processes one processor, which what a task starts inherits, a service
    that stays as well. A QEMU with two virtual processors ran on one. Here nobody is given any.
"""

Linear: Any = ansible_mitogen.loaders.strategy_loader.get("linear", class_only=True)
ansible_mitogen.affinity.policy = ansible_mitogen.affinity.Policy()


class StrategyModule(ansible_mitogen.strategy.StrategyMixin, Linear):
    """Ansible's strategy plugin of this repository."""
