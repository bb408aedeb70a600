"""The host's apt, asked about its lists; it downloads and unpacks packages, and installs none."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from orrery import shell
from orrery.errors import HostError
from orrery.packages.store import digest

OS_RELEASE = Path("/etc/os-release")
LISTS = Path("/var/lib/apt/lists")
ETC = Path("/etc/apt")
QUERY_TIMEOUT_S = 60
UPDATE_TIMEOUT_S = 180
DOWNLOAD_TIMEOUT_S = 600
SILENCE_S = 20
"""How long a mirror may stay silent."""
LAST_LINES = 4
ADVICE = (
    "A mirror has to answer: check the apt sources of this host, or set lab_package_mirror or "
    "lab_http_proxy."
)


class UnreachableError(HostError):
    """Packages or their lists cannot be had now."""


@dataclass(frozen=True, order=True)
class Package:
    """One package in one version.

    Attributes:
        file: Name of its archive.
        sha256: Of that archive.
    """

    name: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Apt:
    """The host's apt, asked about its lists without its lock and without its installed packages.

    Attributes:
        cache: Folder that keeps downloads and the lists of a mirror.
        mirror: Mirror instead of the host's apt sources; empty takes those.
        proxy: HTTP proxy in front of it.
        what: What the packages are for, as errors begin.
    """

    cache: Path
    mirror: str = ""
    proxy: str = ""
    what: str = "packages"
    os_release: dict[str, str] = field(default_factory=lambda: read_os_release(OS_RELEASE))

    @property
    def downloads(self) -> Path:
        """Folder of archives."""
        return self.cache / "packages"

    @property
    def _own(self) -> Path:
        return self.cache / f"apt-{digest([self.mirror, self.os_release['VERSION_CODENAME']])}"

    @property
    def _options(self) -> list[str]:
        options = {
            # The host's own package cache is neither used nor spoilt.
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Debug::NoLocking": "1",
            "Acquire::Retries": "1",
            "Acquire::http::Timeout": str(SILENCE_S),
            "Acquire::https::Timeout": str(SILENCE_S),
        }
        if self.proxy:
            options |= {"Acquire::http::Proxy": self.proxy, "Acquire::https::Proxy": self.proxy}
        if self.mirror:
            options |= {
                "Dir::Etc::SourceList": str(self._own / "sources.list"),
                "Dir::Etc::SourceParts": "/dev/null",
                "Dir::State::Lists": str(self._own / "lists"),
            }
        return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]

    def stamp_of(self, wanted: str) -> str:
        """Hash of what a plan follows from: what is asked for, and apt's lists and sources."""
        roots = [self._own] if self.mirror else [LISTS, ETC]
        files = [path for root in roots for path in sorted(root.rglob("*")) if path.is_file()]
        looks = ((path, path.stat()) for path in files if path.name != "lock")
        lines = [f"{path} {look.st_mtime_ns} {look.st_size}" for path, look in looks]
        return digest([wanted, self.mirror, json.dumps(self.os_release), *lines])

    def update(self) -> None:
        """Refresh the lists.

        Raises:
            UnreachableError: No mirror answers.
        """
        if self.mirror:
            (self._own / "lists" / "partial").mkdir(parents=True, exist_ok=True)
            lines = "".join(f"{line}\n" for line in mirror_lines(self.mirror, self.os_release))
            (self._own / "sources.list").write_text(lines, encoding="utf-8")
        options = [*self._options, "-o", "Debug::NoLocking=0", "-o", "DPkg::Lock::Timeout=60"]
        strict = ["-o", "APT::Update::Error-Mode=any"] if self.mirror else []
        argv = ["apt-get", *options, *strict, "-qq", "update"]
        self._ask(argv, UPDATE_TIMEOUT_S, "apt's lists cannot be refreshed")

    def missing(self, packages: Iterable[Package]) -> list[Package]:
        """Packages that are not among the downloads, or damaged."""
        return [one for one in packages if not _is_intact(self.downloads / one.file, one.sha256)]

    def fetch(self, packages: Iterable[Package], *, offline: bool) -> None:
        """Download what is missing.

        Raises:
            UnreachableError: It cannot be had.
        """
        missing = self.missing(packages)
        if missing and offline:
            raise UnreachableError(
                f"{self.what}: {len(missing)} packages are not in {self.downloads} "
                f"({missing[0].file}...), and --offline forbids to fetch them. Run without it once."
            )
        if missing:
            self.download(missing)

    def download(self, packages: Sequence[Package]) -> None:
        """Fetch archives and check them.

        Raises:
            UnreachableError: The mirror does not answer, or no longer has them.
        """
        self.downloads.mkdir(parents=True, exist_ok=True)
        # In a folder of its own: a cut off archive is never taken for a whole one.
        with tempfile.TemporaryDirectory(dir=self.downloads, prefix=".") as name:
            folder = Path(name)
            argv = ["apt-get", *self._options, "-q", "-o", "APT::Sandbox::User=root", "download"]
            argv += [f"{one.name}={one.version}" for one in packages]
            self._ask(argv, DOWNLOAD_TIMEOUT_S, "packages cannot be fetched", folder)
            for one in packages:
                if not _is_intact(folder / one.file, one.sha256):
                    raise UnreachableError(
                        f"{self.what}: {one.file} came in damaged or not at all. {ADVICE}"
                    )
                (folder / one.file).replace(self.downloads / one.file)

    def unpack(self, packages: Iterable[Package], folder: Path) -> None:
        """Unpack archives into a folder; nothing of them is run."""
        for one in packages:
            argv = ["dpkg-deb", "--extract", str(self.downloads / one.file), str(folder)]
            shell.run(argv, timeout_s=QUERY_TIMEOUT_S)

    def closure(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Names and versions of packages and all that they depend on, as if none was installed.

        Args:
            names: Of packages, with `=version` where it has to be one.

        Raises:
            UnreachableError: apt does not know one.
        """
        with tempfile.TemporaryDirectory(prefix="orrery-apt-") as name:
            folder = Path(name)
            (folder / "status").touch()
            (folder / "archives" / "partial").mkdir(parents=True)
            argv = ["apt-get", *self._options, "-o", f"Dir::State::status={folder / 'status'}"]
            argv += ["-o", f"Dir::Cache::archives={folder / 'archives'}", "-qq", "-y"]
            argv += ["--no-install-recommends", "--print-uris", "install", *names]
            why = f"apt does not know all of {' '.join(names)}"
            return parse_uris(self._ask(argv, QUERY_TIMEOUT_S, why))

    def show(self, names: Sequence[str]) -> list[dict[str, str]]:
        """What apt's lists say of packages, `name` or `name=version`.

        Raises:
            UnreachableError: apt does not know one.
        """
        argv = ["apt-cache", *self._options, "show", "--no-all-versions", *names]
        return parse_stanzas(self._ask(argv, QUERY_TIMEOUT_S, f"apt does not know {names[0]}"))

    def _ask(self, argv: list[str], timeout_s: float, why: str, cwd: Path | None = None) -> str:
        env = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        try:
            return shell.run(argv, timeout_s=timeout_s, env=env, cwd=cwd).stdout
        except shell.CommandError as error:
            if error.returncode is None and "did not end" not in str(error):
                raise HostError(
                    f"{self.what}: {argv[0]} is not there. It is made of packages of Debian or "
                    "Ubuntu: run the lab on one of these."
                ) from error
            lines = str(error).splitlines()[1:] or [str(error).rpartition(": ")[2]]
            said = " | ".join(line.strip() for line in lines[-LAST_LINES:])
            raise UnreachableError(f"{self.what}: {why}: {said}. {ADVICE}") from error


def package(stanza: dict[str, str]) -> Package:
    """A package from what apt's lists say of it."""
    name, version = stanza["Package"], stanza["Version"]
    file = f"{name}_{version.replace(':', '%3a')}_{stanza['Architecture']}.deb"
    return Package(name, version, file, stanza["SHA256"])


def read_os_release(path: Path) -> dict[str, str]:
    """Identity of the distribution.

    Raises:
        HostError: It has none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}. Debian or Ubuntu is needed.") from error
    pairs = (line.partition("=") for line in lines if "=" in line)
    values = {key: value.strip("\"'") for key, _, value in pairs}
    return {key: values.get(key, "") for key in ("ID", "ID_LIKE", "VERSION_CODENAME")}


def mirror_lines(mirror: str, os_release: dict[str, str]) -> list[str]:
    """Lines of a sources.list for a mirror; a text that begins with `deb ` is one already."""
    if mirror.startswith("deb "):
        return [mirror]
    ubuntu = "ubuntu" in (os_release["ID"], *os_release["ID_LIKE"].split())
    name, parts = ("ubuntu", "main universe") if ubuntu else ("debian", "main")
    keys = f"/usr/share/keyrings/{name}-archive-keyring.gpg"
    return [f"deb [signed-by={keys}] {mirror} {os_release['VERSION_CODENAME']} {parts}"]


def parse_uris(text: str) -> list[tuple[str, str]]:
    """Names and versions in what `apt-get --print-uris` prints."""
    rows = (line.split() for line in text.splitlines() if line.startswith("'"))
    files = (unquote(row[1]).split("_") for row in rows)
    return [(file[0], file[1]) for file in files]


def parse_stanzas(text: str) -> list[dict[str, str]]:
    """Fields of one line each in what `apt-cache show` prints."""
    return [
        dict(re.findall(r"^(\S+): (.*)$", stanza, re.MULTILINE))
        for stanza in text.split("\n\n")
        if stanza.strip()
    ]


def parse_depends(text: str) -> list[str]:
    """Names in a field Depends, alternatives among them."""
    return [one.split()[0].partition(":")[0] for one in re.split(r"[,|]", text) if one.strip()]


def _is_intact(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as archive:
            return hashlib.file_digest(archive, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False
