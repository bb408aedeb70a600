"""A drill's guest as libvirt describes it, and a migration as libvirt is asked for it. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from orrery.drill.preflight import Spec
from orrery.drill.settings import MB, Settings
from orrery.errors import GuestError
from orrery.guest.boot import boot_options
from orrery.guest.machine import AGENT_PORT, CPU_MODEL, Accel, Machine
from orrery.guest.registry import GUEST_MARK, LAB_MARK
from orrery.templates import rendered
from orrery.vm.domain import KINDS, NAMESPACE

QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
TEMPLATE = "domain.xml.j2"
LOOPBACK = "127.0.0.1"
VHOST_USER = {"vhostuser": "vhost-user"}
ITS_OWN = frozenset({"pause-before-switchover", "return-path"})
"""Capabilities that libvirt switches on whatever is asked for."""


@dataclass(frozen=True)
class Request:
    """A migration as libvirt takes it.

    Attributes:
        flags: Names of `virDomainMigrateFlags`.
        parameters: Typed parameters by their own names.
        downtime_ms: What has to be set before, since no parameter is for it.
    """

    flags: tuple[str, ...]
    downtime_ms: int
    parameters: dict[str, int | str | list[str]] = field(default_factory=dict)


def name_of(lab_name: str) -> str:
    """The domain's name, on both hypervisors."""
    return f"{lab_name}-drill"


def xml(machine: Machine, lab_name: str, templates: Path) -> str:
    """The domain's XML.

    Args:
        machine: The guest; its interface is of vhost-user.
        lab_name: Whose it is.
        templates: Folder `templates/drill`.

    Raises:
        ConfigurationError: The template is not there, or is none.
    """
    return rendered(templates, TEMPLATE, markup=True, drill=view(machine, lab_name))


def view(machine: Machine, lab_name: str) -> dict[str, Any]:
    """What the template sees.

    Raises:
        GuestError: The machine has no interface.
    """
    nic = machine.nic
    if nic is None or nic.socket is None:
        raise GuestError(f"guest {machine.name}: a domain needs an interface of vhost-user")
    domain = name_of(lab_name)
    return {
        "kind": KINDS[machine.accel],
        "domain": domain,
        # Of the name, so that both hypervisors know it as the same one.
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{NAMESPACE}/{domain}")),
        "namespace": NAMESPACE,
        "lab_name": lab_name,
        "memory_mb": machine.memory_mb,
        "cpus": machine.cpus,
        "address": machine.address,
        "kernel": str(machine.kernel),
        "initrd": str(machine.initrd),
        "append": boot_options(machine.accel is Accel.TCG, machine.cpus),
        "cpu_model": machine.cpu_model or CPU_MODEL[machine.accel],
        "program": str(machine.program),
        "mac": nic.mac,
        "socket": str(nic.socket),
        "queues": nic.queues,
        "vectors": nic.vectors,
        "announces": nic.announces,
        "console_log": str(machine.console_log),
        "agent": AGENT_PORT,
        "marks": {LAB_MARK: lab_name, GUEST_MARK: machine.name},
    }


def elsewhere(text: str, name: str, socket: str) -> str:
    """The same domain as it is to be on the other side.

    Devices keep their places, as libvirt has written them down. The console, which was read until
    the guest was ready, goes nowhere: its folder is of this host.

    Args:
        text: XML of the domain where it runs.
        name: Of the other side.
        socket: Of its interface there.

    Raises:
        GuestError: It is not the domain that we have described.
    """
    ElementTree.register_namespace("qemu", QEMU)
    ElementTree.register_namespace("orrery", NAMESPACE)
    root = _parsed(text)
    source = root.find("devices/interface[@type='vhostuser']/source")
    serial = root.find("devices/serial")
    marks = [one for one in root.iter(f"{{{QEMU}}}env") if one.get("name") == GUEST_MARK]
    if source is None or serial is None or len(marks) != 1:
        raise GuestError("the domain has no vhost-user interface, console or mark of ours any more")
    source.set("path", socket)
    marks[0].set("value", name)
    serial.set("type", "null")
    for child in list(serial):
        if child.tag in ("source", "log"):
            serial.remove(child)
    return ElementTree.tostring(root, encoding="unicode")


