from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import lab_bootstrap

from plugins.modules import lab_base_image

ARGUMENTS: dict[str, Any] = {
    "lab_name": "t-base",
    "method": "auto",
    "registry_image": "somewhere/python:3.11",
    "suite": "bookworm",
    "architecture": "amd64",
    "packages": ["python3", "ca-certificates"],
    "revision": "1",
    "mirror": "",
}


def test_the_name_changes_with_what_goes_in_and_not_with_the_way_there() -> None:
    names = lab_base_image.candidates(ARGUMENTS)
    assert list(names) == ["registry", "bootstrap"]
    assert names["bootstrap"].startswith("t-base/base:bookworm-")
    elsewhere = {**ARGUMENTS, "mirror": "http://near", "method": "bootstrap"}
    assert lab_base_image.candidates(elsewhere) == {"bootstrap": names["bootstrap"]}
    more = {**ARGUMENTS, "packages": ["python3", "ca-certificates", "gcc"]}
    assert lab_base_image.candidates(more)["bootstrap"] != names["bootstrap"]


def test_a_damaged_archive_is_not_used(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(b"whole")
    assert not lab_bootstrap.cached(archive)
    beside = lab_bootstrap.checksum_file(archive)
    beside.write_text(f"{lab_bootstrap.sha256_of(archive)}  a.tar\n", encoding="ascii")
    assert lab_bootstrap.cached(archive)
    archive.write_bytes(b"half")
    assert not lab_bootstrap.cached(archive)
    assert not archive.exists()


@pytest.mark.parametrize("text", ['say "no"', "cost $HOME", "line\nline", "back\\slash", "tick`"])
def test_a_reason_fits_into_a_label(text: str) -> None:
    plain = lab_base_image.plain(text)
    assert not set(plain) & set('"$\n\\`')


def test_an_archive_for_another_host_needs_no_docker(tmp_path: Path) -> None:
    arguments = {**ARGUMENTS, "cache_dir": str(tmp_path)}
    archive = lab_bootstrap.archive_path(arguments)
    assert lab_base_image.cache(arguments, check=True)["changed"]
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"whole")
    lab_bootstrap.checksum_file(archive).write_text(lab_bootstrap.sha256_of(archive))
    answer = lab_base_image.cache(arguments, check=False)
    assert answer == {"changed": False, "needs": [], "archive": str(archive)}
