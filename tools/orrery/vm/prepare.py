"""Has all that a VM starts from: its keys, its disk, its seed and its description."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from orrery.errors import HostError
from orrery.guest.machine import Accel
from orrery.network.layout import part
from orrery.packages.store import digest
from orrery.packages.store import write as write_file
from orrery.state import LabState
from orrery.vm import accel, keys
from orrery.vm.image.image import Image, Method, overlay
from orrery.vm.plan import Plan, hugepage_mount
from orrery.vm.seed import Seed, SeedNic, host_apt_settings, render
from orrery.vm.seed import write as write_seed
from orrery.vm.spec import Driver, VmSpec, description
from orrery.vm.wish import Wish

APT_SYSTEMS = ("debian", "ubuntu")


@dataclass(frozen=True)
class Prepared:
    """What came of it.

    Attributes:
        made: What was made or changed, or would be.
        accel_why: Why the VM runs under KVM, or why it does not.
    """

    spec: VmSpec
    made: tuple[str, ...]
    accel_why: str


def prepare(state: LabState, wish: Wish, plan: Plan, image: Image, *, check: bool) -> Prepared:
    """Have everything, or say what would be made.

    A VM that is there keeps its disk and the image below it, whatever newer one there is.

    Raises:
        ConfigurationError: A variable is off.
        HostError: Something cannot be made.
        MissingProgramError: A program is missing.
    """
    existing = plan.existing
    if existing is not None and existing.disk.exists():
        image = existing.image
        _base_is_there(existing)
    verdict = accel.known(state, wish.accel, image, wish.run_dir)
    if verdict is None and not check:
        verdict = accel.decide(state, wish.accel, image, wish.run_dir)
    before = existing.accel if existing is not None else Accel.TCG
    chosen = Accel(verdict.answer) if verdict is not None else before
    spec = describe(state, wish, plan, image, chosen)
    made = tuple(_make(wish, spec, check=check))
    return Prepared(spec, made, verdict.why if verdict is not None else "not tried yet")


def describe(state: LabState, wish: Wish, plan: Plan, image: Image, acceleration: Accel) -> VmSpec:
    """The VM that a wish comes to on this host."""
    return VmSpec(
        name=wish.name,
        lab_name=wish.lab_name,
        driver=plan.driver,
        image=image,
        program=Path(str(part(state, "qemu")["program"])),
        cpus=wish.cpus,
        memory_mb=wish.memory_mb,
        disk_gb=wish.disk_gb,
        accel=acceleration,
        nested=wish.nested,
        hugepages=hugepage_mount()[0] if wish.hugepages else "",
        nics=wish.all_nics,
        ssh_port=wish.ssh_port,
        folder=wish.folder,
        run_dir=wish.run_dir,
        user=wish.user,
        asked_image=wish.image,
        uri=wish.uri if plan.driver is Driver.LIBVIRT else "",
        cargo=wish.cargo if plan.driver is Driver.QEMU else "",
    )


def _make(wish: Wish, spec: VmSpec, *, check: bool) -> list[str]:
    made = []
    if not check:
        # libvirt runs QEMU as a user of its own, who passes through.
        spec.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        spec.folder.chmod(0o711)
    if keys.ensure(spec.keys, spec.lab_name, spec.name, wish.key_owner, check=check):
        made.append("keys")
    if not spec.disk.exists():
        made.append("disk")
        if not check:
            overlay(spec.image, spec.disk, spec.disk_gb)
    if check and "keys" in made and not (spec.keys / keys.HOST_KEY).exists():
        return [*made, "seed", "description"]
    if write_seed(seed(wish, spec), wish.templates, spec.seed.parent, check=check).changed:
        made.append("seed")
    if spec.driver is Driver.LIBVIRT and not check:
        spec.seed.parent.chmod(0o711)
    place = description(spec.folder)
    if not place.exists() or place.read_text(encoding="utf-8") != spec.text():
        made.append("description")
        if not check:
            write_file(place, spec.text().encode(), 0o600)
    return made


def seed(wish: Wish, spec: VmSpec) -> Seed:
    """What cloud-init is told; another content has another instance id."""
    private, public = keys.host_key(spec.keys)
    apt = spec.image.system in APT_SYSTEMS and spec.image.method is Method.BOOTSTRAP
    first, *others = spec.nics
    found = Seed(
        hostname=spec.name,
        instance_id="",
        user=spec.user,
        authorized_key=keys.authorized(spec.keys),
        host_key=private,
        host_key_pub=public,
        system=spec.image.system,
        nics=(SeedNic(first.mac), *(SeedNic(nic.mac, optional=True) for nic in others)),
        ca_bundle=Path(wish.ca_bundle) if wish.ca_bundle else None,
        apt_mirror=wish.package_mirror,
        apt_settings=host_apt_settings() if apt else "",
        proxy=wish.http_proxy,
    )
    texts = sorted(render(found, wish.templates).items())
    return replace(found, instance_id=f"{spec.domain}-{digest(sum(texts, ()))}")


def _base_is_there(existing: VmSpec) -> None:
    if not existing.image.disk.exists():
        raise HostError(
            f"VM {existing.name}: the image that its disk is based on is gone "
            f"({existing.image.disk}). ./lab down removes the VM; then ./lab up makes another."
        )
