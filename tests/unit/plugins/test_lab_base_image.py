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
TARGETS = """http://mirror/debian/|bookworm|main|Debian
http://mirror/debian/|bookworm|main|Debian
http://mirror/security/|bookworm-security|main|Debian
http://mirror/debian/|bookworm|non-free|Debian
http://vendor/apt/|bookworm|main|Vendor
http://mirror/debian/|trixie|main|Debian
"""


def test_the_mirror_is_the_host_s_own_without_what_others_added() -> None:
    assert lab_bootstrap.mirror_lines(ARGUMENTS, TARGETS) == [
        "deb http://mirror/debian/ bookworm main",
        "deb http://mirror/security/ bookworm-security main",
    ]


def test_a_given_mirror_replaces_the_host_s() -> None:
    given = {**ARGUMENTS, "mirror": "http://near/debian"}
    assert lab_bootstrap.mirror_lines(given, TARGETS) == ["deb http://near/debian bookworm main"]
    whole = {**ARGUMENTS, "mirror": "deb [trusted=yes] http://near ./"}
    assert lab_bootstrap.mirror_lines(whole, TARGETS) == ["deb [trusted=yes] http://near ./"]


def test_proxy_and_certificates_are_taken_over_and_nothing_else() -> None:
    dump = (
        'Acquire::http::Proxy "http://proxy:1";\nAcquire::cdrom::mount "/cd";\n'
        'Acquire::Check-Valid-Until "false";\n'
    )
    text = lab_bootstrap.apt_settings(dump, "http://mine:2", "/ca.pem")
    assert 'Acquire::http::Proxy "http://proxy:1";' in text
    assert 'Acquire::Check-Valid-Until "false";' in text
    assert "cdrom" not in text
    assert text.index("proxy:1") < text.index("mine:2")
    assert 'Acquire::https::CAInfo "/ca.pem";' in text


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
