from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orrery.errors import ConfigurationError, HostError
from orrery.mnist.download import DownloadError, Network
from orrery.packages import mirror
from orrery.vm.image import bootstrap, catalogue, choose, mirrors, web
from orrery.vm.image.image import Method
from orrery.vm.image.recipe import Recipe
from orrery.vm.image.store import Store

ENTRY = {"checksum": "0" * 64}
CATALOGUE = catalogue.parse(
    {
        "ubuntu-24.04": {
            **ENTRY,
            "title": "Ubuntu 24.04",
            "system": "ubuntu",
            "release": "noble",
            "url": "http://site/noble.img",
        },
        "debian-12": {
            **ENTRY,
            "title": "Debian 12",
            "system": "debian",
            "release": "bookworm",
            "url": "http://site/bookworm.img",
        },
    }
)
DEBIAN = {"ID": "debian", "ID_LIKE": "", "VERSION_CODENAME": "bookworm"}
FEDORA = {"ID": "fedora", "ID_LIKE": "", "VERSION_CODENAME": ""}


@dataclass
class World:
    """What the machine meets."""

    store: Store
    made: list[Recipe] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    answers: bool = False

    def chooser(self, given: str = "", os_release: dict[str, str] = DEBIAN) -> choose.Chooser:
        return choose.Chooser(CATALOGUE, self.store, mirrors.Host(given, Network(), os_release))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(Store(tmp_path))

    def probe(url: str, network: Network, timeout_s: float = 0) -> None:
        made.asked.append(url)
        if not made.answers:
            raise DownloadError("no route")

    def make(recipe: Recipe, network: Network, work: Path, target: Path) -> int:
        made.made.append(recipe)
        for name in (bootstrap.DISK, bootstrap.KERNEL, bootstrap.INITRD):
            (target / name).write_text(name, encoding="utf-8")
        return 4096

    def targets(argv: tuple[str, ...], timeout_s: float) -> object:
        assert argv == mirror.INDEX_TARGETS
        return type("Done", (), {"stdout": "http://m/debian/|bookworm|main|Debian\n"})

    monkeypatch.setattr(web, "probe", probe)
    monkeypatch.setattr(bootstrap, "make", make)
    monkeypatch.setattr("orrery.shell.run", targets)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr("orrery.vm.image.store.Store._check_space", lambda self, space_mb: None)
    return made


def test_a_site_that_does_not_answer_leads_to_the_host_s_own_release(world: World) -> None:
    result = world.chooser().ensure(choose.Wish("ubuntu-24.04"))
    assert result.changed
    assert result.image is not None
    assert (result.image.name, result.image.method) == ("debian-12", Method.BOOTSTRAP)
    assert result.note == (
        "ubuntu-24.04 cannot be reached (no route) -> "
        "Debian 12 bootstrapped from the host's mirror."
    )
    assert world.made[0].sources == ("deb http://m/debian/ bookworm main",)


def test_the_second_time_nothing_is_asked_and_nothing_changes(world: World) -> None:
    first = world.chooser().ensure(choose.Wish("ubuntu-24.04"))
    world.asked.clear()
    second = world.chooser().ensure(choose.Wish("ubuntu-24.04"))
    assert (second.changed, second.image, second.note) == (False, first.image, first.note)
    assert not world.asked
    assert len(world.made) == 1


def test_two_names_for_one_image_share_it(world: World) -> None:
    first = world.chooser().ensure(choose.Wish("ubuntu-24.04"))
    second = world.chooser().ensure(choose.Wish("debian-12", "bootstrap"))
    assert not second.changed
    assert second.image == first.image


def test_a_damaged_image_is_made_again(world: World) -> None:
    image = world.chooser().ensure(choose.Wish("debian-12")).image
    assert image is not None
    image.disk.unlink()
    image.disk.write_text("something else", encoding="utf-8")
    assert world.chooser().ensure(choose.Wish("debian-12")).changed
    assert len(world.made) == 2


