"""One hypervisor of two: its libvirt, the drill's domain there, and the switch beside it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from orrery import shell
from orrery.drill import domain as description
from orrery.drill.domain import LOOPBACK, Request
from orrery.drill.migration import GoneError
from orrery.errors import ConfigurationError, GuestError, HostError
from orrery.libvirt import Connection, bindings
from orrery.network.switch import TIMEOUT_S, Switch
from orrery.vm.domain import NAMESPACE

URIS = "lab_drill_uris"
ALIVE_EVERY_S, ALIVE_TRIES = 5, 4
"""A libvirt that says nothing for so long is gone, and what waits for it fails."""
SSH_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
Tell = Callable[[Mapping[str, Any] | None], None]
"""Gets what QEMU says as QMP has it, and None when the domain has ended."""


@dataclass(frozen=True)
class FarSwitch(Switch):
    """The switch of a lab of the same name on another machine, told over SSH."""

    login: tuple[str, ...] = ()

    def vsctl(self, *words: str, wait: bool = True) -> str:
        """Run ovs-vsctl there; its output."""
        argv = ["ovs-vsctl", f"--db={self.database}", f"--timeout={TIMEOUT_S}"]
        argv += [] if wait else ["--no-wait"]
        command = shlex.join([*argv, *words])
        return shell.run([*self.login, command], timeout_s=TIMEOUT_S + 20).stdout

    def errors(self) -> list[str]:
        """Its log is on the other machine."""
        return []


@dataclass(frozen=True)
class Place:
    """Where a hypervisor is, as its URI says.

    Attributes:
        host: Empty for this machine.
    """

    uri: str
    host: str = ""
    user: str = ""
    port: int | None = None

    @property
    def reached(self) -> str:
        """Where the other's QEMU connects to."""
        return self.host or LOOPBACK

    def switch(self, own: Switch) -> Switch:
        """The switch there, whose paths are those of the lab here."""
        values = {one.name: getattr(own, one.name) for one in fields(own)}
        port = ["-p", str(self.port)] if self.port else []
        whom = f"{self.user}@{self.host}" if self.user else self.host
        return FarSwitch(**values, login=("ssh", *SSH_OPTIONS, *port, whom, "--"))


def places(value: object) -> tuple[Place, Place]:
    """Where the two hypervisors are; this host's is the first.

    Raises:
        ConfigurationError: It is no pair, or one is not what the other could use.
    """
    texts = value.split(",") if isinstance(value, str) else value
    found = [str(one).strip() for one in texts] if isinstance(texts, Sequence) else []
    if len(found) != 2 or not all(found) or found[0] == found[1]:
        raise ConfigurationError(
            f"{URIS}: {value!r} found; two URIs of libvirt are needed, this host's first: "
            f"-e {URIS}=qemu+ssh://this-host/system,qemu+ssh://other-host/system"
        )
    first, second = (_place(one) for one in found)
    if second.host and not first.host:
        raise ConfigurationError(
            f"{URIS}: '{first.uri}' means another hypervisor on {second.host} than here, and a "
            "guest could not come back. Name this host in it, as the other reaches it: "
            "qemu+ssh://this-host/system"
        )
    return first, second


def _place(uri: str) -> Place:
    parts = urlsplit(uri)
    transport = parts.scheme.partition("+")[2]
    if not parts.scheme.startswith("qemu"):
        raise ConfigurationError(f"{URIS}: '{uri}' found; a URI of QEMU's driver is needed")
    if parts.hostname and transport != "ssh":
        raise ConfigurationError(
            f"{URIS}: '{uri}' found; the switch of another machine is told over SSH, so "
            f"qemu+ssh://{parts.hostname}/system is needed"
        )
    return Place(uri, parts.hostname or "", parts.username or "", parts.port)


