"""Packages that a guest is made of: which, in which version."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from orrery.errors import ConfigurationError, HostError
from orrery.guest.image.contents import Contents
from orrery.packages import apt
from orrery.packages.apt import ADVICE, Package, UnreachableError

WHAT = "guest image"


@dataclass(frozen=True)
class Plan:
    """What an image is made of.

    Attributes:
        kernel: Packages with the kernel and its modules.
        programs: Packages with programs and their libraries.
    """

    kernel: tuple[Package, ...]
    programs: tuple[Package, ...]

    @property
    def all(self) -> tuple[Package, ...]:
        """Every package."""
        return self.kernel + self.programs


@dataclass(frozen=True)
class Apt(apt.Apt):
    """The host's apt, asked for what a guest is made of."""

    what: str = WHAT

    def stamp(self, contents: Contents) -> str:
        """Hash of what a plan follows from: packages asked for, and apt's lists and sources."""
        return self.stamp_of(repr(contents))

    def plan(self, contents: Contents) -> Plan:
        """Which packages in which versions, by the lists that are there.

        Raises:
            ConfigurationError: No kernel is known for this distribution.
            UnreachableError: apt does not know a package.
        """
        closure = [
            (name, version)
            for name, version in self.closure(contents.packages)
            if not any(fnmatch.fnmatch(name, pattern) for pattern in contents.unneeded)
        ]
        kernel = self._kernel(kernel_package(contents.kernels, self.os_release))
        known = self._describe([f"{name}={version}" for name, version in kernel + closure])
        try:
            return Plan(*(tuple(sorted(known[one] for one in part)) for part in (kernel, closure)))
        except KeyError as error:
            raise UnreachableError(
                f"guest image: apt's lists say nothing of {' '.join(error.args[0])}. {ADVICE}"
            ) from error

    def _kernel(self, meta: str) -> list[tuple[str, str]]:
        """The packages behind one that always depends on the newest kernel."""
        names, versions = [meta], dict[str, str]()
        for pattern in (r"linux-image-\d\S*", r"linux-modules-\d\S*"):
            about = self.show([names[-1]])
            if not about:
                raise UnreachableError(f"guest image: apt does not know {names[-1]}. {ADVICE}")
            versions[names[-1]] = about[0]["Version"]
            depends = apt.parse_depends(about[0].get("Depends", ""))
            found = [one for one in depends if re.match(pattern, one)]
            if not found:
                break
            names.append(found[0])
        if len(names) == 1:
            raise HostError(
                f"guest image: {meta} depends on no package linux-image-<version>; one is needed. "
                "Set another in contents.toml, kernel."
            )
        if names[-1] not in versions:
            versions[names[-1]] = self.show([names[-1]])[0]["Version"]
        return [(name, versions[name]) for name in names[1:]]

    def _describe(self, wanted: Sequence[str]) -> dict[tuple[str, str], Package]:
        found = (apt.package(stanza) for stanza in self.show(wanted))
        return {(one.name, one.version): one for one in found}


def kernel_package(kernels: dict[str, str], os_release: dict[str, str]) -> str:
    """Package that stands for this distribution's newest kernel.

    Raises:
        ConfigurationError: None is known.
    """
    for name in (os_release["ID"], *reversed(os_release["ID_LIKE"].split())):
        if name in kernels:
            return kernels[name]
    raise ConfigurationError(
        f"guest image: no kernel is known for '{os_release['ID']}', only for "
        f"{', '.join(sorted(kernels))}. Add its package to kernel in contents.toml."
    )


def to_json(plan: Plan) -> dict[str, list[dict[str, str]]]:
    """A plan as JSON has it."""
    return {
        "kernel": [asdict(p) for p in plan.kernel],
        "programs": [asdict(p) for p in plan.programs],
    }


def from_json(data: dict[str, list[dict[str, str]]]) -> Plan:
    """A plan from JSON.

    Raises:
        KeyError: Something is missing.
        TypeError: Something else is in it.
    """
    return Plan(*(tuple(Package(**one) for one in data[key]) for key in ("kernel", "programs")))
