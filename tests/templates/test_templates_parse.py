"""Every template parses, and uses nothing but the inputs of its role."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import Environment, StrictUndefined, meta, nodes

from tests.contracts import tree

TEMPLATES = tree.matching("roles/*/templates/*.j2", "templates/*.j2")
# What each folder of shared templates is given.
SHARED = {
    "cloud-init": {"seed"},
    "vm": {"vm"},
    "drill": {"drill"},
    "report": {"page"},
}
# What Ansible itself puts in.
ANSIBLE = {"ansible_facts", "ansible_managed", "ansible_check_mode", "item", "omit"}


def parse(path: Path) -> nodes.Template:
    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
    )
    parsed = environment.parse(path.read_text(encoding="utf-8"), filename=str(path))
    # Ansible's own filters and tests are not there; which exist is ansible-lint's business.
    for known in parsed.find_all(nodes.Filter):
        environment.filters.setdefault(known.name, str)
    for asked in parsed.find_all(nodes.Test):
        environment.tests.setdefault(asked.name, environment.tests["defined"])
    return parsed


@pytest.mark.parametrize("path", TEMPLATES, ids=tree.relative)
def test_a_template_parses(path: Path) -> None:
    assert parse(path).body


@pytest.mark.parametrize("path", TEMPLATES, ids=tree.relative)
def test_a_template_uses_the_inputs_of_its_role_only(path: Path) -> None:
    role = path.relative_to(tree.ROOT).parts[1]
    used = meta.find_undeclared_variables(parse(path)) - ANSIBLE
    if path.is_relative_to(tree.ROOT / "roles"):
        used = {name for name in used if not re.match(rf"(__)?{role}_", name)}
    else:
        used -= SHARED.get(role, set())
    assert not sorted(used)


def test_a_template_lies_where_it_is_looked_for() -> None:
    lost = set(tree.matching("*.j2")) - set(TEMPLATES)
    assert not sorted(tree.relative(path) for path in lost)
