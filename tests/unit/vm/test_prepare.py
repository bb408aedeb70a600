"""What a VM starts from is made once, written down, and kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.errors import ConfigurationError, HostError
from orrery.guest.machine import Accel
from orrery.state import LabState
from orrery.vm import keys, plan, prepare, supervise
from orrery.vm.image.image import Image, Method
from orrery.vm.prepare import Prepared
from orrery.vm.spec import VmSpec, description
from orrery.vm.wish import Wish
from tests.support import vm

STATE = LabState(
    "t-vm", facts={"qemu": {"program": "/usr/bin/qemu-system-x86_64", "version": "10.0.2"}}
)

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("qemu-img", "ssh-keygen"))),
    reason="qemu-img and ssh-keygen are needed: run ./lab up first",
)


@pytest.fixture
def base(tmp_path: Path) -> Image:
    """An image with a disk that is there."""
    found = vm.image(tmp_path, method=Method.DOWNLOAD)
    found.disk.parent.mkdir()
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(found.disk), "64M"]
    shell.run(argv, timeout_s=20)
    return found


def prepared(folder: Path, image: Image, *, check: bool = False, **values: Any) -> Prepared:
    wish = Wish.from_mapping(vm.wish(folder, **values))
    found = plan.plan(wish)
    return prepare.prepare(STATE, wish, found, image, check=check)


def test_the_first_time_all_is_made_and_the_second_time_nothing(
    tmp_path: Path, base: Image
) -> None:
    first = prepared(tmp_path, base)
    assert first.made == ("keys", "disk", "seed", "description")
    assert VmSpec.read(description(first.spec.folder)) == first.spec
    assert prepared(tmp_path, base).made == ()


def test_check_says_what_would_be_made_and_makes_nothing(tmp_path: Path, base: Image) -> None:
    assert prepared(tmp_path, base, check=True).made == ("keys", "disk", "seed", "description")
    assert not (tmp_path / "vm").exists()


def test_secrets_are_roots_alone(tmp_path: Path, base: Image) -> None:
    spec = prepared(tmp_path, base).spec
    for path in (spec.seed, spec.disk, description(spec.folder), *spec.keys.iterdir()):
        assert path.stat().st_mode & 0o777 == 0o600, path


def test_the_seed_holds_the_key_that_is_known_in_advance(tmp_path: Path, base: Image) -> None:
    spec = prepared(tmp_path, base).spec
    private, public = keys.host_key(spec.keys)
    known = (spec.keys / "known_hosts").read_text()
    said = (spec.seed.parent / "user-data").read_text()
    assert known == f"lab-vm {public}\n"
    assert public in said
    assert private.splitlines()[1] in said
    assert keys.authorized(spec.keys) in said


def test_another_mirror_makes_cloud_init_start_over(tmp_path: Path, base: Image) -> None:
    first = prepared(tmp_path, base).spec
    before = (first.seed.parent / "meta-data").read_text()
    again = prepared(tmp_path, base, package_mirror="http://mirror.test/debian")
    assert again.made == ("seed",)
    assert (first.seed.parent / "meta-data").read_text() != before


def test_a_newer_image_leaves_the_vm_on_its_own(tmp_path: Path, base: Image) -> None:
    prepared(tmp_path, base)
    newer = vm.image(tmp_path, id="ffffffffffff", disk=tmp_path / "newer.qcow2")
    assert prepared(tmp_path, newer).spec.image.id == base.id


def test_more_memory_is_another_description_of_the_same_disk(tmp_path: Path, base: Image) -> None:
    prepared(tmp_path, base)
    assert prepared(tmp_path, base, memory_mb=1024).made == ("description",)


def test_an_image_that_is_gone_is_said_with_the_way_out(tmp_path: Path, base: Image) -> None:
    prepared(tmp_path, base)
    base.disk.unlink()
    with pytest.raises(HostError, match=r"is based on is gone .*\./lab down removes the VM"):
        prepared(tmp_path, base)


def test_a_disk_grows_when_it_is_started_and_is_otherwise_left(tmp_path: Path, base: Image) -> None:
    spec = prepared(tmp_path, base).spec
    supervise.grow(prepared(tmp_path, base, disk_gb=10).spec)
    said = shell.run(["qemu-img", "info", spec.disk], timeout_s=20).stdout
    assert "virtual size: 10 GiB" in said


def test_a_disk_that_is_gone_is_not_started_without(tmp_path: Path, base: Image) -> None:
    spec = prepared(tmp_path, base).spec
    spec.disk.unlink()
    with pytest.raises(HostError, match=r"its disk .* is gone. Run \./lab up"):
        supervise.grow(spec)


def test_a_user_that_is_not_there_is_named(tmp_path: Path, base: Image) -> None:
    with pytest.raises(ConfigurationError, match="vm_user_key_owner: there is no user 'nobody-"):
        prepared(tmp_path, base, key_owner="nobody-here")


def test_a_forced_acceleration_is_not_tried(tmp_path: Path, base: Image) -> None:
    found = prepared(tmp_path, base, accel="tcg")
    assert found.spec.accel is Accel.TCG
    assert found.accel_why == "tcg, because vm_accel says so"