def test_the_asked_release_is_taken_where_a_mirror_has_it(world: World) -> None:
    world.answers = True
    wish = choose.Wish("ubuntu-24.04", "bootstrap")
    image = world.chooser("http://near/ubuntu").ensure(wish).image
    assert image is not None
    assert image.name == "ubuntu-24.04"
    assert world.asked == ["http://near/ubuntu/dists/noble/Release"]
    assert world.made[0].sources == ("deb http://near/ubuntu noble main universe",)
    assert "linux-image-virtual" in world.made[0].packages


def test_a_release_that_no_mirror_has_names_the_variable_where_it_is_forced(world: World) -> None:
    with pytest.raises(ConfigurationError, match="no mirror of Ubuntu 24.04 .noble. is known"):
        world.chooser().ensure(choose.Wish("ubuntu-24.04", "bootstrap"))


def test_a_host_that_cannot_bootstrap_says_so(world: World) -> None:
    with pytest.raises(ConfigurationError, match="this host is 'fedora'; images are bootstrapped"):
        world.chooser(os_release=FEDORA).ensure(choose.Wish("debian-12", "bootstrap"))


def test_check_mode_makes_nothing_and_says_that_it_would(world: World) -> None:
    result = world.chooser().ensure(choose.Wish("debian-12", check=True))
    assert (result.changed, result.image) == (True, None)
    assert not world.made
    assert not world.store.folder.exists()


def test_offline_takes_the_cache_or_nothing(world: World) -> None:
    wish = choose.Wish("debian-12", "bootstrap", offline=True)
    with pytest.raises(HostError, match="debian-12 is not in .*, and --offline forbids"):
        world.chooser().ensure(wish)
    world.chooser().ensure(choose.Wish("debian-12", "bootstrap"))
    assert not world.chooser().ensure(wish).changed


def test_offline_asks_no_site(world: World) -> None:
    with pytest.raises(HostError, match="--offline forbids"):
        world.chooser().ensure(choose.Wish("ubuntu-24.04", offline=True))
    assert not world.asked


def test_other_packages_make_another_image(world: World) -> None:
    first = world.chooser().ensure(choose.Wish("debian-12")).image
    second = world.chooser().ensure(choose.Wish("debian-12", packages=("git",))).image
    assert first is not None
    assert second is not None
    assert first.id != second.id
    assert "git" in world.made[1].packages


def test_a_program_that_is_missing_is_named_with_all_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(HostError, match="Install mmdebstrap e2fsprogs qemu-utils"):
        world.chooser().ensure(choose.Wish("debian-12"))
    assert not world.made


def test_a_failed_making_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise HostError("the mirror went away")

    monkeypatch.setattr(bootstrap, "make", fail)
    with pytest.raises(HostError, match="the mirror went away"):
        world.chooser().ensure(choose.Wish("debian-12"))
    assert [path.name for path in world.store.folder.iterdir()] == ["lock"]


def test_a_full_disk_is_said_with_what_is_needed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bootstrap, "make", fail)
    with pytest.raises(HostError, match="and 3000 MB are needed.*lab_cache_dir to a larger disk"):
        world.chooser().ensure(choose.Wish("debian-12"))


def test_a_path_that_is_not_there_is_refused(world: World) -> None:
    with pytest.raises(ConfigurationError, match="there is no file /nowhere/disk.qcow2"):
        world.chooser().ensure(choose.Wish("debian-12", source="/nowhere/disk.qcow2"))


def test_a_given_url_needs_a_checksum(world: World) -> None:
    with pytest.raises(ConfigurationError, match="vm_image_checksum"):
        world.chooser().ensure(choose.Wish("debian-12", source="http://near/disk.qcow2"))


def test_units_that_roles_start_do_not_start_by_themselves(tmp_path: Path) -> None:
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    for unit in ("docker.service", "nginx.service", "ssh.service"):
        (wants / unit).symlink_to(f"/lib/systemd/system/{unit}")
    bootstrap.disable(tmp_path)
    assert [link.name for link in wants.iterdir()] == ["ssh.service"]
