"""QEMU's command line follows from the machine, and what fails silently is refused before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orrery.errors import ConfigurationError, UsageError
from orrery.guest.machine import PEOPLE_MAC, Accel, Backing, Machine, Nic
from orrery.network.backends import Backend

NIC = Nic(Backend.VHOST_USER, "52:54:00:00:00:0b", queues=4, socket=Path("/run/t/vhost/a.sock"))
MACHINE = Machine(
    name="a",
    program=Path("/usr/bin/qemu-system-x86_64"),
    kernel=Path("/image/vmlinuz"),
    initrd=Path("/image/initrd"),
    folder=Path("/run/t/guests/a"),
    accel=Accel.TCG,
    nic=NIC,
    address="10.161.34.11/24",
    ssh_port=2222,
    keys=Path("/etc/t/guests"),
    hugepages=Path("/run/t/hugepages"),
)


def line(machine: Machine) -> str:
    return " ".join(str(word) for word in machine.argv())


def test_a_vhost_user_device_has_two_vectors_a_queue_pair_and_two_more() -> None:
    text = line(MACHINE)
    assert "vhost-user,id=net0,chardev=vhost0,queues=4" in text
    assert "mq=on,vectors=10" in text
    assert "path=/run/t/vhost/a.sock,server=on" in text


def test_without_msix_there_are_no_vectors() -> None:
    assert "mq=on,vectors=0" in line(replace(MACHINE, nic=replace(NIC, msix=False)))


def test_memory_is_shared_by_default_and_from_huge_pages_on_request() -> None:
    assert "memory-backend-memfd,id=ram0,size=256M,share=on" in line(MACHINE)
    huge = line(replace(MACHINE, backing=Backing.HUGEPAGES))
    assert "memory-backend-file,id=ram0,size=256M,mem-path=/run/t/hugepages,share=on" in huge


def test_huge_pages_that_the_lab_has_not_are_refused() -> None:
    # QEMU would make a file named None.
    with pytest.raises(ConfigurationError, match="the lab has none"):
        replace(MACHINE, backing=Backing.HUGEPAGES, hugepages=None).check()


def test_private_memory_with_vhost_user_is_refused_since_packets_would_vanish() -> None:
    with pytest.raises(ConfigurationError, match=r"share=on.*every packet would be lost"):
        replace(MACHINE, backing=Backing.PRIVATE).check()


def test_private_memory_is_fine_for_a_tap() -> None:
    nic = Nic(Backend.VIRTIO_NET, "52:54:00:00:00:0b", descriptors=(7,))
    machine = replace(MACHINE, backing=Backing.PRIVATE, nic=nic)
    machine.check()
    assert "tap,id=net0,fd=7,vhost=off" in line(machine)


def test_a_tap_has_a_descriptor_for_each_queue_pair() -> None:
    nic = Nic(Backend.VHOST_NET, "52:54:00:00:00:0b", queues=2, descriptors=(7, 8))
    assert "tap,id=net0,fds=7:8,vhost=on" in line(replace(MACHINE, nic=nic))
    with pytest.raises(ConfigurationError, match="1 tap queues for 2 queue pairs"):
        replace(MACHINE, nic=replace(nic, descriptors=(7,))).check()


@pytest.mark.parametrize("name", ["", "A", "1a", "a_b", "elevenchars", "-a"])
def test_a_name_that_does_not_fit_an_interface_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="small letter, then up to nine"):
        replace(MACHINE, name=name).check()


def test_more_queues_than_cpus_are_told_not_refused() -> None:
    MACHINE.check()
    assert "4 queue pairs with 2 CPUs" in MACHINE.advice()
    assert replace(MACHINE, cpus=4).advice() == ""


def test_people_have_an_interface_of_their_own_on_loopback_only() -> None:
    text = line(MACHINE)
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in text
    assert f"netdev=people0,mac={PEOPLE_MAC}" in text
    assert "people0" not in line(replace(MACHINE, ssh_port=0))


def test_tcg_and_kvm_get_the_processors_that_suit_them() -> None:
    assert "-accel tcg,thread=multi -cpu qemu64" in line(MACHINE)
    assert "-accel kvm -cpu host" in line(replace(MACHINE, accel=Accel.KVM))
    assert "-cpu max" in line(replace(MACHINE, cpu_model="max"))


def test_processors_under_tcg_start_when_devices_have_their_places() -> None:
    assert "maxcpus=1" in line(MACHINE)
    assert "maxcpus" not in line(replace(MACHINE, accel=Accel.KVM))
    assert "maxcpus" not in line(replace(MACHINE, cpus=1))


def test_a_machine_without_measured_interface_has_none() -> None:
    text = line(replace(MACHINE, nic=None))
    assert "net0" not in text


def test_rings_are_as_large_as_is_asked_for_where_qemu_lets_them() -> None:
    assert "queue_size" not in line(MACHINE)
    large = line(replace(MACHINE, nic=replace(NIC, ring_size=1024)))
    assert "rx_queue_size=1024,tx_queue_size=1024" in large
    tap = Nic(Backend.VIRTIO_NET, "52:54:00:00:00:0b", descriptors=(7,), ring_size=512)
    text = line(replace(MACHINE, nic=tap))
    assert "rx_queue_size=512" in text
    assert "tx_queue_size" not in text
    with pytest.raises(UsageError, match="rings of 300 buffers were asked for; 256, 512, 1024"):
        replace(MACHINE, nic=replace(NIC, ring_size=300)).check()


def test_rings_are_split_and_packets_span_buffers_unless_it_is_said() -> None:
    plain = line(MACHINE)
    assert "packed" not in plain
    assert "mrg_rxbuf" not in plain
    assert "vectors=10,packed=on,romfile=" in line(replace(MACHINE, nic=replace(NIC, packed=True)))
    single = line(replace(MACHINE, nic=replace(NIC, mrg_rxbuf=False)))
    assert "vectors=10,mrg_rxbuf=off,romfile=" in single


def test_a_machine_that_waits_for_a_guest_is_told_later_where_to_listen() -> None:
    assert "-incoming" not in line(MACHINE)
    assert line(replace(MACHINE, incoming=True)).endswith("-incoming defer")


def test_the_switch_announces_a_guest_that_does_not_do_it_itself() -> None:
    assert "guest_announce" not in line(MACHINE)
    silent = replace(MACHINE, nic=replace(NIC, announces=False))
    assert "guest_announce=off" in line(silent)
