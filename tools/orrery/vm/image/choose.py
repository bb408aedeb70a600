"""Which way leads to an image: the cache, its publisher, or packages of the host's mirror."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError, HostError
from orrery.mnist.download import DownloadError, Network
from orrery.vm.image import bootstrap, download, needs, web
from orrery.vm.image.catalogue import Catalogue, Entry
from orrery.vm.image.image import Image, Method
from orrery.vm.image.mirrors import Host
from orrery.vm.image.recipe import APPEND, Recipe, recipe
from orrery.vm.image.store import Store, identity

WAYS = ("auto", "download", "bootstrap")


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        name: In the catalogue.
        method: `auto`, `download` or `bootstrap`.
        source: Path or URL of a disk instead of the catalogue's.
        checksum: Of that disk; needed for a URL.
        packages: Besides those of the recipe, in an image that is bootstrapped.
        offline: Whether nothing may be fetched.
        check: Whether to say only what would be done.
    """

    name: str
    method: str = "auto"
    source: str = ""
    checksum: str = ""
    packages: tuple[str, ...] = ()
    offline: bool = False
    check: bool = False


@dataclass(frozen=True)
class Result:
    """What came of it.

    Attributes:
        changed: Whether an image was made now, or would be.
        image: None where it would be made.
        note: What the user should know.
    """

    changed: bool
    image: Image | None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """The program's answer."""
        image = {} if self.image is None else {"image": self.image.as_mapping()}
        return {"changed": self.changed, "note": self.note, "needs": [], **image}


@dataclass(frozen=True)
class Plan:
    """An image that can be made.

    Attributes:
        space_mb: Needed while it is made [MB].
        programs: Programs that it takes.
        make: Makes it.
    """

    name: str
    id: str
    space_mb: int
    programs: tuple[needs.Program, ...]
    make: Callable[[Path, Path], Image]
    note: str = ""


@dataclass(frozen=True)
class Chooser:
    """Images of one host.

    Attributes:
        catalogue: What is published.
        store: Where images are kept.
        host: Where packages come from.
    """

    catalogue: Catalogue
    store: Store
    host: Host

    def ensure(self, wish: Wish) -> Result:
        """Have an image.

        Raises:
            ConfigurationError: It is not known, or cannot be had in that way.
            HostError: It cannot be had now; nothing half is left.
            MissingProgramError: A program is not there.
        """
        entry = self._entry(wish)
        key = self._question(wish, entry)
        known = self.store.recall(key)
        if known is not None:
            return Result(False, *known)
        plan = self._plan(wish, entry)
        image = self.store.find(plan.name, plan.id)
        if image is None:
            if wish.check:
                return Result(True, None, plan.note)
            if wish.offline:
                raise HostError(
                    f"VM image: {wish.name} is not in {self.store.folder}, and --offline forbids "
                    "to fetch it. Run without it once."
                )
            needs.look_for(plan.programs)
            image, changed = self.store.have(plan.name, plan.id, plan.space_mb, plan.make)
        else:
            changed = False
        if not wish.check:
            self.store.remember(key, image, plan.note)
        return Result(changed, image, plan.note)

    def _question(self, wish: Wish, entry: Entry) -> str:
        """Over all that decides which image a wish leads to, but what answers at the moment."""
        # Another recipe makes other images, whichever release it is for.
        ours = recipe("debian", "", wish.packages, ()).parts()
        return identity([repr(entry), wish.method, self.host.mirror, *ours])

    def _entry(self, wish: Wish) -> Entry:
        if not wish.source:
            return self.catalogue.entry(wish.name)
        return download.given(self.catalogue.entries.get(wish.name), wish)

    def _plan(self, wish: Wish, entry: Entry) -> Plan:
        if wish.source or wish.method == "download":
            return self._downloaded(entry, f"{entry.name} was asked for from {entry.url}.")
        if wish.method == "bootstrap":
            why = "vm_image_method is bootstrap."
            return self._bootstrapped(wish, entry, why)
        try:
            if wish.offline:
                raise DownloadError("--offline")
            web.probe(entry.url, self.host.network)
        except DownloadError as error:
            return self._instead(wish, entry, f"{entry.name} cannot be reached ({error})")
        return self._downloaded(entry, f"{entry.url} answers.")

    def _downloaded(self, entry: Entry, why: str) -> Plan:
        parts = [repr(entry)]
        fetched = download.Download(entry, identity(parts), self.host.network, why)
        return Plan(entry.name, identity(parts), fetched.space_mb, fetched.programs, fetched.make)

    def _instead(self, wish: Wish, entry: Entry, why: str) -> Plan:
        """The asked release from the host's mirror, or else the host's own release.

        Raises:
            HostError: The host's mirror leads to neither.
        """
        try:
            return self._bootstrapped(wish, entry, why)
        except ConfigurationError as error:
            system, release = self.host.system, self.host.release
            own = self.catalogue.of(system, release) or Entry(
                f"{system}-{release}", f"{system.title()} {release}", system, release, ""
            )
            if own == entry:
                raise HostError(f"VM image: {why}. {error}") from error
            plan = self._bootstrapped(wish, own, why)
            return replace(plan, note=f"{why} -> {own.title} bootstrapped from the host's mirror.")

    def _bootstrapped(self, wish: Wish, entry: Entry, why: str) -> Plan:
        sources = tuple(self.host.sources(entry.system, entry.release))
        if not sources:
            raise ConfigurationError(
                f"VM image: no mirror of {entry.title} ({entry.release}) is known to this host's "
                "apt. Set lab_package_mirror to one, or vm_image to another image."
            )
        made = Bootstrap(
            entry,
            recipe(entry.system, entry.release, wish.packages, sources),
            self.host.network,
            why,
        )
        programs = tuple(bootstrap.programs(made.recipe))
        note = f"{why} -> {entry.title} bootstrapped from {sources[0].split()[1]}."
        note = "" if wish.method == "bootstrap" else note
        return Plan(entry.name, made.id, bootstrap.SPACE_MB, programs, made.make, note)


@dataclass(frozen=True)
class Bootstrap:
    """An image that is made of packages."""

    entry: Entry
    recipe: Recipe
    network: Network
    why: str

    @property
    def id(self) -> str:
        """Over what decides about its content."""
        return identity(self.recipe.parts())

    def make(self, work: Path, target: Path) -> Image:
        """Make it."""
        size_mb = bootstrap.make(self.recipe, self.network, work, target)
        return Image(
            name=self.entry.name,
            id=self.id,
            system=self.entry.system,
            title=self.entry.title,
            disk=target / bootstrap.DISK,
            format="qcow2",
            size_mb=size_mb,
            kernel=str(target / bootstrap.KERNEL),
            initrd=str(target / bootstrap.INITRD),
            append=APPEND,
            method=Method.BOOTSTRAP,
            why=self.why,
        )
