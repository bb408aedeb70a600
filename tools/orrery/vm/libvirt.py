"""A VM as a domain of libvirt: defined, started, stopped and removed, and only when it is ours."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from orrery.errors import ConfigurationError, GuestError, HostError
from orrery.libvirt import Connection
from orrery.vm import domain as description
from orrery.vm.running import Run
from orrery.vm.spec import VmSpec
from orrery.vm.supervise import PRESS_AGAIN_S, STOP_TIMEOUT_S, grow

POLL_S = 0.2
OFF = (0, 5, 6)
"""States of a domain that is off: none, shut off, crashed (virDomainState)."""


class Libvirt(Connection):
    """The libvirt that has a VM as a domain."""

    def define(self, spec: VmSpec, text: str, *, check: bool = False) -> bool:
        """Have the domain as it is described; a running one is shut down for it.

        Returns:
            Whether it was another, or would be.

        Raises:
            ConfigurationError: A domain of that name is not this lab's VM.
            HostError: libvirt refuses it.
        """
        found = self.own(spec)
        if found is not None and _mark(text).get("made-from") == self._marks(found)["made-from"]:
            return False
        if check:
            return True
        if found is not None:
            self.stop(spec)
        made = self._do(lambda: self._connection.defineXML(text), f"refuses {spec.domain}")
        # The test driver has no boot to start it at.
        self._quietly(lambda: made.setAutostart(1))
        return True

    def start(self, spec: VmSpec) -> bool:
        """Have it running; whether it had to be started.

        Raises:
            HostError: It cannot be started, or is not there.
        """
        found = self._required(spec)
        spec.run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not self._off(found):
            run = Run.read(spec.run_dir)
            if run is None or run.pid != found.ID():
                # Somebody else has started it, and nobody has seen when.
                Run(found.ID(), time.monotonic()).write(spec.run_dir)
            return False
        grow(spec)
        began_s = time.monotonic()
        self._do(found.create, f"cannot start {spec.domain}")
        Run(found.ID(), began_s).write(spec.run_dir)
        return True

    def stop(self, spec: VmSpec, *, discard: bool = False) -> bool:
        """Shut it down, or switch it off; whether it ran.

        Raises:
            ConfigurationError: A domain of that name is not this lab's VM.
            HostError: libvirt refuses it.
        """
        found = self.own(spec)
        if found is None or self._off(found):
            return False
        end = time.monotonic() + (0 if discard else STOP_TIMEOUT_S)
        press_at = 0.0
        while not self._off(found) and time.monotonic() < end:
            if time.monotonic() > press_at:
                press_at = time.monotonic() + PRESS_AGAIN_S
                self._quietly(found.shutdown)
            time.sleep(POLL_S)
        if not self._off(found):
            self._do(found.destroy, f"cannot switch {spec.domain} off")
        self._quietly(lambda: found.setAutostart(0))
        return True

    def remove(self, spec: VmSpec) -> bool:
        """Remove the domain, not its files; whether it was there.

        Raises:
            ConfigurationError: A domain of that name is not this lab's VM.
            HostError: libvirt refuses it.
        """
        if self.own(spec) is None:
            return False
        self.stop(spec, discard=True)
        self._do(self._required(spec).undefine, f"cannot remove {spec.domain}")
        return True

    def own(self, spec: VmSpec) -> Any:
        """The VM's domain; None where there is none.

        Raises:
            ConfigurationError: A domain of that name is not this lab's VM.
        """
        try:
            found = self._connection.lookupByName(spec.domain)
        except self._library.libvirtError as error:
            if error.get_error_code() == self._library.VIR_ERR_NO_DOMAIN:
                return None
            raise HostError(f"libvirt at {self.uri}: {error}") from error
        marks = self._marks(found)
        if (marks.get("name"), marks.get("vm")) != (spec.lab_name, spec.name):
            whose = f"the lab '{marks['name']}' made it" if "name" in marks else "no lab made it"
            raise ConfigurationError(
                f"libvirt at {self.uri} has a domain '{spec.domain}' that is not this lab's "
                f"({whose}); it is left as it is. Remove it with virsh undefine, or set vm_name "
                "to another name."
            )
        return found

    def _required(self, spec: VmSpec) -> Any:
        found = self.own(spec)
        if found is None:
            raise HostError(
                f"libvirt at {self.uri} has no domain '{spec.domain}'. Run ./lab up, which "
                "defines it."
            )
        return found

    def _marks(self, found: Any) -> dict[str, str]:
        element = self._library.VIR_DOMAIN_METADATA_ELEMENT
        try:
            return dict(
                ElementTree.fromstring(  # noqa: S314 (libvirt's own answer)
                    found.metadata(element, description.NAMESPACE)
                ).attrib
            )
        except self._library.libvirtError:
            return {}

    def _off(self, found: Any) -> bool:
        return self._do(found.state, "does not answer")[0] in OFF


def ensure(spec: VmSpec, templates: Path, *, check: bool) -> dict[str, Any]:
    """Have the domain defined and running; what role `vm` is told."""
    with Libvirt(spec.uri) as libvirt:
        defined = libvirt.define(spec, description.xml(spec, templates), check=check)
        started = False if check else libvirt.start(spec)
    return {"changed": defined or started, "defined": defined, "started": started}


def _mark(text: str) -> dict[str, str]:
    found = ElementTree.fromstring(text).find(  # noqa: S314 (rendered by us)
        f"metadata/{{{description.NAMESPACE}}}lab"
    )
    if found is None:
        raise GuestError("templates/vm/domain.xml.j2 says no longer whose the domain is")
    return dict(found.attrib)
