"""A VM is data: what is written down is read back, and names and addresses do not clash."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery.errors import ConfigurationError
from orrery.vm.spec import NicKind, VmNic, VmSpec, description, mac_address
from orrery.vm.wish import Wish
from tests.support import vm

FORWARD = {"kind": "user", "forwards": [{"host": 18600, "vm": 80}]}


def test_a_description_is_read_back_as_it_was(tmp_path: Path) -> None:
    nics = (VmNic(NicKind.USER, "52:54:00:00:00:01", "", ((18600, 80),)),)
    spec = vm.spec(tmp_path, nics=nics)
    description(tmp_path).write_text(spec.text())
    assert VmSpec.read(description(tmp_path)) == spec


def test_no_description_is_no_error(tmp_path: Path) -> None:
    assert VmSpec.read(description(tmp_path)) is None


def test_a_broken_description_says_how_to_get_rid_of_it(tmp_path: Path) -> None:
    description(tmp_path).write_text("{}")
    with pytest.raises(ConfigurationError, match=r"is no description of a VM.*\./lab down"):
        VmSpec.read(description(tmp_path))


def test_two_labs_have_other_domains_and_other_addresses(tmp_path: Path) -> None:
    one, two = vm.spec(tmp_path), vm.spec(tmp_path, lab_name="t-vm2")
    assert one.domain == "t-vm-lab-vm"
    assert two.domain == "t-vm2-lab-vm"
    assert one.nics[0].mac != two.nics[0].mac


def test_an_address_stays_the_same_and_is_locally_administered() -> None:
    assert mac_address("a", "b", 0) == mac_address("a", "b", 0)
    assert mac_address("a", "b", 0) != mac_address("a", "b", 1)
    assert mac_address("a", "b", 0).startswith("52:54:00:")


def test_a_wish_gets_addresses_for_its_further_interfaces(tmp_path: Path) -> None:
    bridge = {"kind": "bridge", "source": "br0", "mac": "52:54:00:AA:00:01"}
    wish = Wish.from_mapping(vm.wish(tmp_path, nics=[FORWARD, bridge]))
    assert [nic.kind for nic in wish.all_nics] == [NicKind.USER, NicKind.USER, NicKind.BRIDGE]
    assert wish.all_nics[2].mac == "52:54:00:aa:00:01"
    assert len({nic.mac for nic in wish.all_nics}) == 3
    assert wish.ports == [18499, 18600]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "Lab_VM"}, "vm_name: 'Lab_VM' found"),
        ({"driver": "xen"}, "vm_driver: 'xen' found; auto, libvirt, qemu are possible"),
        ({"accel": "hvf"}, "vm_accel: 'hvf' found"),
        ({"cpus": "two"}, "vm_cpus: 'two' found; a whole number from 1 on is needed"),
        ({"memory_mb": 64}, "vm_memory_mb: '64' found; a whole number from 512 on"),
        ({"ssh_port": 70000}, "vm_ssh_port: 70000 is no port"),
        ({"nics": [{"kind": "wifi"}]}, "vm_nics: kind 'wifi' found"),
        ({"nics": [{"kind": "bridge"}]}, "has source ''; a source, its name on the host"),
        ({"nics": [{"kind": "user", "source": "x"}]}, "has source 'x'; no source is needed"),
        ({"nics": [{**FORWARD, "kind": "tap", "source": "t"}]}, "kind user, not tap"),
    ],
)
def test_a_wish_that_is_off_names_the_variable(
    tmp_path: Path, values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Wish.from_mapping(vm.wish(tmp_path, **values))
