"""A fact of a lab's state file on the controller, for inventories that depend on what up found."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: lab_fact
short_description: Fact of a lab's state file
description:
  - Reads the state file of the controller, as root does; another user reads it through sudo.
options:
  _terms:
    description: The state file, and the name of the fact.
    required: true
"""

SUDO_TIMEOUT_S = 20


def read(path: Path) -> str:
    """The file's text; empty where there is none.

    Raises:
        AnsibleLookupError: It may not be read, not even through sudo.
    """
    # Its folder is open to all, so that whether it is there can be seen by all.
    if not path.exists():
        return ""
    if os.access(path, os.R_OK):
        return path.read_text(encoding="utf-8")
    argv = ["sudo", "-n", "cat", str(path)]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=SUDO_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AnsibleLookupError(
            f"{path}: only root may read it, and sudo failed: {error}"
        ) from error
    if done.returncode != 0:
        raise AnsibleLookupError(f"{path}: only root may read it. Run the command with sudo.")
    return done.stdout


class LookupModule(LookupBase):
    """What Ansible loads."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[Any]:
        """The fact, or an empty mapping where the lab or the fact is not there."""
        del variables, kwargs
        path, name = Path(str(terms[0])), str(terms[1])
        try:
            data = json.loads(read(path) or "{}")
        except ValueError as error:
            raise AnsibleLookupError(f"{path}: cannot be read: {error}") from error
        return [(data.get("facts") or {}).get(name, {})]
