"""What does not fit is said with both values, before anything is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orrery.drill.preflight import Spec, compare, require, spec_of
from orrery.errors import ConfigurationError
from orrery.guest.machine import Accel, Backing, Machine, Nic
from orrery.network.backends import Backend

GOOD = Spec(
    version="10.0.2",
    machine="q35",
    accel="tcg",
    cpu="qemu64",
    cpus=1,
    memory_mb=512,
    memory="ram0",
    shared=True,
    backend="vhost-user",
    mac="52:54:00:00:00:0b",
    queues=1,
    vectors=4,
)


def machine(backing: Backing = Backing.MEMFD, **nic: object) -> Machine:
    made = Nic(Backend.VHOST_USER, "52:54:00:00:00:0b", socket=Path("/s"))
    return Machine(
        name="a",
        program=Path("/usr/bin/qemu-system-x86_64"),
        kernel=Path("/k"),
        initrd=Path("/i"),
        folder=Path("/f"),
        accel=Accel.TCG,
        cpus=1,
        memory_mb=512,
        backing=backing,
        nic=replace(made, **nic),  # type: ignore[arg-type] # fields by name
    )


def spec(one: Machine, version: str = "10.0.2") -> Spec:
    return spec_of([str(word) for word in one.argv()], version)


def test_a_machine_of_the_lab_is_read_from_its_command_line() -> None:
    found = spec(machine())
    assert replace(found, devices=()) == GOOD
    assert "virtio-net-pci" in found.devices


def test_the_same_machine_fits_whatever_its_sockets_and_name() -> None:
    other = replace(machine(), name="b", folder=Path("/g"), incoming=True)
    assert not compare(spec(machine()), spec(other))


@pytest.mark.parametrize(
    ("nic", "text"),
    [
        ({"queues": 2}, "queue pairs: source 1, destination 2"),
        (
            {"mac": "52:54:00:00:00:0c"},
            "MAC: source 52:54:00:00:00:0b, destination 52:54:00:00:00:0c",
        ),
        ({"packed": True}, "features of the interface: source none, destination packed=on"),
        ({"announces": False}, "destination guest_announce=off"),
        ({"ring_size": 1024}, "(receive, send): source 256, 256, destination 1024, 1024"),
        ({"msix": False}, "interrupt vectors: source 4, destination 0"),
    ],
)
def test_an_interface_that_differs_is_named_with_both_values(
    nic: dict[str, object], text: str
) -> None:
    assert text in "\n".join(
        map(str, compare(spec(machine()), spec(machine(Backing.MEMFD, **nic))))
    )


def test_private_memory_is_found_where_the_switch_has_to_map_it() -> None:
    found = compare(GOOD, replace(GOOD, shared=False))
    assert [str(one) for one in found] == [
        "memory: source shared, destination private (the switch has to map it: otherwise every "
        "packet is lost without a word)"
    ]


def test_private_memory_is_no_matter_behind_a_tap() -> None:
    tap = replace(GOOD, backend="tap", shared=False)
    assert not compare(tap, tap)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"memory_mb": 448}, "memory [MB]: source 512, destination 448"),
        ({"machine": "pc"}, "machine type: source q35, destination pc"),
        ({"accel": "kvm"}, "acceleration: source tcg, destination kvm"),
        ({"cpus": 2}, "processors: source 1, destination 2"),
        ({"version": "7.2.22"}, "QEMU: source 10.0.2, destination 7.2.22 (an older QEMU"),
        ({"version": "10.1.0"}, "'q35' means another machine type in each QEMU"),
    ],
)
def test_a_machine_that_differs_is_named_with_both_values(
    change: dict[str, object], text: str
) -> None:
    other = replace(GOOD, **change)  # type: ignore[arg-type] # fields by name
    assert text in "\n".join(map(str, compare(GOOD, other)))


def test_a_newer_qemu_takes_a_machine_whose_type_is_named_in_full() -> None:
    old = replace(GOOD, version="10.0.2", machine="pc-q35-10.0")
    assert not compare(old, replace(old, version="10.1.0"))


def test_a_refusal_lists_every_difference() -> None:
    other = replace(GOOD, queues=2, memory_mb=256)
    with pytest.raises(ConfigurationError) as caught:
        require(GOOD, other)
    text = str(caught.value)
    assert "nothing was started" in text
    assert "queue pairs: source 1, destination 2" in text
    assert "memory [MB]: source 512, destination 256" in text


def test_queues_of_a_tap_are_counted_by_their_descriptors() -> None:
    nic = Nic(Backend.VIRTIO_NET_OVS, "52:54:00:00:00:0b", queues=2, descriptors=(5, 6))
    assert spec(replace(machine(), nic=nic)).queues == 2
    assert spec(replace(machine(), nic=None)).backend == ""
