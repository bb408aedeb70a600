"""A domain is defined, found again, and never taken for ours when it is not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from orrery.errors import ConfigurationError, HostError
from orrery.guest.machine import Accel
from orrery.vm import domain
from orrery.vm import libvirt as driver
from orrery.vm.libvirt import Libvirt
from orrery.vm.running import Run
from orrery.vm.spec import Driver, NicKind, VmNic, VmSpec
from tests.support import private_libvirt, vm

URI = "test:///default"
MAC = "52:54:00:00:00:01"
TEMPLATES = vm.TEMPLATES / "vm"
FOREIGN = """<domain type='test'><name>t-vm-lab-vm</name><memory unit='MiB'>64</memory>{}
<os><type arch='x86_64'>hvm</type></os></domain>"""
OTHERS = (
    f"<metadata><o:lab xmlns:o='{domain.NAMESPACE}' name='other' vm='lab-vm' made-from=''/>"
    "</metadata>"
)


@pytest.fixture
def spec(tmp_path: Path) -> VmSpec:
    return vm.spec(tmp_path, driver=Driver.LIBVIRT, uri=URI, disk_gb=0)


@pytest.fixture(scope="module")
def bindings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """libvirt's Python bindings."""
    private_libvirt.bindings(tmp_path_factory.mktemp("libvirt"))


@pytest.fixture
def libvirt(bindings: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Libvirt]:
    """libvirt's own driver for tests, which needs no daemon and forgets all at its end."""
    # Nothing is started that needs a disk.
    monkeypatch.setattr(driver, "grow", lambda _: None)
    with Libvirt(URI) as found:
        yield found


def text(spec: VmSpec) -> str:
    return domain.xml(spec, TEMPLATES, "test")


def tree(spec: VmSpec) -> Any:
    return ElementTree.fromstring(domain.xml(spec, TEMPLATES))


def test_the_description_says_the_same_as_the_command_line(spec: VmSpec) -> None:
    found = tree(spec)
    assert found.get("type") == "qemu"
    assert found.findtext("name") == "t-vm-lab-vm"
    assert found.find("cpu").get("mode") == "maximum"
    arguments = [one.get("value") for one in found.iter() if one.tag.endswith("}arg")]
    assert "hostfwd=tcp:127.0.0.1:18499-:22" in arguments[1]
    assert found.find("devices/serial/log").get("file") == str(spec.console_log)


def test_under_kvm_guests_inside_get_it_when_wanted(spec: VmSpec) -> None:
    found = tree(replace(spec, accel=Accel.KVM))
    assert found.get("type") == "kvm"
    assert found.find("cpu").get("mode") == "host-passthrough"
    assert found.find("cpu/feature") is None
    assert tree(replace(spec, accel=Accel.KVM, nested=False)).find("cpu/feature") is not None


def test_interfaces_are_what_libvirt_calls_them(spec: VmSpec) -> None:
    nics = (
        VmNic(NicKind.USER, MAC),
        VmNic(NicKind.BRIDGE, MAC, "br0"),
        VmNic(NicKind.NETWORK, MAC, "default"),
        VmNic(NicKind.TAP, MAC, "tap7"),
    )
    found = tree(replace(spec, nics=nics)).findall("devices/interface")
    assert [one.get("type") for one in found] == ["bridge", "network", "ethernet"]
    assert found[0].find("source").get("bridge") == "br0"
    assert found[2].find("target").get("dev") == "tap7"


def test_what_xml_has_a_meaning_for_is_escaped(spec: VmSpec) -> None:
    odd = replace(spec, folder=Path("/var/it's <mine> & yours"))
    assert tree(odd).find("devices/disk/source").get("file") == str(odd.disk)


def test_a_template_that_is_not_there_is_named(spec: VmSpec, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"domain.xml.j2"):
        domain.xml(spec, tmp_path)


def test_it_is_defined_once_and_again_only_when_it_is_another(
    libvirt: Libvirt, spec: VmSpec
) -> None:
    assert libvirt.define(spec, text(spec), check=True)
    assert libvirt.own(spec) is None
    assert libvirt.define(spec, text(spec))
    assert not libvirt.define(spec, text(spec))
    more = replace(spec, memory_mb=1024)
    assert libvirt.define(more, text(more))


def test_it_is_started_and_stopped_once(libvirt: Libvirt, spec: VmSpec) -> None:
    libvirt.define(spec, text(spec))
    assert libvirt.start(spec)
    first = Run.read(spec.run_dir)
    assert first is not None
    assert not libvirt.start(spec)
    assert Run.read(spec.run_dir) == first
    assert libvirt.stop(spec)
    assert not libvirt.stop(spec)


def test_a_start_by_somebody_else_is_another_start(libvirt: Libvirt, spec: VmSpec) -> None:
    libvirt.define(spec, text(spec))
    libvirt.start(spec)
    first = Run.read(spec.run_dir)
    libvirt.stop(spec, discard=True)
    libvirt.own(spec).create()
    libvirt.start(spec)
    assert Run.read(spec.run_dir) != first


def test_another_description_shuts_it_down_first(libvirt: Libvirt, spec: VmSpec) -> None:
    libvirt.define(spec, text(spec))
    libvirt.start(spec)
    more = replace(spec, memory_mb=1024)
    libvirt.define(more, text(more))
    assert not libvirt.own(spec).isActive()


def test_what_is_removed_is_gone_and_once_is_enough(libvirt: Libvirt, spec: VmSpec) -> None:
    libvirt.define(spec, text(spec))
    libvirt.start(spec)
    assert libvirt.remove(spec)
    assert not libvirt.remove(spec)


@pytest.mark.parametrize(
    ("metadata", "whose"), [("", "no lab made it"), (OTHERS, "the lab 'other' made it")]
)
def test_a_stale_domain_of_the_same_name_is_refused_and_left_as_it_is(
    libvirt: Libvirt, spec: VmSpec, metadata: str, whose: str
) -> None:
    foreign = libvirt._connection.defineXML(FOREIGN.format(metadata))
    before = foreign.XMLDesc()
    message = rf"domain 't-vm-lab-vm' that is not this lab's \({whose}\); it is left as it is"
    attempts: list[Callable[[], bool]] = [
        lambda: libvirt.define(spec, text(spec)),
        lambda: libvirt.start(spec),
        lambda: libvirt.stop(spec),
        lambda: libvirt.remove(spec),
    ]
    for work in attempts:
        with pytest.raises(ConfigurationError, match=message):
            work()
    assert foreign.XMLDesc() == before


def test_a_domain_that_is_gone_says_what_to_do(libvirt: Libvirt, spec: VmSpec) -> None:
    with pytest.raises(HostError, match=r"has no domain 't-vm-lab-vm'. Run \./lab up"):
        libvirt.start(spec)


def test_a_libvirt_that_cannot_be_reached_is_named(libvirt: Libvirt) -> None:
    uri = "qemu+unix:///system?socket=/nowhere"
    with pytest.raises(HostError, match="cannot be reached"), Libvirt(uri):
        pass


def test_without_the_bindings_it_is_said_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    with pytest.raises(HostError, match=r"bindings are not there.*requirements-libvirt.lock"):
        Libvirt(URI)