def owner(text: str) -> dict[str, str]:
    """Whose a domain is, by the element of its metadata; nothing where it says nothing."""
    return dict(_parsed(text).attrib)


def spec_of(text: str, version: str) -> Spec:
    """The machine as the XML of a running domain says."""
    root = _parsed(text)
    nic = root.find("devices/interface")
    properties = {
        one.get("name", ""): one.get("value", "") for one in root.iter(f"{{{QEMU}}}property")
    }
    accels = {kind: str(accel) for accel, kind in KINDS.items()}
    switches = {"true": "on", "false": "off"}
    return Spec(
        version=version,
        machine=_of(root, "os/type", "machine"),
        accel=accels.get(root.get("type", ""), ""),
        cpu=root.findtext("cpu/model") or CPU_MODEL[Accel.KVM],
        cpus=int(root.findtext("vcpu") or 1),
        memory_mb=_megabytes(root),
        memory=_of(root, "memoryBacking/source", "type"),
        shared=_of(root, "memoryBacking/access", "mode") == "shared",
        backend=VHOST_USER.get(nic.get("type", ""), "") if nic is not None else "",
        mac=_of(root, "devices/interface/mac", "address"),
        queues=int(_of(root, "devices/interface/driver", "queues") or 1),
        vectors=int(properties.get("vectors") or 0),
        features=tuple(
            f"{key}={switches.get(value, value)}"
            for key, value in sorted(properties.items())
            if key != "vectors"
        ),
        devices=tuple(
            sorted(one.tag for one in root.findall("devices/*") if one.tag != "emulator")
        ),
    )


def request(settings: Settings, target: str, where: str, *, tls: bool) -> Request:
    """How libvirt is asked for a migration with these settings.

    Args:
        settings: What a drill wants.
        target: XML of the domain at the destination.
        where: Host that the source's QEMU connects to, and the destination's listens at where it is
            this one.
        tls: Whether what goes between the two QEMUs is encrypted.

    Raises:
        ConfigurationError: A capability or a parameter is unknown here.
    """
    on = {name for name, switched in settings.switches().items() if switched}
    values = settings.values()
    flags = ["VIR_MIGRATE_LIVE", "VIR_MIGRATE_PEER2PEER"]
    found: dict[str, int | str | list[str]] = {
        "destination_xml": target,
        "migrate_uri": f"tcp://{where}",
        # Without it libvirt takes all that the link has, where QEMU alone would not.
        "bandwidth": int(values["max-bandwidth"]) // MB,
    }
    if where == LOOPBACK:
        found["listen_address"] = where
    if "auto-converge" in on:
        flags.append("VIR_MIGRATE_AUTO_CONVERGE")
        found["auto_converge.initial"] = values["cpu-throttle-initial"]
        found["auto_converge.increment"] = values["cpu-throttle-increment"]
    methods = []
    if "xbzrle" in on:
        methods.append("xbzrle")
        found["compression.xbzrle.cache"] = values["xbzrle-cache-size"]
    if "multifd" in on:
        flags.append("VIR_MIGRATE_PARALLEL")
        found["parallel.connections"] = values["multifd-channels"]
        if values["multifd-compression"] != "none":
            methods.append(str(values["multifd-compression"]))
    if methods:
        flags.append("VIR_MIGRATE_COMPRESSED")
        found["compression"] = methods
    if tls:
        flags.append("VIR_MIGRATE_TLS")
    return Request(tuple(flags), int(values["downtime-limit"]), found)


def version_of(number: int) -> str:
    """A version as libvirt counts it, 10000002, as people write it."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def said(answer: Mapping[str, Any], what: str) -> Any:
    """What QEMU, or a guest's agent, has answered.

    Raises:
        GuestError: It refuses.
    """
    if "error" in answer:
        raise GuestError(f"{what}: {dict(answer['error']).get('desc', 'refused')}")
    return answer.get("return")


def _parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 (libvirt's own answer, or rendered by us)


def _of(root: ElementTree.Element, path: str, attribute: str) -> str:
    found = root.find(path)
    return found.get(attribute, "") if found is not None else ""


def _megabytes(root: ElementTree.Element) -> int:
    found = root.find("memory")
    if found is None or not found.text:
        return 0
    return int(found.text) // {"KiB": 1024, "MiB": 1}.get(found.get("unit", "KiB"), 1024)
