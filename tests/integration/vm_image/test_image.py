"""A real image out of the host's mirror: whole, once, and nothing left when it is broken off."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from orrery import shell
from orrery.vm.image import bootstrap
from orrery.vm.image.image import Image, overlay
from tests.contracts import tree
from tests.integration.vm_image.site import Images

PUBLISHED = tree.load_yaml(tree.ROOT / "playbooks/group_vars/all/sources.yml")["vm_images"]
BEGIN_TIMEOUT_S = 120
POLL_S = 0.2
pytestmark = pytest.mark.root


def own_release(images: Images) -> list[str]:
    """The command that bootstraps the release of this host."""
    return images.argv("ubuntu-24.04", PUBLISHED, "--method", "auto")


@pytest.mark.timeout(700)
def test_an_image_is_bootstrapped_once_and_found_again(images: Images, tmp_path: Path) -> None:
    first = images.run(own_release(images))
    assert first.code == 0, first.error
    if first.data["image"]["method"] != "bootstrap":
        pytest.skip("not here: the site of the image answers, so that it was downloaded")
    image = Image.from_mapping(first.data["image"])
    assert first.data["changed"]
    assert "bootstrapped from" in first.data["note"]
    assert Path(image.kernel).stat().st_size > 1024**2
    assert Path(image.initrd).stat().st_size > 1024**2
    assert "root=/dev/vda" in image.append
    second = images.run(own_release(images))
    assert (second.data["changed"], second.data["seconds"] <= 2) == (False, True)
    overlay(image, tmp_path / "mine.qcow2", 20)
    argv = ["qemu-img", "info", "--output=json", str(tmp_path / "mine.qcow2")]
    about = json.loads(shell.run(argv, timeout_s=60).stdout)
    assert about["virtual-size"] == 20 * 1024**3
    assert about["backing-filename"] == str(image.disk)


@pytest.mark.timeout(300)
def test_a_bootstrap_that_is_broken_off_leaves_nothing(images: Images) -> None:
    process = shell.start(own_release(images))
    end = time.monotonic() + BEGIN_TIMEOUT_S
    while not list(images.cache.glob("vm/.build-*/work/root/var/lib/dpkg")):
        assert process.poll() is None
        assert time.monotonic() < end, "mmdebstrap did not begin"
        time.sleep(POLL_S)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert not images.left()
    assert str(images.cache) not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")


def test_a_mirror_that_does_not_answer_is_said(images: Images) -> None:
    argv = images.argv("debian-12", PUBLISHED, "--method", "bootstrap")
    answer = images.run([*argv, "--mirror", "deb http://127.0.0.1:9/debian bookworm main"])
    assert answer.code == 3
    assert "lab_package_mirror" in answer.error
    assert not images.left()


def test_programs_that_are_missing_are_listed_for_the_role(
    images: Images, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("apt-get", "apt-config"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = images.run(images.argv("debian-12", PUBLISHED, "--method", "bootstrap"))
    assert answer.code == 3
    assert answer.data["needs"] == [one.package for one in bootstrap.PROGRAMS]
