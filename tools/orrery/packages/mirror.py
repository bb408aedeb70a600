"""Where a new system's packages come from: the mirror of the host, and what apt says about it.

Pure, and of the standard library alone: `plugins/module_utils/lab_mirror.py` is a link to this
file, so that modules have it on hosts without orrery.
"""

from __future__ import annotations

INDEX_TARGETS = (
    "apt-get",
    "indextargets",
    "--format",
    "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)",
    "Created-By: Packages",
)
"""Prints the lines that `mirror_lines` reads."""
SETTINGS = ("apt-config", "dump", "--format", '%F "%v";%n', "Acquire")
"""Prints the lines that `apt_settings` reads."""
# Documentation nobody reads inside a container or a VM; licences stay.
DPKG_OPTIONS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
# What the host tells apt about proxies, certificates and old mirrors; nothing else is taken over.
APT_KEYS = ("acquire::http", "acquire::retries", "acquire::check-", "acquire::forceipv")


def mirror_lines(suite: str, mirror: str, targets: str) -> list[str]:
    """Lines for sources.list: the given mirror, or those the host has of its own distribution.

    Args:
        suite: Code name of the release.
        mirror: URL, or a whole line that begins with `deb `; empty takes the host's.
        targets: What `INDEX_TARGETS` prints: lines `uri|release|component|origin`.
    """
    if mirror.startswith("deb "):
        return [mirror]
    if mirror:
        return [f"deb {mirror} {suite} main"]
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    lines: dict[str, None] = {}
    for uri, release, component in own_targets(targets):
        if release in wanted:
            lines[f"deb {uri} {release} {component}"] = None
    return list(lines)


def own_targets(targets: str) -> list[tuple[str, str, str]]:
    """URI, release and component of all that the host takes from its own distribution.

    Args:
        targets: What `INDEX_TARGETS` prints.
    """
    rows = ((line.split("|") + [""] * 4)[:4] for line in targets.splitlines())
    return [
        (uri, release, component)
        for uri, release, component, origin in rows
        if origin.lower() in ("debian", "ubuntu", "") and component in ("main", "universe")
    ]


def apt_settings(dump: str, proxy: str, ca_bundle: str) -> str:
    """Text for an apt.conf: what the host says about reaching its mirror, and the lab on top.

    Args:
        dump: What `SETTINGS` prints.
        proxy: URL of the lab's proxy, or empty.
        ca_bundle: File of certificates, or empty.
    """
    lines = [line for line in dump.splitlines() if line.lower().startswith(APT_KEYS)]
    lines.append('Acquire::Languages "none";')
    if proxy:
        lines += [f'Acquire::http::Proxy "{proxy}";', f'Acquire::https::Proxy "{proxy}";']
    if ca_bundle:
        lines.append(f'Acquire::https::CAInfo "{ca_bundle}";')
    return "\n".join(lines) + "\n"
