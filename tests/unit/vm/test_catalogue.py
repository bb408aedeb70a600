from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orrery.errors import ConfigurationError
from orrery.vm.image import catalogue
from tests.contracts import tree

PUBLISHED = tree.load_yaml(tree.ROOT / "playbooks/group_vars/all/sources.yml")["vm_images"]
ONE = {
    "title": "Debian 12",
    "system": "debian",
    "release": "bookworm",
    "url": "http://a/b.qcow2",
    "checksum": "0" * 64,
}
SIGNED = {
    "ubuntu": "signed by Canonical",
    "fedora": "signed by Fedora",
}


def parse(**more: Any) -> catalogue.Catalogue:
    return catalogue.parse({"debian-12": {**ONE, **more}})


def test_the_list_of_sources_has_every_promised_image() -> None:
    known = catalogue.parse(PUBLISHED).entries
    promised = {"ubuntu-24.04", "ubuntu-22.04", "debian-12", "debian-13"}
    assert promised | {"centos-stream-9", "centos-stream-10"} <= set(known)
    assert any(name.startswith("fedora-cloud-") for name in known)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_image_comes_encrypted_and_signed_where_its_makers_sign(name: str) -> None:
    entry = catalogue.parse(PUBLISHED).entry(name)
    assert entry.url.startswith("https://")
    assert entry.checksum_url.startswith("https://")
    assert bool(entry.signature_url) == (entry.system in SIGNED)


def test_an_unknown_image_is_answered_with_those_that_are_there() -> None:
    with pytest.raises(ConfigurationError, match="'slackware' is not in vm_images, which has deb"):
        parse().entry("slackware")


def test_an_image_that_nothing_vouches_for_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="debian-12: neither checksum nor checksum_url"):
        parse(checksum="")


def test_a_signature_without_a_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="signing_key .the fingerprint. and keyring"):
        parse(signature_url="http://a/sums.gpg")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"checksum": "abc"}, "checksum 'abc' is no SHA-256 or SHA-512"),
        ({"system": "beos"}, "system 'beos' is not one of debian, ubuntu, centos, fedora"),
        ({"colour": "red"}, "unknown: colour. It has title, system, release, url, checksum"),
    ],
)
def test_a_wrong_entry_is_refused(more: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse(**more)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ConfigurationError, match="missing: release, url"):
        catalogue.parse({"debian-12": {"title": "Debian 12", "system": "debian"}})


def test_a_file_that_is_no_catalogue_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.json"
    with pytest.raises(ConfigurationError, match="images.json: the list of VM images cannot be"):
        catalogue.load(path)
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="holds no mapping of names to VM images"):
        catalogue.load(path)
    path.write_text(json.dumps({"debian-12": ONE}), encoding="utf-8")
    assert catalogue.load(path).of("debian", "bookworm") is not None
