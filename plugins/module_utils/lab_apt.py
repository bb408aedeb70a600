"""apt and dpkg as modules see them: what is installed, what a run would do, and running it."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

# Asked by invoke-rc.d and deb-systemd-invoke; 101 means that nothing is started.
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_MARK = "orrery: nothing is started while packages come in"
POLICY_TEXT = f"#!/bin/sh\n# {POLICY_MARK}\nexit 101\n"
DPKG_FORMAT = "${binary:Package} ${db:Status-Status} ${Version}\n"

# Inst libc6:amd64 [2.1] (2.2 Debian:12 [amd64]) []
INST = re.compile(r"^Inst (?P<name>\S+)(?: \[(?P<old>[^\]]*)\])?(?: \((?P<new>\S+))?")
GONE = re.compile(r"^(?:Remv|Purg) (?P<name>\S+)")
UNIT = re.compile(r"^(?:/usr)?/lib/systemd/system/(?P<name>[^/@]+\.(?:service|socket|timer|path))$")
SHELL_VALUE = re.compile(r"^(\w+)='([^']*)'$", re.MULTILINE)
SCRIPT = re.compile(r"^/etc/init\.d/(?P<name>[^/]+)$")


@dataclass(frozen=True)
class Upgrade:
    """An installed package that changes its version."""

    name: str
    old: str
    new: str

    def entry(self) -> dict[str, str]:
        """As results and the state file hold it."""
        return {"name": self.name, "from": self.old, "to": self.new}

    def __str__(self) -> str:
        """As messages say it."""
        return f"{self.name} ({self.old} to {self.new})"


@dataclass(frozen=True)
class Folders:
    """Where this host's apt has its sources (a file, and a folder of files) and lists."""

    main: Path
    parts: Path
    lists: Path


@dataclass(frozen=True)
class Plan:
    """What a simulated run of apt-get would do."""

    coming: frozenset[str]
    upgraded: tuple[Upgrade, ...]
    going: frozenset[str]


def bare(name: str) -> str:
    """A package's name without the architecture."""
    return name.split(":")[0]


def parse_installed(text: str) -> dict[str, str]:
    """Installed packages in dpkg-query's answer, without the architecture, and their versions."""
    rows = (line.split() for line in text.splitlines())
    return {bare(row[0]): row[2] for row in rows if len(row) == 3 and row[1] == "installed"}


def parse_plan(text: str) -> Plan:
    """What a simulated apt-get run installs, upgrades and removes."""
    coming, upgraded, going = set(), {}, set()
    for line in text.splitlines():
        if found := GONE.match(line):
            going.add(bare(found["name"]))
        elif found := INST.match(line):
            name = bare(found["name"])
            if found["old"] is None:
                coming.add(name)
            else:
                upgraded[name] = Upgrade(name, found["old"], found["new"] or "")
    return Plan(
        frozenset(coming), tuple(upgraded[one] for one in sorted(upgraded)), frozenset(going)
    )


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Upgrade, ...]:
    """Packages that are there in both looks, in another version."""
    return tuple(
        Upgrade(name, before[name], after[name])
        for name in sorted(before.keys() & after.keys())
        if before[name] != after[name]
    )


def matching(upgrades: Sequence[Upgrade], patterns: Sequence[str]) -> list[Upgrade]:
    """Upgrades of packages that one of the shell patterns names."""
    return [one for one in upgrades if any(fnmatchcase(one.name, p) for p in patterns)]


def services_in(listing: str) -> tuple[list[str], list[str]]:
    """Units and init scripts among the files of packages, one path a line."""
    units, scripts = set(), set()
    for line in listing.splitlines():
        if found := UNIT.match(line):
            units.add(found["name"])
        elif found := SCRIPT.match(line):
            scripts.add(found["name"])
    return sorted(units), sorted(scripts)


