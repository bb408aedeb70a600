"""What holds for every file of the repository, and for the files that steer its gates."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.contracts import tree

# Hosts of package and image registries, in pieces so that this file names none.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry-1", "docker", "io"),
        ("hub", "docker", "com"),
        ("download", "docker", "com"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
        ("archive", "ubuntu", "com"),
    )
)
# Where such a host may stand, and why.
ALLOWED = {
    "playbooks/group_vars/all/sources.yml": "the one list of what comes from outside",
}
# Files that others write and that are taken over as they are.
FOREIGN = ("LICENSE", "requirements*.lock", "*/requirements.lock")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b(?!_THE_END)")
EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
BANNER = re.compile(r"^\s*(?:#|//)\s*[-=#*~]{6,}\s*$|^#{6,}", re.MULTILINE)


def own_texts() -> dict[Path, str]:
    foreign = set(tree.matching(*FOREIGN))
    return {path: text for path, text in tree.texts().items() if path not in foreign}


def test_no_registry_is_named_outside_the_list_of_sources() -> None:
    named = [
        f"{tree.relative(path)}: {host}"
        for path, text in tree.texts().items()
        for host in REGISTRIES
        if host in text and tree.relative(path) not in ALLOWED
    ]
    assert not named


def test_text_files_end_with_one_newline_and_no_line_with_blanks() -> None:
    untidy = []
    for path, text in own_texts().items():
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            untidy.append(f"{tree.relative(path)}: end of file")
        if path.suffix != ".csv" and re.search(r"[ \t]+$|\r", text, re.MULTILINE):
            untidy.append(f"{tree.relative(path)}: blanks at the end of a line")
    assert not untidy


@pytest.mark.parametrize(
    ("pattern", "what"),
    [(UNFINISHED, "a note of unfinished work"), (EMOJI, "an emoji"), (BANNER, "a banner")],
    ids=["unfinished", "emoji", "banner"],
)
def test_no_text_holds_noise(pattern: re.Pattern[str], what: str) -> None:
    noisy = [tree.relative(path) for path, text in own_texts().items() if pattern.search(text)]
    assert not noisy, f"{what} in {noisy}"


def test_what_is_run_is_executable_and_nothing_else_pretends() -> None:
    for name in ("lab", ".ci/run"):
        assert os.access(tree.ROOT / name, os.X_OK), f"{name} is not executable"
    odd = [
        tree.relative(path)
        for path, text in tree.texts().items()
        if os.access(path, os.X_OK) and not text.startswith("#!")
    ]
    assert not odd


def test_ci_runs_the_lab_and_then_its_tests() -> None:
    text = (tree.ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    assert 0 < text.index("./lab up") < text.index("./lab test")


def test_no_gate_ends_in_success_whatever_happens() -> None:
    for path in tree.matching(".ci/*", ".github/*", ".pre-commit-config.yaml", "lab"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\|\| *true|continue-on-error: *true|--exit-zero", text), path


def test_the_workflow_calls_the_same_script_with_read_rights_and_a_time_limit() -> None:
    workflow = tree.load_yaml(tree.ROOT / ".github" / "workflows" / "ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["runs-on"] == "ubuntu-24.04"
        assert job["timeout-minutes"] <= 90
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert not [name for name in used if not re.fullmatch(r"[\w./-]+@v\d+\.\d+\.\d+", name)]
    runs = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert "bash .ci/run" in runs


def test_pre_commit_fetches_nothing() -> None:
    config = tree.load_yaml(tree.ROOT / ".pre-commit-config.yaml")
    assert [entry["repo"] for entry in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/"), hook["id"]


def test_every_lock_has_a_hash_for_every_package() -> None:
    bare = [
        f"{tree.relative(path)}: {line.split()[0]}"
        for path in tree.matching("requirements*.lock", "*/requirements*.lock")
        for line in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        if line.strip() and not line.startswith(("#", "-")) and "--hash=sha256:" not in line
    ]
    assert not bare
