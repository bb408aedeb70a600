"""NICs between their drivers and vfio-pci, on a host made of files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import lab_state_file as state_file
from ansible.module_utils.lab_pci import PciError

from plugins.module_utils import lab_pci
from plugins.module_utils.lab_pci import Machine
from plugins.modules import dpdk_bind
from plugins.modules.dpdk_bind import Record

FIRST, SECOND = "0000:03:00.0", "0000:03:00.1"
# 10.0.0.5:22 with 10.0.0.9, established; and port 80, which is no SSH.
TCP = """  sl  local_address rem_address   st
   0: 0500000A:0016 0900000A:C350 01 x
   1: 0600000A:0050 0900000A:C351 01 x
"""


class Fake(Machine):
    """A host of files whose kernel does what is written to it."""

    def __init__(self, root: Path) -> None:
        super().__init__(self.answer, root)
        self.answers: dict[str, Any] = {"-details address": [], "default": [], "route get": []}
        self.takes = True
        self.root = root
        for driver in ("ixgbe", "vfio-pci"):
            (self.pci / "drivers" / driver).mkdir(parents=True)
        self.vfio_mode.parent.mkdir(parents=True)
        self.vfio_mode.write_text("N\n")
        (self.proc / "net").mkdir(parents=True)
        self.net.mkdir(parents=True)

    def answer(self, argv: list[str]) -> tuple[int, str, str]:
        words = " ".join(argv)
        found: Any = next((value for key, value in self.answers.items() if key in words), [])
        return 0, json.dumps(found), ""

    def add(self, address: str, interface: str, group: str = "7", kind: str = "0x020000") -> None:
        """Plug a NIC in; its driver is ixgbe."""
        device = self.device(address)
        (device / "net" / interface).mkdir(parents=True)
        (device / "class").write_text(f"{kind}\n")
        (device / "driver_override").write_text("(null)\n")
        if group:
            members = self.root / "sys/kernel/iommu_groups" / group / "devices"
            members.mkdir(parents=True, exist_ok=True)
            (members / address).symlink_to(device)
            (device / "iommu_group").symlink_to(members.parent)
        self.attach(address, "ixgbe")

    def attach(self, address: str, driver: str) -> None:
        (self.device(address) / "driver").symlink_to(self.pci / "drivers" / driver)
        for folder in (self.device(address) / "net").iterdir():
            if driver == "ixgbe":
                (self.net / folder.name).mkdir()
                (self.net / folder.name / "device").symlink_to(self.device(address))

    def virtual(self, name: str, *lowers: str) -> None:
        (self.net / name).mkdir()
        for lower in lowers:
            (self.net / lower / f"upper_{name}").symlink_to(self.net / name)

    def link(self, name: str, *addresses: str, kind: str = "") -> None:
        entry = {
            "ifname": name,
            "flags": ["UP"],
            "addr_info": [{"local": one, "scope": "global"} for one in addresses],
            "linkinfo": {"info_kind": kind},
        }
        self.answers["-details address"].append(entry)

    def write(self, path: Path, text: str) -> None:
        if path.name == "unbind":
            address = text
            (self.device(address) / "driver").unlink()
            for folder in (self.device(address) / "net").iterdir():
                if (self.net / folder.name).exists():
                    (self.net / folder.name / "device").unlink()
                    (self.net / folder.name).rmdir()
        elif path.name == "drivers_probe":
            if self.takes:
                self.attach(text, (self.device(text) / "driver_override").read_text())
        elif path.name == "bind":
            self.attach(text, path.parent.name)
        elif path.name == "driver_override" and not text.strip():
            path.write_text("(null)\n")
        else:
            path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Fake:
    fake = Fake(tmp_path / "host")
    fake.add(FIRST, "eth1")
    return fake


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lib" / "mine" / "state.json"


def apply(machine: Machine, path: Path, *names: str, **more: Any) -> tuple[list[str], list[str]]:
    params = {"devices": list(names), "state": "present", "in_use": False, "allow_no_iommu": False}
    params |= more
    return dpdk_bind.apply(machine, params, Record(path, "mine"), dry=more.get("dry", False))


def refusal(machine: Machine, path: Path, *names: str, **more: Any) -> str:
    with pytest.raises(PciError) as refused:
        apply(machine, path, *names, **more)
    assert not path.exists()
    return str(refused.value)


def test_a_nic_is_bound_once_and_given_back(machine: Fake, path: Path) -> None:
    assert apply(machine, path, "eth1", dry=True) == ([FIRST], [])
    assert machine.driver(FIRST) == "ixgbe"
    assert apply(machine, path, "eth1") == ([FIRST], [])
    assert machine.driver(FIRST) == "vfio-pci"
    state = state_file.read(path, "mine")
    assert state["facts"]["dpdk_bound"] == [FIRST]
    assert state["before"]["dpdk_bound"]["devices"][FIRST]["driver"] == "ixgbe"
    # The interface is gone now, and its name still says which NIC is meant.
    assert machine.interfaces() == []
    for name in ("eth1", FIRST, "03:00.0"):
        assert apply(machine, path, name) == ([], [])
    assert apply(machine, path, "eth1", state="absent") == ([], [FIRST])
    assert machine.driver(FIRST) == "ixgbe"
    assert (machine.device(FIRST) / "driver_override").read_text() == "(null)\n"
    assert machine.interfaces() == ["eth1"]
    assert state_file.read(path, "mine") == state_file.empty("mine")
    assert apply(machine, path, state="absent") == ([], [])


def test_a_nic_that_is_named_no_longer_goes_back(machine: Fake, path: Path) -> None:
    machine.add(SECOND, "eth2", group="8")
    apply(machine, path, "eth1", "eth2")
    assert apply(machine, path, "eth2") == ([], [FIRST])
    assert (machine.driver(FIRST), machine.driver(SECOND)) == ("ixgbe", "vfio-pci")


def test_an_empty_name_is_none(machine: Fake, path: Path) -> None:
    assert apply(machine, path, "") == ([], [])
    apply(machine, path, "eth1")
    assert apply(machine, path, "") == ([], [FIRST])


def test_a_boot_is_noticed_and_the_nic_bound_again(machine: Fake, path: Path) -> None:
    apply(machine, path, "eth1")
    machine.write(machine.device(FIRST) / "driver" / "unbind", FIRST)
    machine.attach(FIRST, "ixgbe")
    assert apply(machine, path, "eth1") == ([FIRST], [])


def test_a_nic_that_somebody_bound_already_is_left_to_them(machine: Fake, path: Path) -> None:
    machine.write(machine.device(FIRST) / "driver" / "unbind", FIRST)
    machine.attach(FIRST, "vfio-pci")
    assert apply(machine, path, FIRST) == ([], [])
    assert apply(machine, path, state="absent") == ([], [])
    assert machine.driver(FIRST) == "vfio-pci"


def test_the_default_route_is_kept_of_either_family_and_of_each_next_hop(
    machine: Fake, path: Path
) -> None:
    machine.answers["default"] = [{"dst": "default", "nexthops": [{"dev": "x"}, {"dev": "eth1"}]}]
    for name in ("eth1", FIRST):
        assert refusal(machine, path, name, in_use=True) == (
            "dpdk_bind: eth1 carries the default route of this host, which would be cut off. "
            "Name another NIC in dpdk_bind."
        )


def test_a_default_route_protects_what_lies_below(machine: Fake, path: Path) -> None:
    machine.virtual("bond0", "eth1")
    machine.virtual("bond0.5", "bond0")
    machine.virtual("br0", "bond0.5")
    machine.answers["default"] = [{"dst": "default", "dev": "br0"}]
    text = refusal(machine, path, "eth1", in_use=True)
    assert "eth1 carries the default route of this host (through br0)" in text


def test_a_default_route_on_a_bridge_of_open_vswitch_protects_its_ports(
    machine: Fake, path: Path
) -> None:
    machine.virtual("ovs-system", "eth1")
    machine.link("br-ex", "10.0.0.5", kind="openvswitch")
    machine.answers["default"] = [{"dst": "default", "dev": "br-ex"}]
    assert "(through br-ex)" in refusal(machine, path, "eth1", in_use=True)


def test_the_nic_of_an_ssh_connection_is_kept(machine: Fake, path: Path) -> None:
    machine.link("eth1", "10.0.0.5")
    (machine.proc / "net/tcp").write_text(TCP)
    text = refusal(machine, path, "eth1", in_use=True)
    assert "eth1 carries an SSH connection of this host" in text


def test_the_way_back_of_an_ssh_connection_is_kept(machine: Fake, path: Path) -> None:
    (machine.proc / "net/tcp").write_text(TCP)
    machine.answers["route get"] = [{"dst": "10.0.0.9", "dev": "eth1"}]
    assert "an SSH connection" in refusal(machine, path, "eth1", in_use=True)


def test_this_session_is_known_by_its_environment(machine: Fake, path: Path) -> None:
    machine.link("eth1", "10.0.0.5")
    folder = machine.proc / str(os.getpid())
    folder.mkdir()
    (folder / "environ").write_bytes(b"SSH_CONNECTION=10.0.0.9 5000 10.0.0.5 2222\0")
    (folder / "stat").write_text("1 (x) S 0")
    assert "an SSH connection" in refusal(machine, path, "eth1", in_use=True)


def test_connections_of_other_services_protect_nothing(machine: Fake, path: Path) -> None:
    assert lab_pci.parse_peers(TCP, {22}) == {("10.0.0.5", "10.0.0.9")}
    machine.link("eth1")
    machine.link("eth9", "10.0.0.5")
    (machine.proc / "net/tcp").write_text(TCP)
    assert apply(machine, path, "eth1") == ([FIRST], [])


def test_a_nic_in_use_needs_the_variable(machine: Fake, path: Path) -> None:
    machine.link("eth1", "10.9.0.1")
    text = refusal(machine, path, "eth1")
    assert text == (
        "dpdk_bind: eth1 is up and has 10.9.0.1. Take it down, or set dpdk_bind_in_use to true."
    )
    machine.virtual("br0", "eth1")
    assert "eth1 is a member of br0" in refusal(machine, path, FIRST)
    (machine.net / "eth1" / "upper_br0").unlink()
    assert apply(machine, path, "eth1", in_use=True) == ([FIRST], [])


def test_a_device_without_iommu_needs_the_variable_and_the_mode_goes_back(
    machine: Fake, path: Path
) -> None:
    machine.add(SECOND, "eth2", group="")
    text = refusal(machine, path, "eth2")
    assert f"{SECOND} is in no IOMMU group" in text
    for word in ("intel_iommu=on", "amd_iommu=on", "dpdk_allow_no_iommu"):
        assert word in text
    assert apply(machine, path, "eth2", allow_no_iommu=True) == ([SECOND], [])
    assert machine.vfio_mode.read_text() == "Y"
    apply(machine, path, state="absent")
    assert machine.vfio_mode.read_text() == "N"


def test_what_is_no_nic_is_refused(machine: Fake, path: Path) -> None:
    machine.add("0000:05:00.0", "disk0", kind="0x010802")
    machine.virtual("dummy0")
    assert "is no network device (class 0x010802)" in refusal(machine, path, "05:00.0")
    assert "dummy0 is no PCI device" in refusal(machine, path, "dummy0")
    assert "there is no NIC 'eth7' here; interfaces are disk0, dummy0, eth1" in refusal(
        machine, path, "eth7"
    )


def test_a_group_that_is_shared_is_refused(machine: Fake, path: Path) -> None:
    machine.add(SECOND, "eth2")
    text = refusal(machine, path, "eth1")
    assert f"{FIRST} shares its IOMMU group with {SECOND} (driver ixgbe)" in text
    assert apply(machine, path, "eth1", "eth2") == ([FIRST, SECOND], [])


def test_a_kernel_that_refuses_leaves_the_nic_with_its_driver(machine: Fake, path: Path) -> None:
    machine.takes = False
    with pytest.raises(PciError, match="did not give 0000:03:00.0 to vfio-pci; ixgbe has it again"):
        apply(machine, path, "eth1")
    assert machine.driver(FIRST) == "ixgbe"
    assert "dpdk_bound" not in state_file.read(path, "mine")["before"]


def test_a_kernel_without_vfio_is_told_so(machine: Fake, path: Path) -> None:
    (machine.pci / "drivers/vfio-pci").rmdir()
    assert "this kernel has no driver vfio-pci" in refusal(machine, path, "eth1")


def test_a_nic_that_a_program_has_open_is_not_taken_from_it(machine: Fake, path: Path) -> None:
    apply(machine, path, "eth1")
    handles = machine.proc / "77" / "fd"
    handles.mkdir(parents=True)
    (handles / "3").symlink_to("/dev/vfio/7")
    with pytest.raises(PciError, match="is in use by the process 77"):
        apply(machine, path, state="absent")
    assert machine.driver(FIRST) == "vfio-pci"


def test_the_nic_of_another_lab_is_not_taken(machine: Fake, path: Path) -> None:
    other = path.parent.parent / "other" / "state.json"
    state = {**state_file.empty("other"), "facts": {"dpdk_bound": [FIRST]}}
    state_file.write(other, state)
    assert f"{FIRST} belongs to the lab 'other'" in refusal(machine, path, "eth1")


def test_a_virtio_nic_lies_one_deeper_than_its_pci_device(tmp_path: Path) -> None:
    machine = Machine(lambda argv: (0, "", ""), tmp_path)
    device = tmp_path / "sys/devices/pci0000:00/0000:00:03.0/virtio2"
    device.mkdir(parents=True)
    (machine.net / "eth0").mkdir(parents=True)
    (machine.net / "eth0/device").symlink_to(device)
    assert machine.address_of("eth0") == "0000:00:03.0"
