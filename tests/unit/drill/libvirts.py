"""Two libvirts at the seam to their Python bindings: domains, events and a scripted migration."""

# ruff: noqa: N802, N815 (names are libvirt's)

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from orrery.vm.domain import NAMESPACE

ACTIVE = {"status": "active", "ram": {"transferred": 64 << 20, "total": 256 << 20}}


class LibvirtError(Exception):
    """As libvirt raises it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    def get_error_code(self) -> int:
        return self.code


class Domain:
    """A domain that runs; `answers` are those of QEMU by command."""

    def __init__(self, host: Host, text: str) -> None:
        self.host, self.text = host, text
        root = ElementTree.fromstring(text)
        self._name = str(root.findtext("name"))
        self._mark = root.find(f"metadata/{{{NAMESPACE}}}lab")
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {"query-status": {"status": "running"}}
        self.downtime_ms = 0

    def name(self) -> str:
        return self._name

    def isActive(self) -> bool:
        return self.host.domain is self

    def metadata(self, _kind: int, _namespace: str) -> str:
        if self._mark is None:
            raise LibvirtError(Library.VIR_ERR_NO_DOMAIN_METADATA, "no metadata")
        return ElementTree.tostring(self._mark, encoding="unicode")

    def XMLDesc(self, _flags: int) -> str:
        return self.text

    def destroy(self) -> None:
        self.host.lose()

    def migrateSetMaxDowntime(self, value: int, _flags: int) -> None:
        self.downtime_ms = value

    def migrateToURI3(self, uri: str, parameters: dict[str, Any], flags: int) -> None:
        self.host.library.orders.append((uri, parameters, flags))
        self.host.library.script(self.host, self.host.library.hosts[uri])

    def abortJob(self) -> None:
        self.host.library.aborted += 1


class Host:
    """One libvirt, and the connection to it."""

    def __init__(self, library: Library, uri: str) -> None:
        self.library, self.uri = library, uri
        self.domain: Domain | None = None
        self.hears: list[Callable[..., None]] = []
        self.watches: list[Callable[..., None]] = []
        self.closed = False
        self._clock = 1000

    def setKeepAlive(self, _every: int, _tries: int) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    def getHostname(self) -> str:
        return self.uri.rpartition("=")[2]

    def getLibVersion(self) -> int:
        return 11003000

    def getVersion(self) -> int:
        return 10000002

    def lookupByName(self, name: str) -> Domain:
        if self.domain is None or self.domain.name() != name:
            raise LibvirtError(Library.VIR_ERR_NO_DOMAIN, "Domain not found")
        return self.domain

    def createXML(self, text: str, _flags: int) -> Domain:
        self.domain = Domain(self, text)
        return self.domain

    def domainEventRegisterAny(self, _domain: None, _kind: int, call: Any, _opaque: None) -> int:
        self.watches.append(call)
        return 0

    def domainEventDeregisterAny(self, _number: int) -> None:
        self.watches.clear()

    def say(self, name: str, **data: Any) -> None:
        """Have the domain's QEMU say something, a second after what it said before."""
        self._clock += 1
        for hear in list(self.hears):
            hear(self, self.domain, name, self._clock, 5, json.dumps(data), None)

    def become(self, status: str) -> None:
        self.say("MIGRATION", status=status)

    def lose(self) -> None:
        """Have the domain end."""
        gone, self.domain = self.domain, None
        for watch in list(self.watches):
            watch(self, gone, Library.VIR_DOMAIN_EVENT_STOPPED, 0, None)


class Library:
    """The modules libvirt and libvirt_qemu in one."""

    libvirtError = LibvirtError
    VIR_ERR_NO_DOMAIN, VIR_ERR_NO_DOMAIN_METADATA = 42, 80
    VIR_DOMAIN_METADATA_ELEMENT, VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_STOPPED = 2, 0, 5
    VIR_DOMAIN_XML_MIGRATABLE, VIR_DOMAIN_XML_SECURE = 8, 1
    VIR_MIGRATE_LIVE, VIR_MIGRATE_PEER2PEER, VIR_MIGRATE_TLS = 1, 2, 65536

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.orders: list[tuple[str, dict[str, Any], int]] = []
        self.script: Callable[[Host, Host], None] = lambda _source, _target: None
        self.aborted = 0

    def registerErrorHandler(self, _call: Any, _context: None) -> None:
        """It prints nothing anyway."""

    def open(self, uri: str) -> Host:
        return self.hosts.setdefault(uri, Host(self, uri))

    def qemuMonitorEventRegister(
        self, host: Host, _domain: None, _event: None, call: Any, _opaque: None, _flags: int
    ) -> int:
        host.hears.append(call)
        return 0

    def qemuMonitorEventDeregister(self, host: Host, _number: int) -> None:
        host.hears.clear()

    def qemuMonitorCommand(self, domain: Domain, text: str, _flags: int) -> str:
        if not domain.isActive():
            raise LibvirtError(55, "domain is not running")
        order = json.loads(text)
        domain.asked.append((order["execute"], order["arguments"]))
        answer = domain.answers.get(order["execute"], {})
        return json.dumps(answer if "error" in answer else {"return": answer})

    def qemuAgentCommand(self, domain: Domain, text: str, _seconds: int, _flags: int) -> str:
        return self.qemuMonitorCommand(domain, text, 0)
