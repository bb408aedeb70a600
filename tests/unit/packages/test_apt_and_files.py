from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orrery.errors import HostError
from orrery.packages import apt, files, store

DEBIAN = {"ID": "debian", "ID_LIKE": "", "VERSION_CODENAME": "bookworm"}
MINT = {"ID": "mint", "ID_LIKE": "debian ubuntu", "VERSION_CODENAME": "wilma"}


def test_where_one_part_ends_counts_for_the_hash() -> None:
    assert store.digest(["ab", "c"]) != store.digest(["a", "bc"])


def test_a_mirror_becomes_a_signed_source() -> None:
    (line,) = apt.mirror_lines("http://mirror/debian", DEBIAN)
    assert line == (
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror/debian "
        "bookworm main"
    )
    assert apt.mirror_lines("http://mirror/ubuntu", MINT)[0].endswith("wilma main universe")
    assert apt.mirror_lines("deb http://mirror x y", DEBIAN) == ["deb http://mirror x y"]


def test_names_and_versions_are_read_from_what_apt_prints() -> None:
    text = (
        "'http://mirror/libc6_2.36-9_amd64.deb' libc6_2.36-9_amd64.deb 2759320 MD5Sum:8d98\n"
        "'http://mirror/e.deb' ethtool_1%3a6.1-1_amd64.deb 196612 \n"
    )
    assert apt.parse_uris(text) == [("libc6", "2.36-9"), ("ethtool", "1:6.1-1")]


def test_fields_are_read_from_stanzas() -> None:
    text = "Package: a\nVersion: 1\nDescription: x\n more: y\n\nPackage: b\nSHA256: 00\n\n"
    first, second = apt.parse_stanzas(text)
    assert (first["Package"], first["Version"]) == ("a", "1")
    assert second == {"Package": "b", "SHA256": "00"}


def test_a_host_without_apt_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/none")
    with pytest.raises(HostError, match="apt-get is not there.*packages of Debian or"):
        apt.Apt(tmp_path, os_release=DEBIAN).update()


def test_a_library_that_no_package_holds_is_named_with_who_needs_it() -> None:
    program = Path(shutil.which("env") or "/usr/bin/env").resolve().read_bytes()
    with pytest.raises(HostError, match=r"image: env needs \S+, which no package holds. Do it."):
        files.libraries({"env": program}, lambda name: None, "image", "Do it.")
