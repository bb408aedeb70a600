#!/usr/bin/python
"""Ansible module: credentials of the functions API, generated once for a lab."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: lab_credentials
short_description: Generates credentials once and reads them afterwards
description:
  - Keeps a JSON file C({namespace, uuid, key}), mode 0600. What is there and complete is never
    replaced; C(key) comes from the operating system's random numbers.
options:
  path:
    description: The file.
    type: path
    required: true
  namespace:
    description: Namespace of the user.
    type: str
    required: true
attributes:
  check_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Generate the lab's credentials
  lab_credentials:
    path: /etc/orrery/credentials.json
    namespace: guest
  no_log: true
"""

RETURN = r"""
uuid:
  description: First half.
  type: str
  returned: always
key:
  description: Second half.
  type: str
  returned: always
"""

import json
import os
import secrets
import string
import uuid
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

KEY_LENGTH = 64
LETTERS = string.ascii_letters + string.digits


def read(path: Path, namespace: str) -> dict[str, str] | None:
    """The credentials in the file, or None where they are missing or incomplete."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = {name: str(data[name]) for name in ("namespace", "uuid", "key")}
        uuid.UUID(found["uuid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found["namespace"] == namespace and len(found["key"]) >= KEY_LENGTH else None


def generate(namespace: str) -> dict[str, str]:
    """New credentials."""
    key = "".join(secrets.choice(LETTERS) for _ in range(KEY_LENGTH))
    return {"namespace": namespace, "uuid": str(uuid.uuid4()), "key": key}


def write(path: Path, data: dict[str, str]) -> None:
    """Replace the file as a whole; nobody else can read it at any time."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump(data, stream, indent=2)
        stream.write("\n")
    new.replace(path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "namespace": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    path, namespace = Path(module.params["path"]), module.params["namespace"]
    changed = False
    try:
        stored = read(path, namespace)
        found = stored or generate(namespace)
        if stored is None:
            changed = True
            if not module.check_mode:
                write(path, found)
        elif path.stat().st_mode & 0o077:
            changed = True
            if not module.check_mode:
                path.chmod(0o600)
    except OSError as error:
        module.fail_json(msg=f"{path}: {error.strerror}")
    module.exit_json(changed=changed, **found)


if __name__ == "__main__":
    main()
