"""The images that can be asked for, as the list of sources has them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError

SYSTEMS = ("debian", "ubuntu", "centos", "fedora")
NAME = re.compile(r"[a-z][a-z0-9.-]{0,39}")
CHECKSUM = re.compile(r"(?:(sha256|sha512):)?([0-9a-f]{64}|[0-9a-f]{128})")


@dataclass(frozen=True)
class Entry:
    """An image that somebody publishes.

    Attributes:
        name: `debian-12`.
        title: For people.
        system: `debian`, `ubuntu`, `centos` or `fedora`.
        release: Code name, or number.
        url: Of the disk, or its path.
        checksum: SHA-256 or SHA-512 in hexadecimal; empty takes it from `checksum_url`.
        checksum_url: List of checksums beside the disk.
        signature_url: Detached signature of that list; the list itself where the signature is in
            it; empty where the distribution does not sign.
        signing_key: Fingerprint of the key that has to have signed.
        keyring: File or URL with that key.
        keyring_package: Package that has the file.
    """

    name: str
    title: str
    system: str
    release: str
    url: str
    checksum: str = ""
    checksum_url: str = ""
    signature_url: str = ""
    signing_key: str = ""
    keyring: str = ""
    keyring_package: str = ""

    def check(self) -> None:
        """See that the entry says enough.

        Raises:
            ConfigurationError: It does not.
        """
        if not NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"vm_images: '{self.name}' is no name; a small letter, then up to 39 of a-z, 0-9, "
                "dot and - are needed."
            )
        if self.system not in SYSTEMS:
            raise ConfigurationError(
                f"vm_images.{self.name}: system '{self.system}' is not one of {', '.join(SYSTEMS)}."
            )
        if self.checksum and not CHECKSUM.fullmatch(self.checksum):
            raise ConfigurationError(
                f"vm_images.{self.name}: checksum '{self.checksum}' is no SHA-256 or SHA-512 in "
                "small hexadecimal digits."
            )
        if not (self.checksum or self.checksum_url):
            raise ConfigurationError(
                f"vm_images.{self.name}: neither checksum nor checksum_url is set; an image that "
                "nothing vouches for is not taken."
            )
        if self.signature_url and not (self.signing_key and self.keyring):
            raise ConfigurationError(
                f"vm_images.{self.name}: signature_url is set; signing_key (the fingerprint) and "
                "keyring (a file or URL with the key) are needed with it."
            )


@dataclass(frozen=True)
class Catalogue:
    """All images, by name."""

    entries: Mapping[str, Entry]

    def entry(self, name: str) -> Entry:
        """One image.

        Raises:
            ConfigurationError: There is none of that name.
        """
        if name not in self.entries:
            raise ConfigurationError(
                f"VM image: '{name}' is not in vm_images, which has "
                f"{', '.join(sorted(self.entries))}. Set vm_image to one of these."
            )
        return self.entries[name]

    def of(self, system: str, release: str) -> Entry | None:
        """The image of a release; None where there is none."""
        for entry in self.entries.values():
            if (entry.system, entry.release) == (system, release):
                return entry
        return None


def parse(data: Mapping[str, Mapping[str, Any]]) -> Catalogue:
    """A catalogue from a mapping of names to what is known of each.

    Raises:
        ConfigurationError: Something is missing, unknown, or wrong.
    """
    known = [one.name for one in fields(Entry)]
    needed = {"title", "system", "release", "url"}
    entries = {}
    for name, about in data.items():
        odd = sorted(set(about) - set(known[1:]))
        missing = sorted(needed - set(about))
        if odd or missing:
            what = f"unknown: {', '.join(odd)}" if odd else f"missing: {', '.join(missing)}"
            raise ConfigurationError(f"vm_images.{name}: {what}. It has {', '.join(known[1:])}.")
        entries[name] = Entry(name=name, **{key: str(value) for key, value in about.items()})
        entries[name].check()
    return Catalogue(entries)


def load(path: Path) -> Catalogue:
    """Read a JSON file.

    Raises:
        ConfigurationError: It is not there, or holds something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path}: the list of VM images cannot be read: {error}"
        ) from error
    if not isinstance(data, dict) or not all(isinstance(one, dict) for one in data.values()):
        raise ConfigurationError(f"{path}: holds no mapping of names to VM images")
    return parse(data)
