from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orrery.errors import HostError
from orrery.guest.image import __main__ as command
from orrery.guest.image import assemble, build, contents, cpio, packages
from orrery.guest.image.needs import MissingProgramError
from orrery.packages import store
from orrery.packages.apt import Package, UnreachableError

OS = {"ID": "debian", "ID_LIKE": "", "VERSION_CODENAME": "bookworm"}


@dataclass(frozen=True)
class FakeApt(packages.Apt):
    """apt without a network: a kernel and nothing else.

    Attributes:
        version: Of its only package.
        said: What was asked of it.
    """

    version: str = "1"
    reachable: bool = True
    os_release: dict[str, str] = field(default_factory=lambda: OS)
    said: list[str] = field(default_factory=list)

    def stamp(self, contents: contents.Contents) -> str:
        return self.version

    def plan(self, contents: contents.Contents) -> packages.Plan:
        self.said.append("plan")
        one = Package("linux", self.version, f"linux_{self.version}.deb", "00")
        return packages.Plan((one,), ())

    def missing(self, packages_: Iterable[Package]) -> list[Package]:
        return [one for one in packages_ if not (self.downloads / one.file).exists()]

    def download(self, packages_: Sequence[Package]) -> None:
        self.said.append("download")
        if not self.reachable:
            raise UnreachableError("guest image: no mirror answers.")
        self.downloads.mkdir(parents=True, exist_ok=True)
        for one in packages_:
            (self.downloads / one.file).touch()

    def unpack(self, packages_: Iterable[Package], folder: Path) -> None:
        for _ in packages_:
            (folder / "boot").mkdir(parents=True)
            (folder / "boot/vmlinuz-6.1").write_bytes(b"kernel")
            (folder / "lib/modules/6.1").mkdir(parents=True)


@pytest.fixture
def source(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> contents.Source:
    monkeypatch.setattr(build, "compile_probe", lambda source: b"probe")
    monkeypatch.setattr(assemble, "entries", lambda *words: [cpio.file("init", b"")])
    return contents.load(checkout / "roles/guest_image/files")


def ensure(
    source: contents.Source, apt: packages.Apt, *, offline: bool = False, check: bool = False
) -> build.Result:
    return build.ensure(source, apt, offline=offline, check=check)


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


def test_an_image_is_made_once_and_apt_is_asked_once(
    source: contents.Source, tmp_path: Path
) -> None:
    apt = FakeApt(tmp_path)
    first, second = ensure(source, apt), ensure(source, apt)
    assert (first.changed, second.changed) == (True, False)
    assert first.folder == second.folder
    assert second.kernel_version == "6.1"
    assert apt.said == ["plan", "download"]
    manifest = json.loads((first.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["packages"] == {"linux": "1"}
    assert first.folder.stat().st_mode & 0o777 == 0o755
    assert not hidden(tmp_path)


def test_another_version_makes_another_image_and_leaves_the_first(
    source: contents.Source, tmp_path: Path
) -> None:
    first = ensure(source, FakeApt(tmp_path))
    second = ensure(source, FakeApt(tmp_path, version="2"))
    assert first.id != second.id
    assert build.complete(first.folder) is not None


def test_an_image_with_a_missing_or_short_file_is_made_again(
    source: contents.Source, tmp_path: Path
) -> None:
    apt = FakeApt(tmp_path)
    folder = ensure(source, apt).folder
    for harm in (
        folder.joinpath("initrd.cpio").unlink,
        lambda: (folder / "vmlinuz").write_text(""),
    ):
        harm()
        assert build.complete(folder) is None
        assert ensure(source, apt).changed
        assert build.complete(folder) is not None


def test_check_only_says_what_would_be_made(source: contents.Source, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert ensure(source, FakeApt(cache), check=True).changed
    assert not cache.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_build_that_is_interrupted_or_fills_the_disk_leaves_nothing(
    source: contents.Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    def stop(*words: object) -> list[cpio.Entry]:
        raise error

    monkeypatch.setattr(assemble, "entries", stop)
    apt = FakeApt(tmp_path)
    with pytest.raises((KeyboardInterrupt, HostError)) as caught:
        ensure(source, apt)
    if isinstance(caught.value, HostError):
        assert "No space left on device. About 400 MB are needed in" in str(caught.value)
        assert "set lab_cache_dir" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "packages", "plan.json"]


def test_what_a_killed_build_left_is_cleared_away(source: contents.Source, tmp_path: Path) -> None:
    (tmp_path / ".build-x/unpacked").mkdir(parents=True)
    (tmp_path / "packages/.part").mkdir(parents=True)
    ensure(source, FakeApt(tmp_path))
    assert not hidden(tmp_path)


def test_without_a_mirror_the_image_of_older_packages_stays_in_use(
    source: contents.Source, tmp_path: Path
) -> None:
    first = ensure(source, FakeApt(tmp_path))
    second = ensure(source, FakeApt(tmp_path, version="2", reachable=False))
    assert (second.changed, second.folder) == (False, first.folder)
    assert second.note == f"The image {first.id} stays in use: guest image: no mirror answers."


def test_offline_names_what_is_missing(source: contents.Source, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError) as caught:
        ensure(source, FakeApt(tmp_path), offline=True)
    assert "1 packages are not in" in str(caught.value)
    assert "linux_1.deb" in str(caught.value)
    assert "--offline forbids to fetch them" in str(caught.value)


def test_offline_makes_an_image_of_what_is_there(source: contents.Source, tmp_path: Path) -> None:
    apt = FakeApt(tmp_path)
    apt.download(apt.plan(source.contents).all)
    assert ensure(source, apt, offline=True).changed


def test_another_build_is_waited_for_with_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOCK_TIMEOUT_S", 0)
    with (
        store.locked(tmp_path, "image"),
        pytest.raises(HostError, match="another build holds .*lock"),
        store.locked(tmp_path, "image"),
    ):
        pass


def test_the_command_names_packages_that_are_needed(
    checkout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def missing(*words: object, **more: object) -> build.Result:
        raise MissingProgramError("cc", ("gcc", "libc6-dev"), "it is so")

    monkeypatch.setattr(build, "ensure", missing)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    words = ["build", "--cache", str(tmp_path), "--keys", str(tmp_path / "keys")]
    code = command.main([*words, "--source", str(checkout / "roles/guest_image/files")])
    out, err = capsys.readouterr()
    assert code == 3
    assert json.loads(out)["needs"][:3] == ["gcc", "libc6-dev", "openssh-client"]
    assert "cc is not there, and is needed because it is so. Install gcc libc6-dev." in err


def test_a_compiler_without_a_static_library_is_told_apart(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cc").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(MissingProgramError, match="a C library to link statically is not there"):
        build.compile_probe(contents.load(checkout / "roles/guest_image/files"))
