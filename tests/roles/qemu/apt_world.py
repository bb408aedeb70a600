"""An apt and a dpkg of the test's own: a mirror in a folder, and what is installed as text."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

# name: (version, dependencies); the further suite's versions need parts that tell it from others.
RELEASE = {
    "qemu-system-x86": ("1:7.2-7", "qemu-system-common (= 1:7.2-7), old-part"),
    "qemu-system-common": ("1:7.2-7", ""),
    "qemu-utils": ("1:7.2-7", ""),
    "libvirt0": ("9.0.0-4", ""),
    "libvirt-daemon": ("9.0.0-4", "libvirt0 (= 9.0.0-4)"),
    "libvirt-daemon-driver-qemu": ("9.0.0-4", "libvirt0 (= 9.0.0-4)"),
    "libvirt-clients": ("9.0.0-4", "libvirt0 (= 9.0.0-4)"),
    "old-part": ("1", ""),
    "manager": ("252", ""),
}
BACKPORTS = {
    "qemu-system-x86": ("1:10.0-2~bpo12+1", "qemu-system-common (= 1:10.0-2~bpo12+1), new-part"),
    "qemu-system-common": ("1:10.0-2~bpo12+1", ""),
    "qemu-utils": ("1:10.0-2~bpo12+1", ""),
    "libvirt0": ("11.3-2~bpo12+1", ""),
    "libvirt-daemon": ("11.3-2~bpo12+1", "libvirt0 (= 11.3-2~bpo12+1)"),
    "libvirt-daemon-driver-qemu": ("11.3-2~bpo12+1", "libvirt0 (= 11.3-2~bpo12+1), manager"),
    "libvirt-clients": ("11.3-2~bpo12+1", "libvirt0 (= 11.3-2~bpo12+1)"),
    "new-part": ("1", ""),
    "manager": ("254~bpo12+1", ""),
}


class AptWorld:
    """Folders that apt and dpkg use instead of the host's, through their environment.

    Attributes:
        release: Code name that the mirror has.
        file: Where the role puts the further suite.
    """

    def __init__(self, folder: Path, release: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release, self.suite = release, f"{release}-backports"
        self.mirror, self.dpkg = folder / "mirror", folder / "dpkg"
        self.parts, self.lists = folder / "etc" / "sources.list.d", folder / "state" / "lists"
        self.file = self.parts / f"orrery-{self.suite}.sources"
        preferences = folder / "etc" / "preferences.d"
        for made in (
            preferences,
            self.parts,
            self.lists / "partial",
            folder / "cache" / "archives" / "partial",
        ):
            made.mkdir(parents=True)
        for made in (self.dpkg / "info", self.dpkg / "updates"):
            made.mkdir(parents=True)
        config = folder / "apt.conf"
        config.write_text(
            f'Dir::Etc "{folder}/etc";\nDir::State "{folder}/state";\n'
            f'Dir::State::status "{self.dpkg}/status";\nDir::Cache "{folder}/cache";\n'
            'APT::Architecture "amd64";\nAPT::Sandbox::User "root";\n',
            encoding="utf-8",
        )
        monkeypatch.setenv("APT_CONFIG", str(config))
        monkeypatch.setenv("DPKG_ADMINDIR", str(self.dpkg))
        self.installed({})
        self.add_suite(release, RELEASE)
        self.write_source("debian.sources", release)

    def installed(self, packages: dict[str, str]) -> None:
        """Let dpkg have these packages, in these versions, and no other."""
        text = "".join(
            f"Package: {name}\nStatus: install ok installed\nArchitecture: all\n"
            f"Maintainer: nobody\nVersion: {version}\nDescription: a test's\n\n"
            for name, version in packages.items()
        )
        (self.dpkg / "status").write_text(text, encoding="utf-8")

    def add_suite(self, name: str, packages: dict[str, tuple[str, str]]) -> None:
        """Have the mirror offer a suite."""
        text = "".join(
            f"Package: {package}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\n"
            + (f"Depends: {needs}\n" if needs else "")
            + f"Filename: pool/{package}.deb\nSize: 1\nSHA256: {'0' * 64}\n"
            "Description: a test's\n\n"
            for package, (version, needs) in packages.items()
        ).encode()
        folder = self.mirror / "dists" / name
        (folder / "main" / "binary-amd64").mkdir(parents=True)
        (folder / "main" / "binary-amd64" / "Packages").write_bytes(text)
        later = "NotAutomatic: yes\nButAutomaticUpgrades: yes\n" if "-" in name else ""
        checksum = f"{hashlib.sha256(text).hexdigest()} {len(text)} main/binary-amd64/Packages"
        (folder / "Release").write_text(
            f"Origin: Debian\nSuite: {name}\nCodename: {name}\n"
            "Date: Thu, 01 Jan 2026 00:00:00 UTC\nArchitectures: amd64 all\nComponents: main\n"
            f"{later}SHA256:\n {checksum}\n",
            encoding="utf-8",
        )

    def write_source(self, name: str, suite: str) -> None:
        """Let the host have a suite of the mirror in its sources."""
        (self.parts / name).write_text(
            f"Types: deb\nURIs: file:{self.mirror}\nSuites: {suite}\nComponents: main\n"
            "Trusted: yes\n",
            encoding="utf-8",
        )
