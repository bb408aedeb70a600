"""Which mirror has which release: the host's own, or the one that the lab is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from orrery import shell
from orrery.errors import ConfigurationError, HostError
from orrery.mnist.download import Network
from orrery.packages import apt, mirror
from orrery.vm.image import web
from orrery.vm.image.recipe import COMPONENTS

QUERY_TIMEOUT_S = 60
DERIVED = ("ubuntu", "debian")


@dataclass(frozen=True)
class Host:
    """The machine that images are made on.

    Attributes:
        mirror: Mirror instead of the host's apt sources; empty takes those.
        network: How it is reached.
        os_release: Its distribution.
    """

    mirror: str = ""
    network: Network = field(default_factory=Network)
    os_release: dict[str, str] = field(default_factory=lambda: apt.read_os_release(apt.OS_RELEASE))

    @property
    def system(self) -> str:
        """`debian` or `ubuntu`.

        Raises:
            ConfigurationError: It is neither.
        """
        names = (self.os_release["ID"], *self.os_release["ID_LIKE"].split())
        for system in DERIVED:
            if system in names:
                return system
        raise ConfigurationError(
            f"VM image: this host is '{self.os_release['ID']}'; images are bootstrapped on Debian "
            "and Ubuntu only. Set vm_image_method to download."
        )

    @property
    def release(self) -> str:
        """Code name of its release."""
        return self.os_release["VERSION_CODENAME"]

    def sources(self, system: str, release: str) -> list[str]:
        """Lines of a sources.list that lead to a release; empty where none is known."""
        if self.mirror.startswith("deb "):
            return [self.mirror] if release in self.mirror.split() else []
        if self.mirror:
            return self._lines(self.mirror, system, release)
        if system != self.system:
            return []
        targets = shell.run(mirror.INDEX_TARGETS, timeout_s=QUERY_TIMEOUT_S).stdout
        own = mirror.mirror_lines(release, "", targets)
        if own or release == self.release:
            return own
        uris = dict.fromkeys(
            uri for uri, suite, _ in mirror.own_targets(targets) if suite == self.release
        )
        return [line for uri in uris for line in self._lines(uri, system, release)][:1]

    def _lines(self, uri: str, system: str, release: str) -> list[str]:
        """A line, where the mirror has that release."""
        if release != self.release or system != self.system:
            try:
                web.probe(f"{uri.rstrip('/')}/dists/{release}/Release", self.network)
            except HostError:
                return []
        return [f"deb {uri} {release} {COMPONENTS[system]}"]
