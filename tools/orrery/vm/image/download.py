"""An image from its publisher: fetched, and taken only where its checksum fits."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from orrery import shell
from orrery.errors import ConfigurationError, HostError
from orrery.mnist.download import DownloadError, Limits, Network, fetch
from orrery.vm.image import signature
from orrery.vm.image.catalogue import CHECKSUM, Entry
from orrery.vm.image.image import MB, Image, Method
from orrery.vm.image.needs import GPG, QEMU_IMG, Program

DISK, PARTIAL, LIST = "disk", "disk.partial", "checksums"
SPACE_MB = 2500
"""Needed for the largest of the published images, with some left [MB]."""
DISK_LIMITS = Limits(max_bytes=8192 * MB, idle_s=60, total_s=3600, attempts=5)
TEXT_LIMITS = Limits(max_bytes=MB, idle_s=20, total_s=60)
INFO_TIMEOUT_S = 60
KINDS = {64: "sha256", 128: "sha512"}
FORMATS = ("qcow2", "raw")
# Two forms of lists: `<digits>  name` and `SHA256 (name) = <digits>`.
PLAIN = re.compile(r"^([0-9a-f]{64}|[0-9a-f]{128}) [ *](?:\./)?(\S+)$")
TAGGED = re.compile(r"^SHA(?:256|512) \((\S+)\) = ([0-9a-f]{64}|[0-9a-f]{128})$")


class Given(Protocol):
    """A disk that a user names."""

    @property
    def name(self) -> str:
        """As what image it is taken."""

    @property
    def source(self) -> str:
        """Path or URL."""

    @property
    def checksum(self) -> str:
        """Of the disk."""


class DamagedError(HostError):
    """What came in is not what was promised."""


def given(entry: Entry | None, wish: Given) -> Entry:
    """The entry of a disk that the user names instead of the published one.

    Raises:
        ConfigurationError: There is no such file, or nothing vouches for a URL.
    """
    base = entry or Entry(wish.name, wish.name, "debian", "", "")
    made = replace(base, url=wish.source, checksum=wish.checksum)
    made = replace(made, checksum_url="", signature_url="", signing_key="", keyring="")
    if _is_url(wish.source):
        if not wish.checksum:
            raise ConfigurationError(
                f"VM image: {wish.source} comes without a checksum. Set vm_image_checksum to its "
                "SHA-256 or SHA-512."
            )
        made.check()
        return made
    path = Path(wish.source)
    if not path.is_absolute() or not path.is_file():
        raise ConfigurationError(
            f"VM image: there is no file {wish.source}. Set vm_image_source to the absolute path "
            "or the URL of a disk."
        )
    if wish.checksum and not CHECKSUM.fullmatch(wish.checksum):
        made.check()
    return made


def _is_url(text: str) -> bool:
    return urlsplit(text).scheme in ("http", "https")


@dataclass(frozen=True)
class Download:
    """A disk that is to come in.

    Attributes:
        entry: What is known of it.
        id: Of the image.
        network: How it is reached.
        why: One sentence.
    """

    entry: Entry
    id: str
    network: Network
    why: str

    @property
    def space_mb(self) -> int:
        """Needed while it comes in [MB]."""
        if _is_url(self.entry.url):
            return 0
        return Path(self.entry.url).stat().st_size // MB + 1

    @property
    def programs(self) -> tuple[Program, ...]:
        """Programs that it takes."""
        return (QEMU_IMG, GPG) if self.entry.signature_url else (QEMU_IMG,)

    def make(self, work: Path, target: Path) -> Image:
        """Bring it in.

        Raises:
            DamagedError: Checksum or signature is not the promised one.
            DownloadError: It cannot be had.
            HostError: It is no disk that a machine may have.
        """
        wanted = self.checksum(work)
        disk = target / DISK
        if _is_url(self.entry.url):
            self._fetch(self.entry.url, disk, DISK_LIMITS)
        else:
            shutil.copyfile(self.entry.url, disk)
        if wanted:
            verify(disk, wanted, self.entry)
        form, size_mb = inspect(disk)
        return Image(
            name=self.entry.name,
            id=self.id,
            system=self.entry.system,
            title=self.entry.title,
            disk=disk,
            format=form,
            size_mb=size_mb,
            method=Method.DOWNLOAD if _is_url(self.entry.url) else Method.PATH,
            why=self.why,
        )

    def checksum(self, work: Path) -> str:
        """The promised checksum: the catalogue's, or the publisher's list's.

        Raises:
            DamagedError: The list is not signed by whom it should be, or does not name the disk.
            DownloadError: The list cannot be had.
        """
        entry = self.entry
        if entry.checksum or not entry.checksum_url:
            return entry.checksum
        listed = work / LIST
        self._fetch(entry.checksum_url, listed, TEXT_LIMITS)
        text = listed.read_text(encoding="utf-8", errors="replace")
        if entry.signature_url:
            text = self._signed(listed, work)
        name = urlsplit(entry.url).path.rpartition("/")[2]
        found = find(text.splitlines(), name)
        if not found:
            raise DamagedError(
                f"VM image: {entry.checksum_url} does not name {name}. Look whether the image has "
                f"another name now, and set it in vm_images.{entry.name}.url."
            )
        return found

    def _signed(self, listed: Path, work: Path) -> str:
        """Text of the list, as far as the signature vouches for it."""
        entry = self.entry
        detached = None
        if entry.signature_url != entry.checksum_url:
            detached = work / "signature"
            self._fetch(entry.signature_url, detached, TEXT_LIMITS)
        keys = Path(entry.keyring)
        if _is_url(entry.keyring):
            keys = work / "keys"
            self._fetch(entry.keyring, keys, TEXT_LIMITS)
        return signature.verified(
            signature.Signed(listed, detached, entry.checksum_url), entry, keys, work
        )

    def _fetch(self, url: str, target: Path, limits: Limits) -> None:
        try:
            fetch(url, target, limits=limits, network=self.network)
        except DownloadError as error:
            raise DownloadError(
                f"VM image: {error}. Set vm_image_source to a path or a mirror, lab_http_proxy, or "
                "vm_image_method to bootstrap."
            ) from error


def find(lines: Iterable[str], name: str) -> str:
    """Checksum of a file in a list; the longest where there are several, empty for none."""
    found = [""]
    for line in lines:
        if plain := PLAIN.match(line.strip()):
            digits, file = plain.groups()
        elif tagged := TAGGED.match(line.strip()):
            file, digits = tagged.groups()
        else:
            continue
        if file == name:
            found.append(digits)
    return max(found, key=len)


def verify(disk: Path, wanted: str, entry: Entry) -> None:
    """See that a disk is the promised one.

    Raises:
        DamagedError: It is another, or cut off.
    """
    digits = wanted.rpartition(":")[2]
    kind = KINDS[len(digits)]
    with disk.open("rb") as handle:
        found = hashlib.file_digest(handle, kind).hexdigest()
    if found != digits:
        raise DamagedError(
            f"VM image: {entry.url} has the {kind} {found[:16]}..., and {digits[:16]}... is "
            f"promised ({disk.stat().st_size} bytes came in). It was cut off or replaced on the "
            "way, and is not used. Run it again, or set vm_image_source to another copy."
        )


def inspect(disk: Path) -> tuple[str, int]:
    """Format and size [MB] of a disk, which must not lead to other files of the host.

    Raises:
        HostError: It is no disk, or refers to other files.
    """
    done = shell.run(["qemu-img", "info", "--output=json", disk], timeout_s=INFO_TIMEOUT_S)
    about = json.loads(done.stdout)
    form = str(about["format"])
    data = (about.get("format-specific") or {}).get("data") or {}
    if form not in FORMATS:
        raise HostError(
            f"VM image: {disk.name} is of format {form}; {' or '.join(FORMATS)} is needed."
        )
    if "backing-filename" in about or "data-file" in data:
        raise HostError(
            "VM image: the disk refers to other files of this host, which a machine would then "
            "read. Take another."
        )
    return form, -(-int(about["virtual-size"]) // MB)
