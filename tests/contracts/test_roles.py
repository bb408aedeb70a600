"""Every role is described, typed and tested in the same way."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tests.contracts import tree

ROLES = tree.roles()
LONGEST_MAIN = 40

# Roles without `<role>_state`, and why.
STATELESS = {
    "preflight": "asserts only, makes nothing that could be absent",
}
# Inputs that keep a name of the whole lab, and why.
LAB_WIDE = {
    "mnist_source": "one source for the data set, whoever reads it (sources.yml)",
}

pytestmark = pytest.mark.parametrize("role", ROLES)


def folder(role: str) -> Path:
    return tree.ROOT / "roles" / role


def options(role: str) -> dict[str, Any]:
    """Inputs of the role's main entry point, from meta/argument_specs.yml."""
    specs = tree.load_yaml(folder(role) / "meta" / "argument_specs.yml")
    found = specs["argument_specs"]["main"].get("options", {})
    assert isinstance(found, dict)
    return found


def defaults(role: str) -> dict[str, Any]:
    return tree.load_yaml(folder(role) / "defaults" / "main.yml") or {}


def test_a_role_has_its_files(role: str) -> None:
    needed = ("README.md", "defaults/main.yml", "meta/argument_specs.yml", "tasks/main.yml")
    assert not [name for name in needed if not (folder(role) / name).is_file()]


def test_the_readme_begins_with_a_sentence(role: str) -> None:
    text = (folder(role) / "README.md").read_text(encoding="utf-8")
    paragraphs = [part.strip() for part in text.split("\n\n") if not part.startswith("#")]
    first = " ".join(paragraphs[0].split())
    assert re.match(r"[A-Z`].*[\w)`]\.(\s|$)", first), f"'{first}' begins with no sentence"


def test_the_readme_names_every_input(role: str) -> None:
    text = (folder(role) / "README.md").read_text(encoding="utf-8")
    assert not [name for name in options(role) if f"`{name}`" not in text]


def test_every_input_is_typed_and_described(role: str) -> None:
    bare = [
        name
        for name, option in options(role).items()
        if not option.get("type") or not option.get("description")
    ]
    assert not bare


def test_every_input_carries_the_name_of_the_role(role: str) -> None:
    names = set(options(role)) | set(defaults(role))
    assert not sorted(n for n in names if not n.startswith(f"{role}_") and n not in LAB_WIDE)


def test_defaults_and_types_name_the_same_inputs(role: str) -> None:
    typed = options(role)
    untyped = sorted(set(defaults(role)) - set(typed))
    assert not untyped, f"in defaults/main.yml only: {untyped}"
    without = sorted(
        name
        for name, option in typed.items()
        if name not in defaults(role) and not option.get("required")
    )
    assert not without, f"neither required nor in defaults/main.yml: {without}"


def test_every_default_has_a_comment_above_it(role: str) -> None:
    lines = (folder(role) / "defaults" / "main.yml").read_text(encoding="utf-8").splitlines()
    bare = [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if re.match(r"[a-z_]\w*:", line) and not above.startswith("#")
    ]
    assert not bare


def test_a_role_can_be_taken_back(role: str) -> None:
    if role in STATELESS:
        return
    state = options(role).get(f"{role}_state", {})
    assert {"present", "absent"} <= set(state.get("choices") or ())


def test_the_main_task_file_is_a_table_of_contents(role: str) -> None:
    path = folder(role) / "tasks" / "main.yml"
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_MAIN, f"{lines} lines, at most {LONGEST_MAIN}: split it"


def test_internals_are_marked_as_such(role: str) -> None:
    """Registers, set facts and loop variables begin with the role's name and two underscores."""
    found = set()
    for path in tree.matching(f"roles/{role}/tasks/*.yml", f"roles/{role}/handlers/*.yml"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"^\s+(?:register|loop_var|index_var): (\w+)$", text, re.MULTILINE))
    assert not sorted(name for name in found if not re.match(rf"__{role}(_|$)", name))


def test_a_role_has_tests_that_run_it(role: str) -> None:
    sources = tree.matching(f"tests/roles/{role}/test_*.py")
    names = [
        node.name
        for source in sources
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert len(names) >= 2, f"tests/roles/{role} holds {len(names)} tests, at least 2 are needed"
    assert any("run_role" in source.read_text(encoding="utf-8") for source in sources)
