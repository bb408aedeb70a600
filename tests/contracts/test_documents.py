"""Documents name commands that exist and files that are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts import tree

DOCUMENTS = tree.matching("*.md")
COMMAND = re.compile(r"\./lab ([a-z][a-z_-]*(?:\.[a-z_-]+)*)([^`\n|]*)")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
PLACEHOLDER = re.compile(r"@[A-Z][A-Z0-9_]+@")


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each `./lab TASK` of a document and the options that follow it."""
    for found in COMMAND.finditer(text):
        rest = re.split(r"\s#|[;&>)]", found[2])[0].replace("[", " ").replace("]", " ")
        try:
            words = shlex.split(rest)
        except ValueError:
            words = rest.split()
        yield found[1], [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=tree.relative)
def test_every_command_of_a_document_is_a_task_with_these_options(document: Path) -> None:
    tasks = tree.tasks()
    unknown = []
    for name, options in commands(document.read_text(encoding="utf-8")):
        if name not in tasks:
            unknown.append(f"./lab {name}")
            continue
        known = {"--help", "-h"}
        for argument in tasks[name].get_arguments():
            known |= {
                f"-{n}" if len(n) == 1 else f"--{n.replace('_', '-')}" for n in argument.names
            }
        unknown += [f"./lab {name} {option}" for option in options if option not in known]
    assert not unknown


@pytest.mark.parametrize("document", DOCUMENTS, ids=tree.relative)
def test_every_relative_link_of_a_document_resolves(document: Path) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        if not path.exists():
            broken.append(target)
        elif anchor and path.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            broken += [target] if anchor not in {slug(heading) for heading in headings} else []
    assert not broken


def test_no_document_holds_an_unfilled_figure() -> None:
    unfilled = {
        f"{tree.relative(path)}: {found}"
        for path in DOCUMENTS
        for found in PLACEHOLDER.findall(path.read_text(encoding="utf-8"))
    }
    assert not unfilled


def test_the_readme_names_every_task() -> None:
    readme = (tree.ROOT / "README.md").read_text(encoding="utf-8")
    named = {name for name, _ in commands(readme)}
    assert not sorted(set(tree.tasks()) - named)


def test_the_readme_links_every_page_of_docs() -> None:
    readme = (tree.ROOT / "README.md").read_text(encoding="utf-8")
    pages = {tree.relative(path) for path in tree.matching("docs/*.md")}
    assert not sorted(page for page in pages if f"({page})" not in readme)


def test_the_first_screen_of_the_readme_is_there() -> None:
    readme = (tree.ROOT / "README.md").read_text(encoding="utf-8")
    screen = "\n".join(readme.splitlines()[:60])
    for needed in ("docs/img/architecture.svg", "./lab up", "./lab test", "./lab down"):
        assert needed in screen, f"the first 60 lines do not hold {needed}"


def test_the_changelog_keeps_its_form() -> None:
    text = (tree.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings
    for heading in headings:
        assert re.fullmatch(r"\[(Unreleased|\d+\.\d+\.\d+)\](?: - \d{4}-\d\d-\d\d)?", heading)
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_licence_is_the_whole_apache_licence() -> None:
    text = (tree.ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "APPENDIX: How to apply the Apache License to your work." in text