class Hypervisor(Connection):
    """A connection to one libvirt; closed at the end of a `with` block.

    Attributes:
        domain: Name of the drill's domain.
        switch: Of the lab there.
        far: Whether it is another machine's.
    """

    def __init__(self, place: Place, lab_name: str, switch: Switch, *, far: bool) -> None:
        self.place, self.lab_name, self.far = place, lab_name, far
        self.switch = place.switch(switch) if far else switch
        self.domain = description.name_of(lab_name)
        _find_bindings(lab_name)
        super().__init__(place.uri)
        self._qemu: Any = importlib.import_module("libvirt_qemu")
        self._known: Any = None

    def __enter__(self) -> Self:
        _run_events()
        super().__enter__()
        self._do(
            lambda: self._connection.setKeepAlive(ALIVE_EVERY_S, ALIVE_TRIES), "is not kept alive"
        )
        return self

    def about(self) -> dict[str, str]:
        """Host, URI and versions.

        Raises:
            HostError: It does not answer.
        """
        found = self._do(
            lambda: (
                self._connection.getHostname(),
                self._connection.getLibVersion(),
                self._connection.getVersion(),
            ),
            "does not answer",
        )
        versions = dict(
            zip(("libvirt", "qemu"), map(description.version_of, found[1:]), strict=True)
        )
        return {"host": str(found[0]), "uri": self.uri, **versions}

    def there(self) -> bool:
        """Whether it has the drill's domain.

        Raises:
            ConfigurationError: It has one of that name that is not this lab's.
            HostError: It does not answer.
        """
        return self._find() is not None

    def start(self, text: str) -> None:
        """Start the domain; it leaves nothing when it ends.

        Raises:
            ConfigurationError: There is another of that name.
            GuestError: It is there already.
            HostError: libvirt refuses it.
        """
        self.require_free()
        self._known = self._do(lambda: self._connection.createXML(text, 0), "refuses the guest")

    def require_free(self) -> None:
        """Refuse a hypervisor that has a domain of that name.

        Raises:
            ConfigurationError, GuestError: It has one.
        """
        if self.there():
            raise GuestError(f"{self.uri}: domain {self.domain} is there already")

    def end(self) -> bool:
        """Be without the domain; whether it was there."""
        found = self._find()
        if found is not None:
            # It may just have gone.
            with contextlib.suppress(self._library.libvirtError):
                found.destroy()
        self._known = None
        return found is not None

    def text(self) -> str:
        """The domain's XML as a migration takes it."""
        flags = self._library.VIR_DOMAIN_XML_MIGRATABLE | self._library.VIR_DOMAIN_XML_SECURE
        return str(self._ask(lambda found: found.XMLDesc(flags), "its description"))

    def monitor(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Run a command of QMP.

        Raises:
            GoneError: The domain is not there.
            GuestError: It was refused.
        """
        text = json.dumps({"execute": command, "arguments": dict(arguments)})
        answer = self._ask(lambda found: self._qemu.qemuMonitorCommand(found, text, 0), command)
        return description.said(json.loads(answer), f"{self.uri}: {command}")

    def agent(self, command: str, arguments: Mapping[str, Any], timeout_s: float) -> Any:
        """Run a command of the guest's agent.

        Raises:
            GoneError: The domain is not there.
            GuestError: It was refused, or nothing came in time.
        """
        text = json.dumps({"execute": command, "arguments": dict(arguments)})
        seconds = max(1, round(timeout_s))
        answer = self._ask(
            lambda found: self._qemu.qemuAgentCommand(found, text, seconds, 0), command
        )
        return description.said(json.loads(answer), f"agent at {self.uri}: {command}")

    def migrate(self, to: Place, request: Request) -> None:
        """Have the guest migrated by the two libvirts; returns when all is over.

        Raises:
            GuestError: It did not come to that.
        """
        flags = 0
        for name in request.flags:
            flags |= int(getattr(self._library, name))
        self._ask(
            lambda found: found.migrateSetMaxDowntime(request.downtime_ms, 0), "the downtime limit"
        )
        self._ask(
            lambda found: found.migrateToURI3(to.uri, request.parameters, flags), "the migration"
        )

    def abort(self) -> None:
        """Have a migration cancelled.

        Raises:
            GuestError: There is none.
        """
        self._ask(lambda found: found.abortJob(), "cancelling the migration")

    @contextlib.contextmanager
    def heard(self, tell: Tell) -> Iterator[None]:
        """Hear all that the domain's QEMU says; the domain need not be there yet.

        `tell` is called by another thread.

        Raises:
            HostError: libvirt does not let us.
        """

        def said(
            _connection: Any, domain: Any, name: str, seconds: int, micros: int, text: str, _: Any
        ) -> None:
            if domain.name() == self.domain:
                stamp = {"seconds": seconds, "microseconds": micros}
                tell({"event": name, "timestamp": stamp, "data": json.loads(text) if text else {}})

        def changed(_connection: Any, domain: Any, event: int, _detail: int, _: Any) -> None:
            if domain.name() == self.domain and event == self._library.VIR_DOMAIN_EVENT_STOPPED:
                tell(None)

        kind = self._library.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        with contextlib.ExitStack() as stack:
            number = self._do(
                lambda: self._qemu.qemuMonitorEventRegister(
                    self._connection, None, None, said, None, 0
                ),
                "does not let QEMU be heard",
            )
            stack.callback(
                self._quietly,
                lambda: self._qemu.qemuMonitorEventDeregister(self._connection, number),
            )
            other = self._do(
                lambda: self._connection.domainEventRegisterAny(None, kind, changed, None),
                "does not let its domains be watched",
            )
            stack.callback(self._quietly, lambda: self._connection.domainEventDeregisterAny(other))
            yield

    def _find(self) -> Any:
        if self._known is not None and self._alive(self._known):
            return self._known
        self._known = None
        try:
            found = self._connection.lookupByName(self.domain)
            text = found.metadata(self._library.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE)
        except self._library.libvirtError as error:
            code = error.get_error_code()
            if code == self._library.VIR_ERR_NO_DOMAIN:
                return None
            if code != self._library.VIR_ERR_NO_DOMAIN_METADATA:
                raise HostError(f"{self.uri}: {error}") from error
            text = "<lab/>"
        marks = description.owner(text)
        if (marks.get("name"), marks.get("drill")) != (self.lab_name, self.domain):
            raise ConfigurationError(
                f"{self.uri} has a domain '{self.domain}' that is not a drill's of this lab; "
                "it is left as it is. Remove it with virsh, or give the lab another lab_name."
            )
        self._known = found
        return found

    def _alive(self, found: Any) -> bool:
        try:
            return bool(found.isActive())
        except self._library.libvirtError:
            return False

    def _ask(self, work: Callable[[Any], Any], what: str) -> Any:
        """Ask the domain for something.

        Raises:
            GoneError: It is not there.
            GuestError: It cannot be had.
        """
        found = self._known or self._find()
        gone = f"{self.uri}: {what}: there is no domain {self.domain}"
        if found is None:
            raise GoneError(gone)
        try:
            return work(found)
        except self._library.libvirtError as error:
            if not self._alive(found):
                self._known = None
                raise GoneError(gone) from error
            raise GuestError(f"{self.uri}: {what}: {error}") from error


def _find_bindings(lab_name: str) -> None:
    """Let Python find the bindings where role vm builds them."""
    folder = str(Path("/opt") / lab_name / "libvirt")
    if Path(folder).is_dir() and folder not in sys.path:
        sys.path.append(folder)


@functools.cache
def _run_events() -> threading.Thread:
    """Run libvirt's event loop in a thread; it has to be there before the first connection."""
    library = bindings()
    library.virEventRegisterDefaultImpl()

    def run() -> None:
        while True:
            library.virEventRunDefaultImpl()

    thread = threading.Thread(target=run, name="libvirt events", daemon=True)
    thread.start()
    return thread