def last_lines(text: str, count: int = 6) -> str:
    """The end of a program's output, as one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:])


@contextlib.contextmanager
def nothing_started(policy: Path) -> Iterator[None]:
    """Keep packages from starting their services; a policy that the host has already stays."""
    if policy.exists() and POLICY_MARK not in policy.read_text(errors="replace"):
        yield
        return
    policy.write_text(POLICY_TEXT, encoding="utf-8")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def pin_text(suite: str, patterns: Sequence[str], others: str) -> str:
    """Preferences that take packages from a suite, before those that the host has."""
    pin = f"Package: {' '.join(patterns)}\nPin: release n={suite}\nPin-Priority: 990\n"
    return f"{pin}\n{others}"


class Apt:
    """apt-get and dpkg-query, through the module's own runner."""

    def __init__(self, module: Any, lock_timeout_s: int) -> None:
        self.module = module
        self.options = ["-o", f"DPkg::Lock::Timeout={lock_timeout_s}"]
        self.environment = {
            "DEBIAN_FRONTEND": "noninteractive",
            "NEEDRESTART_SUSPEND": "1",
            "LC_ALL": "C.UTF-8",
        }

    def installed(self) -> dict[str, str]:
        """Packages that dpkg knows as installed, with their versions."""
        code, out, err = self.module.run_command(["dpkg-query", "-W", "-f", DPKG_FORMAT])
        if code != 0:
            self.module.fail_json(msg=f"dpkg-query failed: {last_lines(err)}")
        return parse_installed(out)

    def get(self, *arguments: str, timeout_s: int = 0) -> tuple[int, str, str]:
        """Run apt-get, with an end after `timeout_s` where that is given (exit code 124)."""
        bound = ["timeout", str(timeout_s)] if timeout_s else []
        argv = [*bound, "apt-get", *self.options, *arguments]
        code, out, err = self.module.run_command(argv, environ_update=self.environment)
        return int(code), str(out), str(err)

    def plan(self, *arguments: str) -> Plan | str:
        """What a run would do, or why it cannot."""
        code, out, err = self.get("--simulate", *arguments)
        return parse_plan(out) if code == 0 else last_lines(err) or last_lines(out)

    def run(self, *arguments: str) -> str:
        """Run apt-get for real; the reason when it fails."""
        code, out, err = self.get("--yes", "-o", "Dpkg::Options::=--force-confold", *arguments)
        return "" if code == 0 else last_lines(err) or last_lines(out)

    def folders(self) -> Folders:
        """Where apt reads sources and keeps lists, as its configuration says."""
        argv = ["apt-config", "shell", "main", "Dir::Etc::sourcelist/f"]
        argv += ["parts", "Dir::Etc::sourceparts/d", "lists", "Dir::State::lists/d"]
        code, out, err = self.module.run_command(argv)
        found = dict(SHELL_VALUE.findall(out))
        if code != 0 or not {"main", "parts", "lists"} <= found.keys():
            self.module.fail_json(msg=f"apt-config failed: {last_lines(err or out)}")
        return Folders(**{name: Path(found[name]) for name in ("main", "parts", "lists")})

    @contextlib.contextmanager
    def pinned(self, suite: str, patterns: Sequence[str]) -> Iterator[None]:
        """Take packages of these patterns from a suite, in the runs within.

        Not `-t`: that prefers the suite for everything, and libvirt of bookworm-backports would
        bring a newer systemd along though the host's own will do.
        """
        if not suite:
            yield
            return
        argv = ["apt-config", "shell", "file", "Dir::Etc::preferences/f"]
        found = dict(SHELL_VALUE.findall(self.module.run_command(argv)[1]))
        theirs = Path(found.get("file", "/etc/apt/preferences"))
        others = theirs.read_text(encoding="utf-8") if theirs.is_file() else ""
        with tempfile.NamedTemporaryFile("w", suffix=".pref", encoding="utf-8") as file:
            file.write(pin_text(suite, patterns, others))
            file.flush()
            before = self.options
            self.options = [*before, "-o", f"Dir::Etc::preferences={file.name}"]
            try:
                yield
            finally:
                self.options = before

    def targets(self, fields: str) -> str:
        """What apt knows about the package lists that it has, one line each."""
        _, out, _ = self.get("indextargets", "--format", fields, "Created-By: Packages")
        return out

    def files_of(self, names: Sequence[str]) -> str:
        """Paths that belong to installed packages, one a line."""
        code, out, err = self.module.run_command(["dpkg-query", "-L", *names])
        if code != 0:
            self.module.fail_json(msg=f"dpkg-query failed: {last_lines(err)}")
        return str(out)
