"""Habits of the Python code that linters do not check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.contracts import tree

SOURCES = tree.matching("*.py")
LONGEST_MODULE = 450

# Who may start programs besides orrery.shell, and why.
STARTS_PROGRAMS = {
    "tools/orrery/shell.py": "the only place that runs programs",
}
# Objects that come as bytes from elsewhere must not run code.
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
ALLOWED_FINDING = re.compile(
    r"# no" + r"qa(?:: *[A-Z]+\d+(?:, *[A-Z]+\d+)*)?(?P<reason>.*)"
    r"|# type" + r": ignore(?:\[[\w, -]+\])?(?P<reason2>.*)"
)


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("source", SOURCES, ids=tree.relative)
def test_a_module_can_be_read_in_one_sitting(source: Path) -> None:
    lines = len(source.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_MODULE, f"{lines} lines, at most {LONGEST_MODULE}: split it"


@pytest.mark.parametrize("source", SOURCES, ids=tree.relative)
def test_nothing_that_unpickles_is_imported(source: Path) -> None:
    assert not sorted(imports(source) & UNSAFE)


@pytest.mark.parametrize("source", tree.matching("tools/orrery/*.py"), ids=tree.relative)
def test_programs_are_started_by_orrery_shell_only(source: Path) -> None:
    if tree.relative(source) in STARTS_PROGRAMS:
        return
    assert "subprocess" not in imports(source)
    text = source.read_text(encoding="utf-8")
    for call in ("create_subprocess_", "os.system(", "os.popen("):
        assert call not in text, f"{call} belongs into orrery.shell"


@pytest.mark.parametrize("source", SOURCES, ids=tree.relative)
def test_an_allowed_finding_has_a_reason(source: Path) -> None:
    """The reason stands behind it, or in a comment not more than three lines above."""
    lines = source.read_text(encoding="utf-8").splitlines()
    bare = [
        f"line {number}: {line.strip()}"
        for number, line in enumerate(lines, start=1)
        for found in ALLOWED_FINDING.finditer(line)
        if len((found["reason"] or found["reason2"] or "").strip(" -#:,;()")) < 8
        and not any(
            above.lstrip().startswith("#") for above in lines[max(0, number - 4) : number - 1]
        )
    ]
    assert not bare


def test_every_test_is_named_by_a_sentence() -> None:
    functions = [
        (source, node.name)
        for source in tree.matching("tests/*test_*.py")
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    short = [
        f"{tree.relative(source)}: {name}"
        for source, name in functions
        if name.startswith("test_") and name.count("_") < 3
    ]
    assert not short
