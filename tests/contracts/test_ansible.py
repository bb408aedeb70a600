"""Rules for YAML and templates that ansible-lint does not check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from tests.contracts import tree

PLAYS = tree.matching(
    "site.yml", "playbooks/*.yml", "roles/*/tasks/*.yml", "roles/*/handlers/*.yml"
)
ROLE_YAML = tree.matching("roles/*.yml")
TEMPLATES = tree.matching("roles/*.j2", "templates/*.j2")

MODE = re.compile(r"^\s*(?:- )?(?:\w*_)?mode: (?P<value>.+?)\s*$")
# Numbers and symbolic modes; words and expressions are none.
LITERAL = re.compile(r"""["']?(?:[0-7]+["']?$|[ugoa]*[-+=][rwxXst])""")
QUOTED = re.compile(r"""(["'])[0-7]{4}\1""")
SHELL = re.compile(r"^\s*(?:- )?(?:ansible\.builtin\.)?(?:shell|raw):")
FACT = re.compile(
    r"\bansible_(distribution|os_family|architecture|service_mgr|system|kernel|hostname|fqdn|"
    r"processor|memtotal|default_ipv4|date_time|pkg_mgr|user_id|env)\w*\b"
)
DATE = re.compile(r"ansible_date_time|date_time\b|strftime|\bnow\(|ansible_facts\.date")
# Formats that know no comment, so that no header can be put in.
NO_COMMENTS = (".json.j2",)
RENDERED_BY_PYTHON = tree.ROOT / "templates"


def task_of(lines: list[str], number: int) -> str:
    """The lines of a task up to line `number`, with the comments right above the task."""
    start = number
    while start > 0 and not lines[start].lstrip().startswith("- "):
        start -= 1
    while start > 0 and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return "\n".join(lines[start : number + 1])


@pytest.mark.parametrize("path", ROLE_YAML + PLAYS, ids=tree.relative)
def test_file_modes_are_quoted_and_have_four_digits(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    modes = [found["value"] for line in lines if (found := MODE.match(line))]
    assert not [value for value in modes if LITERAL.match(value) and not QUOTED.fullmatch(value)]


@pytest.mark.parametrize("path", PLAYS, ids=tree.relative)
def test_errors_are_not_ignored(path: Path) -> None:
    assert "ignore_errors" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PLAYS, ids=tree.relative)
def test_a_shell_task_says_why_it_needs_one(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    bare = [
        line.strip()
        for number, line in enumerate(lines)
        if SHELL.match(line) and "#" not in task_of(lines, number)
    ]
    assert not bare


@pytest.mark.parametrize("path", ROLE_YAML + TEMPLATES, ids=tree.relative)
def test_facts_are_read_from_ansible_facts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not sorted({found[0] for found in FACT.finditer(text)})


@pytest.mark.parametrize("path", ROLE_YAML + TEMPLATES, ids=tree.relative)
def test_roles_do_not_look_at_groups(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"\bgroup_names\b|\bgroups\[|\bgroups\.\w+|\binventory_dir\b", text)


@pytest.mark.parametrize("path", TEMPLATES, ids=tree.relative)
def test_a_template_begins_with_who_wrote_it(path: Path) -> None:
    if path.name.endswith(NO_COMMENTS) or path.is_relative_to(RENDERED_BY_PYTHON):
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines[1] if lines[0].startswith("#!") else lines[0]
    assert re.match(r"\{\{-? ansible_managed \| comment", first), first


@pytest.mark.parametrize("path", TEMPLATES, ids=tree.relative)
def test_a_template_carries_no_date(path: Path) -> None:
    assert not DATE.findall(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", tree.matching("plugins/modules/*.py"), ids=tree.relative)
def test_the_documentation_of_a_module_is_yaml(path: Path) -> None:
    """ansible-doc and ansible-lint only print an error where it is none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            if names & {"DOCUMENTATION", "EXAMPLES", "RETURN"}:
                assert yaml.safe_load(str(node.value.value)) is not None
