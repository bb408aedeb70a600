"""Images from a site on loopback: whole and vouched for, or not there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from orrery import shell
from tests.integration.vm_image.site import NAME, Images, Signer, Site


def signed(site: Site, signer: Signer, **more: str) -> dict[str, str]:
    return site.entry(
        signature_url=f"{site.url}/SHA256SUMS.gpg",
        signing_key=signer.fingerprint,
        keyring=str(signer.keyring),
        **more,
    )


def test_an_image_comes_in_once_and_is_what_was_published(
    images: Images, site: Site, disk: bytes
) -> None:
    site.publish(disk)
    first = images.ensure(site.entry())
    assert first.code == 0, first.error
    image = first.data["image"]
    assert first.data["changed"]
    assert Path(image["disk"]).read_bytes() == disk
    assert (image["format"], image["size_mb"], image["method"]) == ("qcow2", 4, "download")
    site.asked.clear()
    second = images.ensure(site.entry())
    assert not second.data["changed"]
    assert second.data["image"] == image
    assert second.data["seconds"] <= 2
    assert not site.asked


def test_check_mode_fetches_nothing(images: Images, site: Site, disk: bytes) -> None:
    site.publish(disk)
    answer = images.ensure(site.entry(), "--check")
    assert answer.data["changed"]
    assert not images.left()
    assert f"/{NAME}" not in site.asked or len(site.asked) == 1


def test_a_truncated_image_is_not_used(images: Images, site: Site, disk: bytes) -> None:
    site.publish(disk[: len(disk) // 2], listed=disk)
    answer = images.ensure(site.entry())
    assert answer.code == 3
    assert f"is promised ({len(disk) // 2} bytes came in)" in answer.error
    assert not images.left()


def test_a_connection_that_breaks_off_leaves_nothing(
    images: Images, site: Site, disk: bytes
) -> None:
    site.publish(disk)
    site.cut.add(f"/{NAME}")
    answer = images.ensure(site.entry(), "--method", "download")
    assert answer.code == 3
    assert "the connection broke off" in answer.error
    assert "vm_image_method to bootstrap" in answer.error
    assert not images.left()


def test_a_wrong_checksum_of_the_catalogue_is_not_overruled_by_the_site(
    images: Images, site: Site, disk: bytes
) -> None:
    site.publish(disk)
    answer = images.ensure(site.entry(checksum="f" * 64))
    assert answer.code == 3
    assert "ffffffffffffffff... is promised" in answer.error
    assert not images.left()


def test_a_pinned_checksum_needs_no_list(images: Images, site: Site, disk: bytes) -> None:
    site.publish(disk)
    del site.files["/SHA256SUMS"]
    answer = images.ensure(site.entry(checksum=hashlib.sha512(disk).hexdigest()))
    assert answer.code == 0, answer.error


def test_a_list_that_does_not_name_the_image_is_said(
    images: Images, site: Site, disk: bytes
) -> None:
    site.publish(disk)
    site.files["/SHA256SUMS"] = b"0" * 64 + b" *other.qcow2\n"
    answer = images.ensure(site.entry())
    assert answer.code == 3
    assert "SHA256SUMS does not name disk.qcow2" in answer.error


@pytest.fixture
def small(images: Images) -> Iterator[Images]:
    """A cache that holds two megabytes."""
    images.cache.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=2m", "orrery-test", str(images.cache)]
    shell.run(argv, timeout_s=30)
    yield images
    shell.run(["umount", str(images.cache)], timeout_s=30)


@pytest.mark.root
def test_a_full_disk_is_said_and_nothing_half_is_left(
    small: Images, site: Site, disk: bytes
) -> None:
    site.publish(disk)
    answer = small.ensure(site.entry(), "--method", "download")
    assert answer.code == 3
    assert "No space left on device" in answer.error or "MB are free in" in answer.error
    assert not small.left()


@pytest.mark.root
def test_a_bootstrap_on_a_small_disk_is_refused_before_it_begins(small: Images) -> None:
    entry = {
        "title": "Debian 12",
        "system": "debian",
        "release": "bookworm",
        "url": "http://127.0.0.1:9/none",
        "checksum": "0" * 64,
    }
    argv = small.argv("debian-12", {"debian-12": entry}, "--method", "bootstrap")
    answer = small.run([*argv, "--mirror", "deb http://127.0.0.1:9/debian bookworm main"])
    assert answer.code == 3
    assert "MB are free in" in answer.error
    assert "lab_cache_dir to a larger disk" in answer.error
    assert not small.left()


@pytest.mark.parametrize("inline", [False, True], ids=["detached", "in the list"])
def test_a_good_signature_is_taken(
    images: Images, site: Site, disk: bytes, signers: tuple[Signer, Signer], inline: bool
) -> None:
    publisher, _ = signers
    site.publish(disk)
    text = site.files["/SHA256SUMS"]
    entry = signed(site, publisher)
    if inline:
        site.files["/SHA256SUMS"] = publisher.inline(text)
        entry["signature_url"] = entry["checksum_url"]
    else:
        site.files["/SHA256SUMS.gpg"] = publisher.detached(text)
    answer = images.ensure(entry)
    assert answer.code == 0, answer.error
    assert answer.data["changed"]


def test_a_key_may_come_from_a_site(
    images: Images, site: Site, disk: bytes, signers: tuple[Signer, Signer]
) -> None:
    publisher, _ = signers
    site.publish(disk)
    site.files["/SHA256SUMS.gpg"] = publisher.detached(site.files["/SHA256SUMS"])
    site.files["/key"] = publisher.keyring.read_bytes()
    answer = images.ensure({**signed(site, publisher), "keyring": f"{site.url}/key"})
    assert answer.code == 0, answer.error


def test_a_list_that_was_changed_after_signing_is_refused(
    images: Images, site: Site, disk: bytes, signers: tuple[Signer, Signer]
) -> None:
    publisher, _ = signers
    site.publish(b"something else")
    signature = publisher.detached(site.files["/SHA256SUMS"])
    site.publish(disk)
    site.files["/SHA256SUMS.gpg"] = signature
    answer = images.ensure(signed(site, publisher))
    assert answer.code == 3
    assert f"is not signed by {publisher.fingerprint}" in answer.error
    assert "the signature does not fit the text" in answer.error
    assert not images.left()


def test_a_signature_of_somebody_else_is_refused_though_the_key_is_at_hand(
    images: Images, site: Site, disk: bytes, signers: tuple[Signer, Signer]
) -> None:
    publisher, somebody = signers
    site.publish(disk)
    site.files["/SHA256SUMS.gpg"] = somebody.detached(site.files["/SHA256SUMS"])
    entry = {**signed(site, publisher), "keyring": str(somebody.keyring)}
    answer = images.ensure(entry)
    assert answer.code == 3
    assert f"it is signed by {somebody.fingerprint}" in answer.error
    unknown = images.ensure(signed(site, publisher))
    assert "signed by a key that is not in the keyring" in unknown.error
    assert not images.left()


def test_a_list_without_a_signature_is_refused(
    images: Images, site: Site, disk: bytes, signers: tuple[Signer, Signer]
) -> None:
    publisher, _ = signers
    site.publish(disk)
    entry = {**signed(site, publisher), "signature_url": f"{site.url}/SHA256SUMS"}
    answer = images.ensure(entry)
    assert answer.code == 3
    assert "there is no signature" in answer.error


def test_what_stands_around_a_signed_list_does_not_count(
    images: Images, site: Site, disk: bytes, signers: tuple[Signer, Signer]
) -> None:
    publisher, _ = signers
    site.publish(b"something else")
    inner = publisher.inline(b"0" * 64 + b" *other.qcow2\n")
    site.publish(disk)
    site.files["/SHA256SUMS"] += inner
    entry = {**signed(site, publisher), "signature_url": f"{site.url}/SHA256SUMS"}
    answer = images.ensure(entry)
    assert answer.code == 3
    assert "does not name disk.qcow2" in answer.error


def test_a_disk_that_leads_to_files_of_the_host_is_refused(
    images: Images, site: Site, tmp_path: Path
) -> None:
    sly = tmp_path / "sly.qcow2"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/shadow"]
    shell.run([*argv, str(sly), "1M"], timeout_s=60)
    site.publish(sly.read_bytes())
    answer = images.ensure(site.entry())
    assert answer.code == 3
    assert "refers to other files of this host" in answer.error
    assert not images.left()


def test_a_disk_of_the_user_is_taken_from_its_path(
    images: Images, disk: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "mine.qcow2"
    path.write_bytes(disk)
    entry = Site("http://127.0.0.1:9").entry()
    digits = hashlib.sha256(disk).hexdigest()
    answer = images.ensure(entry, "--source", str(path), "--checksum", digits)
    assert answer.code == 0, answer.error
    assert answer.data["image"]["method"] == "path"
    assert answer.data["image"]["title"] == "Some system"
    wrong = images.ensure(entry, "--source", str(path), "--checksum", "e" * 64)
    assert "eeeeeeeeeeeeeeee... is promised" in wrong.error
