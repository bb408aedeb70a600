from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orrery.errors import HostError
from orrery.packages import unpacked
from orrery.packages.apt import Apt, Package, UnreachableError
from orrery.packages.unpacked import Wanted

OS = {"ID": "debian", "ID_LIKE": "", "VERSION_CODENAME": "bookworm"}
WANTED = Wanted("tool-dev", "2", "tool")


def stanza(name: str, depends: str = "", version: str = "2") -> dict[str, str]:
    return {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "SHA256": "00",
        "Depends": depends,
    }


@dataclass(frozen=True)
class FakeApt(Apt):
    """apt without a network, with one package that holds a real program of this host."""

    what: str = "tool"
    version: str = "2"
    reachable: bool = True
    holds: str = "tool"
    os_release: dict[str, str] = field(default_factory=lambda: OS)
    said: list[str] = field(default_factory=list)

    def stamp_of(self, wanted: str) -> str:
        return self.version + wanted

    def update(self) -> None:
        raise UnreachableError("tool: no mirror answers.")

    def closure(self, names: Sequence[str]) -> list[tuple[str, str]]:
        self.said.append("closure")
        return [("tool-dev", self.version)]

    def show(self, names: Sequence[str]) -> list[dict[str, str]]:
        return [stanza("tool-dev", version=self.version)]

    def missing(self, packages: Iterable[Package]) -> list[Package]:
        return [one for one in packages if not (self.downloads / one.file).exists()]

    def download(self, packages: Sequence[Package]) -> None:
        if not self.reachable:
            raise UnreachableError("tool: no mirror answers.")
        self.downloads.mkdir(parents=True, exist_ok=True)
        for one in packages:
            (self.downloads / one.file).touch()

    def unpack(self, packages: Iterable[Package], folder: Path) -> None:
        (folder / "usr/bin").mkdir(parents=True)
        shutil.copy(shutil.which("env") or "/usr/bin/env", folder / "usr/bin" / self.holds)


def ensure(apt: Apt, *, offline: bool = False, check: bool = False) -> unpacked.Unpacked:
    return unpacked.ensure(WANTED, apt, offline=offline, check=check)


def test_only_libraries_that_the_host_lacks_are_fetched_and_nothing_of_developers() -> None:
    stanzas = [
        stanza("tool-dev", "libtool-dev (>= 1), libone1 (>= 1), liball1 | libnone, python3"),
        stanza("libtool-dev", "libhidden1"),
        stanza("libone1", "libtwo1:any, libc6, ghost"),
        stanza("libtwo1", "libone1"),
        stanza("liball1", "libbelow1"),
        *(stanza(name) for name in ("libbelow1", "libhidden1", "libc6", "python3")),
    ]
    chosen = unpacked.choose(WANTED, stanzas, {"liball1"})
    assert [one.name for one in chosen] == ["libone1", "libtwo1", "tool-dev"]
    assert chosen[0].file == "libone1_2_amd64.deb"


def test_another_version_than_the_hosts_is_not_taken() -> None:
    with pytest.raises(UnreachableError, match="apt knows tool-dev 3, and 2 is needed"):
        unpacked.choose(WANTED, [stanza("tool-dev", version="3")], set())


def test_a_program_is_unpacked_once_and_whole(tmp_path: Path) -> None:
    apt = FakeApt(tmp_path)
    first, second = ensure(apt), ensure(apt)
    assert (first.changed, second.changed) == (True, False)
    assert first.program == second.program
    assert first.program.stat().st_mode & 0o777 == 0o755
    assert list(first.libraries.iterdir()) == [], "the host has them all"
    assert apt.said == ["closure"]
    assert not list(tmp_path.glob(".*"))
    first.program.write_bytes(b"short")
    assert ensure(apt).changed


def test_check_writes_nothing(tmp_path: Path) -> None:
    assert ensure(FakeApt(tmp_path / "cache"), check=True).changed
    assert not (tmp_path / "cache").exists()


def test_a_package_without_the_program_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="the package tool-dev holds no tool"):
        ensure(FakeApt(tmp_path, holds="other"))
    assert not [path for path in tmp_path.iterdir() if unpacked.complete(path) is not None]


def test_a_cache_that_cannot_be_written_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(HostError, match=r"tool: .*/cache: .*\. Free space in .*, or set lab_cache"):
        ensure(FakeApt(tmp_path / "cache"))


def test_without_a_mirror_the_same_version_stays_in_use(tmp_path: Path) -> None:
    first = ensure(FakeApt(tmp_path))
    later = ensure(FakeApt(tmp_path, version="3", reachable=False))
    assert (later.changed, later.program) == (False, first.program)
    assert "stays in use: tool: no mirror answers" in later.note
    with pytest.raises(UnreachableError, match="--offline forbids to fetch them"):
        ensure(FakeApt(tmp_path / "empty"), offline=True)
