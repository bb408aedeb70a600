"""The domain is the guest that a drill always has, and libvirt is asked for what a drill sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from orrery.drill import domain
from orrery.drill.domain import QEMU, elsewhere, request, spec_of, xml
from orrery.drill.scenario import DrillScenario, Help
from orrery.drill.settings import Settings
from orrery.errors import ConfigurationError, GuestError
from orrery.guest.machine import Accel, Machine, Nic
from orrery.network.backends import Backend
from tests.contracts import tree

TEMPLATES = tree.ROOT / "templates" / "drill"
NIC = Nic(
    Backend.VHOST_USER,
    "52:54:00:00:00:0b",
    queues=2,
    socket=Path("/run/lab/vhost/drill-a.sock"),
    announces=False,
)
MACHINE = Machine(
    name="drill-a",
    program=Path("/usr/bin/qemu-system-x86_64"),
    kernel=Path("/cache/vmlinuz"),
    initrd=Path("/cache/initrd.cpio"),
    folder=Path("/run/lab/guests/drill-a"),
    accel=Accel.TCG,
    cpus=2,
    memory_mb=512,
    nic=NIC,
    address="10.0.0.11/24",
)


def text(machine: Machine = MACHINE) -> str:
    return xml(machine, "lab", TEMPLATES)


def test_the_machine_is_the_one_that_the_command_line_describes() -> None:
    found = spec_of(text(), "10.0.2")
    assert (found.machine, found.accel, found.cpu) == ("q35", "tcg", "qemu64")
    assert (found.cpus, found.memory_mb, found.shared) == (2, 512, True)
    assert (found.backend, found.mac, found.queues) == ("vhost-user", NIC.mac, 2)
    assert found.vectors == NIC.vectors
    assert found.features == ("guest_announce=off",)
    root = ElementTree.fromstring(text())
    assert root.findtext("sysinfo/entry[@name='opt/orrery/address']") == "10.0.0.11/24"
    assert root.find("devices/interface/source").get("mode") == "server"  # type: ignore[union-attr] # it is there
    assert root.find("devices/serial/source").get("path") == str(MACHINE.console_log)  # type: ignore[union-attr] # it is there


def test_a_guest_under_kvm_has_the_hosts_processor_and_one_that_announces_itself_says_so() -> None:
    nic = replace(NIC, queues=1, announces=True)
    found = spec_of(text(replace(MACHINE, accel=Accel.KVM, nic=nic)), "")
    assert (found.accel, found.cpu, found.queues, found.features) == ("kvm", "host", 1, ())


def test_on_the_other_side_only_what_is_of_this_side_differs() -> None:
    there = elsewhere(text(), "drill-b", "/run/lab/vhost/drill-b.sock")
    before, after = ElementTree.fromstring(text()), ElementTree.fromstring(there)
    assert "drill-a" not in there
    assert after.find("devices/serial").get("type") == "null"  # type: ignore[union-attr] # it is there
    assert after.find("devices/serial/target") is not None
    marks = {one.get("name"): one.get("value") for one in after.iter(f"{{{QEMU}}}env")}
    assert marks == {"ORRERY_LAB": "lab", "ORRERY_GUEST": "drill-b"}
    assert after.findtext("uuid") == before.findtext("uuid")
    assert spec_of(there, "") == spec_of(text(), "")
    # And back again.
    assert "drill-b" not in elsewhere(there, "drill-a", "/run/lab/vhost/drill-a.sock")


def test_a_domain_that_is_not_as_we_have_described_it_is_refused() -> None:
    with pytest.raises(GuestError, match="no vhost-user interface, console or mark of ours"):
        elsewhere("<domain><devices/></domain>", "drill-b", "/b.sock")


def test_a_machine_without_an_interface_is_no_domain() -> None:
    with pytest.raises(GuestError, match="needs an interface of vhost-user"):
        text(replace(MACHINE, nic=None))


def test_a_template_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="domain.xml.j2"):
        xml(MACHINE, "lab", tmp_path)


def test_libvirt_is_told_what_qemu_would_do_anyway() -> None:
    found = request(Settings(), "<domain/>", "127.0.0.1", tls=False)
    assert found.flags == ("VIR_MIGRATE_LIVE", "VIR_MIGRATE_PEER2PEER")
    assert found.downtime_ms == 300
    assert found.parameters == {
        "destination_xml": "<domain/>",
        "migrate_uri": "tcp://127.0.0.1",
        "listen_address": "127.0.0.1",
        "bandwidth": 128,
    }


def test_another_machine_is_named_and_what_goes_there_may_be_encrypted() -> None:
    scenario = DrillScenario(bandwidth_mbps=50, downtime_ms=10)
    found = request(scenario.settings(), "", "host-b", tls=True)
    assert found.flags[-1] == "VIR_MIGRATE_TLS"
    assert found.downtime_ms == 10
    assert found.parameters["migrate_uri"] == "tcp://host-b"
    assert found.parameters["bandwidth"] == 50
    assert "listen_address" not in found.parameters


@pytest.mark.parametrize(
    ("kind", "flags", "parameters"),
    [
        (
            Help.AUTO_CONVERGE,
            ("VIR_MIGRATE_AUTO_CONVERGE",),
            {"auto_converge.initial": 40, "auto_converge.increment": 20},
        ),
        (
            Help.XBZRLE,
            ("VIR_MIGRATE_COMPRESSED",),
            {"compression": ["xbzrle"], "compression.xbzrle.cache": 128 << 20},
        ),
        (Help.MULTIFD, ("VIR_MIGRATE_PARALLEL",), {"parallel.connections": 2}),
        (
            Help.ZSTD,
            ("VIR_MIGRATE_PARALLEL", "VIR_MIGRATE_COMPRESSED"),
            {"parallel.connections": 2, "compression": ["zstd"]},
        ),
    ],
    ids=str,
)
def test_what_helps_a_busy_guest_has_libvirts_own_words(
    kind: Help, flags: tuple[str, ...], parameters: dict[str, object]
) -> None:
    found = request(DrillScenario(help=kind).settings(), "", "127.0.0.1", tls=False)
    assert found.flags[2:] == flags
    assert found.parameters.items() >= parameters.items()


def test_versions_and_answers_are_read() -> None:
    assert domain.version_of(10_000_002) == "10.0.2"
    assert domain.said({"return": 3}, "x") == 3
    with pytest.raises(GuestError, match="x: no such command"):
        domain.said({"error": {"class": "CommandNotFound", "desc": "no such command"}}, "x")
