"""apt's sources as text: reading what a host has, and writing one more suite of its mirror."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# What says who may sign and for which machines goes along to a further suite of a mirror.
KEPT = (
    "Architectures",
    "Signed-By",
    "Trusted",
    "Allow-Insecure",
    "Allow-Weak",
    "Check-Valid-Until",
    "Check-Date",
)
# One-line sources have other names for these.
SHORT = {"arch": "architectures"}
# apt reads files of these names only.
FILE_NAME = re.compile(r"^[A-Za-z0-9_.-]+\.(?:list|sources)$")
ONE_LINE = re.compile(
    r"^(?P<type>deb(?:-src)?)\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<uri>(?:[^\s\[]|\[[^\]]*\])+)\s+"
    r"(?P<suite>\S+)(?P<components>[^#]*)"
)


@dataclass(frozen=True)
class Source:
    """One entry of a file of sources.

    Attributes:
        options: Further fields by their lower-case names; a value may have several lines, which
            then begin with a space each.
    """

    types: tuple[str, ...]
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    enabled: bool = True
    options: dict[str, str] = field(default_factory=dict)

    @property
    def packages(self) -> bool:
        """Whether apt takes binary packages from it."""
        return self.enabled and "deb" in self.types


def parse_deb822(text: str) -> list[Source]:
    """Entries of a .sources file: stanzas of fields, as deb822 has them."""
    found = []
    stanza: dict[str, str] = {}
    name = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if stanza:
                found.append(_of_stanza(stanza))
            stanza, name = {}, ""
        elif line[0] in " \t":
            if name:
                stanza[name] += f"\n{line.rstrip()}"
        elif ":" in line:
            key, _, value = line.partition(":")
            name = key.strip().lower()
            stanza[name] = value.strip()
    return found


def _of_stanza(stanza: dict[str, str]) -> Source:
    lists = {
        name: tuple(stanza.get(name, "").split())
        for name in ("types", "uris", "suites", "components")
    }
    enabled = stanza.get("enabled", "yes").lower() not in ("no", "false", "0", "off", "disable")
    rest = {k: v for k, v in stanza.items() if k not in (*lists, "enabled")}
    return Source(**lists, enabled=enabled, options=rest)


def parse_one_line(text: str) -> list[Source]:
    """Entries of a .list file; those that are commented out are none."""
    found = []
    for line in text.splitlines():
        if not (parts := ONE_LINE.match(line.strip())):
            continue
        pairs = (option.partition("=") for option in (parts["options"] or "").split())
        options = {
            SHORT.get(key.lower(), key.lower()): value.replace(",", " ")
            for key, sign, value in pairs
            if sign == "="
        }
        components = tuple(parts["components"].split())
        found.append(
            Source((parts["type"],), (parts["uri"],), (parts["suite"],), components, True, options)
        )
    return found


def read(main: Path, parts: Path, without: Path) -> list[Source]:
    """All entries of the host, in apt's order, without those of one file.

    Args:
        main: The file sources.list.
        parts: The folder sources.list.d.
        without: The file that is left out.
    """
    names = sorted(p for p in parts.glob("*") if FILE_NAME.match(p.name)) if parts.is_dir() else []
    found: list[Source] = []
    for path in [main, *names]:
        if path.is_file() and path != without:
            parse = parse_deb822 if path.suffix == ".sources" else parse_one_line
            found += parse(path.read_text(encoding="utf-8", errors="replace"))
    return found


def has_suite(sources: Iterable[Source], suite: str) -> bool:
    """Whether one of the entries names the suite."""
    return any(source.packages and suite in source.suites for source in sources)


def mirror_of(
    sources: Sequence[Source], release: str, own_uris: Iterable[str] = ()
) -> Source | None:
    """The entry that the release itself comes from.

    Others use the release's name for repositories of their own. Where apt has the lists it knows
    whose they are (`own_uris`, of `lab_mirror.mirror_lines`); where it has none yet, the
    archive is the one that has the release's updates, too.
    """
    known = {uri.rstrip("/") for uri in own_uris}
    candidates = [
        one
        for one in sources
        if one.packages
        and release in one.suites
        and "main" in one.components
        and not any(uri.startswith("cdrom:") for uri in one.uris)
    ]
    own = [one for one in candidates if {uri.rstrip("/") for uri in one.uris} & known]
    updated = {
        uri
        for one in sources
        if one.packages and f"{release}-updates" in one.suites
        for uri in one.uris
    }
    both = [one for one in candidates if set(one.uris) & updated]
    return next(iter([*own, *both, *candidates]), None)


def rendered(mirror: Source, suite: str, head: str) -> str:
    """A .sources file with one further suite of a mirror, signed as the mirror is."""
    fields = {
        "Types": "deb",
        "URIs": " ".join(mirror.uris),
        "Suites": suite,
        "Components": "main",
    }
    for name in KEPT:
        if value := mirror.options.get(name.lower(), ""):
            fields[name] = value
    # A value of several lines begins on a line of its own; apt reads it either way.
    lines = [
        f"{name}:{'' if value.startswith(chr(10)) else ' '}{value}"
        for name, value in fields.items()
    ]
    return "".join(f"{line}\n" for line in [*(f"# {one}" for one in head.splitlines()), *lines])
