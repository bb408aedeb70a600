from __future__ import annotations

from pathlib import Path

import pytest

from orrery.errors import ConfigurationError, HostError
from orrery.vm.image import bootstrap, download, recipe
from orrery.vm.image.image import Image, Method, overlay
from orrery.vm.image.store import complete

SHORT, LONG = "a" * 64, "b" * 128
IMAGE = Image("debian-12", "0" * 12, "debian", "Debian 12", Path("/c/disk"), "qcow2", 4096)


@pytest.mark.parametrize(
    "line",
    [
        f"{SHORT}  disk.qcow2",
        f"{SHORT} *disk.qcow2",
        f"{SHORT}  ./disk.qcow2",
        f"SHA256 (disk.qcow2) = {SHORT}",
    ],
)
def test_a_checksum_is_found_in_each_form_of_list(line: str) -> None:
    lines = ["# disk.qcow2: 1 bytes", f"{'c' * 64}  other.qcow2", line, "-----"]
    assert download.find(lines, "disk.qcow2") == SHORT


def test_the_longest_checksum_counts_and_a_file_of_a_similar_name_does_not() -> None:
    lines = [f"{SHORT}  disk", f"{LONG}  disk", f"{'c' * 128}  disk2"]
    assert download.find(lines, "disk") == LONG
    assert download.find(lines, "dis") == ""


def test_an_image_is_the_same_after_it_was_written_down() -> None:
    assert Image.from_mapping(IMAGE.as_mapping()) == IMAGE
    assert IMAGE.as_mapping()["method"] == Method.DOWNLOAD.value


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="what is written down of it cannot be read"):
        Image.from_mapping({"name": "debian-12"})


def test_a_disk_smaller_than_its_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="2 GB were asked for, and the image debian-12 "):
        overlay(IMAGE, tmp_path / "disk", 2)


def test_a_folder_without_its_list_is_no_image(tmp_path: Path) -> None:
    assert complete(tmp_path) is None
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    assert complete(tmp_path) is None


def test_a_centos_cannot_be_bootstrapped() -> None:
    with pytest.raises(ConfigurationError, match="only debian and ubuntu can. Set vm_image_method"):
        recipe.recipe("centos", "9", (), ())


def test_what_is_in_an_image_decides_its_name() -> None:
    plain = recipe.recipe("debian", "bookworm", (), ("deb http://m bookworm main",))
    more = recipe.recipe("debian", "bookworm", ("git",), ("deb http://m bookworm main",))
    assert plain.parts() != more.parts()
    assert "systemd-resolved" in plain.packages
    assert "systemd-resolved" not in recipe.recipe("ubuntu", "jammy", (), ()).packages


def test_what_identifies_one_machine_is_taken_out(tmp_path: Path) -> None:
    for name in ("etc/ssh", "var/lib/dbus", "etc/apt/apt.conf.d", "root/.cache"):
        (tmp_path / name).mkdir(parents=True)
    gone = ["etc/ssh/ssh_host_rsa_key", "etc/hostname", "etc/apt/apt.conf.d/99mmdebstrap"]
    for name in [*gone, "etc/ssh/sshd_config", "etc/machine-id"]:
        (tmp_path / name).write_text("something", encoding="utf-8")
    (tmp_path / "etc/resolv.conf").symlink_to("nowhere")
    bootstrap.forget(tmp_path)
    assert not [name for name in gone if (tmp_path / name).exists()]
    assert (tmp_path / "etc/ssh/sshd_config").exists()
    assert (tmp_path / "etc/machine-id").read_text(encoding="utf-8") == ""
    assert str((tmp_path / "etc/resolv.conf").readlink()) == bootstrap.RESOLVED


def test_units_that_cost_time_do_not_run(tmp_path: Path) -> None:
    made = recipe.recipe("debian", "bookworm", (), ())
    bootstrap.write_skeleton(made, tmp_path)
    mask = tmp_path / "etc/systemd/system/apt-daily.timer"
    assert str(mask.readlink()) == "/dev/null"
    assert (tmp_path / "etc/fstab").read_text(encoding="utf-8").startswith("/dev/vda / ext4")


def test_an_image_without_one_kernel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    with pytest.raises(HostError, match="vmlinuz in /boot: none; one is needed"):
        bootstrap.take_kernel(tmp_path, tmp_path)
