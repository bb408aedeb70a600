"""A VM as libvirt describes it: the same data as QEMU's command line, as XML."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from orrery.guest.machine import Accel
from orrery.packages.store import digest
from orrery.templates import rendered
from orrery.vm import qemu
from orrery.vm.spec import NicKind, VmNic, VmSpec

NAMESPACE = "urn:orrery:lab:1"
"""Of the element of a domain's metadata that says whose it is."""
KINDS = {Accel.KVM: "kvm", Accel.TCG: "qemu"}
# Interfaces of user mode are put at the end of the bus, where libvirt puts nothing.
FIRST_USER_SLOT = 0x18
TEMPLATE = "domain.xml.j2"


def xml(spec: VmSpec, templates: Path, kind: str = "") -> str:
    """The domain's XML.

    Args:
        spec: The VM.
        templates: Folder `templates/vm`.
        kind: Of the domain; empty for what follows from the acceleration.

    Raises:
        ConfigurationError: The template is not there, or is none.
    """
    values = view(spec, kind or KINDS[spec.accel])

    def text(made_from: str) -> str:
        told = {**values, "made_from": made_from}
        return rendered(templates, TEMPLATE, markup=True, vm=told)

    return text(digest([text("")]))


def view(spec: VmSpec, kind: str) -> dict[str, Any]:
    """What the template sees."""
    return {
        "kind": kind,
        "domain": spec.domain,
        # Of the name, so that a domain that is defined again stays the same one.
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{NAMESPACE}/{spec.domain}")),
        "namespace": NAMESPACE,
        "lab_name": spec.lab_name,
        "name": spec.name,
        "memory_mb": spec.memory_mb,
        "hugepages": spec.hugepages,
        "cpus": spec.cpus,
        "kernel": spec.image.kernel,
        "initrd": spec.image.initrd,
        "append": qemu.append(spec) if spec.image.kernel else "",
        "cpu_mode": "maximum" if spec.accel is Accel.TCG else "host-passthrough",
        "cpu_without": qemu.cpu_without(spec),
        "program": str(spec.program),
        "disk": str(spec.disk),
        "seed": str(spec.seed),
        "nics": [_nic(nic) for nic in spec.nics if nic.kind is not NicKind.USER],
        "console": str(spec.console),
        "console_log": str(spec.console_log),
        "agent": str(spec.agent),
        "arguments": _user_mode(spec),
    }


def _nic(nic: VmNic) -> dict[str, str]:
    kinds = {
        NicKind.BRIDGE: {"type": "bridge", "attribute": "bridge", "source": nic.source},
        NicKind.NETWORK: {"type": "network", "attribute": "network", "source": nic.source},
        NicKind.TAP: {"type": "ethernet", "source": "", "tap": nic.source},
    }
    return {"mac": nic.mac, "tap": "", **kinds[nic.kind]}


def _user_mode(spec: VmSpec) -> list[str]:
    """Arguments of QEMU for what libvirt has no element for: forwarded ports."""
    words: list[str] = []
    for number, nic in enumerate(spec.nics):
        if nic.kind is NicKind.USER:
            place = f"bus=pcie.0,addr={FIRST_USER_SLOT + number:#x}"
            device = f"virtio-net-pci,netdev=net{number},mac={nic.mac},romfile=,{place}"
            words += ["-netdev", qemu.user_network(spec, number), "-device", device]
    return words
