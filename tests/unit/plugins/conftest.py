"""Let the modules find the module_utils that Ansible would send along with them."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils

FOLDER = str(Path(__file__).resolve().parents[3] / "plugins" / "module_utils")
if FOLDER not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(FOLDER)
