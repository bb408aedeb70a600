#!/usr/bin/python
"""Ansible module: NICs that DPDK drives, through vfio-pci."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: dpdk_bind
short_description: Gives NICs to vfio-pci, and back to their drivers
description:
  - Binds the named NICs and remembers the driver that each had; those that are named no longer go
    back. NICs that somebody else bound already stay as they are.
  - Refuses a NIC that carries a default route or an SSH connection, also below bonds, bridges and
    VLANs; one that is in use; one without an IOMMU group.
options:
  devices:
    description: Interfaces or PCI addresses.
    type: list
    elements: str
    default: []
  state: {type: str, choices: [present, absent], default: present, description: absent names none.}
  lab_name: {type: str, required: true, description: Lab that the NICs belong to.}
  state_file: {type: path, required: true, description: State file that remembers the drivers.}
  in_use:
    type: bool
    default: false
    description: Whether members of bonds and bridges and NICs with addresses may be taken.
  allow_no_iommu:
    type: bool
    default: false
    description: Whether vfio's unsafe mode may be switched on for NICs without an IOMMU group.
  root: {type: path, default: /, description: Folder that holds sys and proc, for tests.}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Give two NICs to DPDK
  dpdk_bind:
    devices: [eth1, "0000:03:00.1"]
    lab_name: orrery
    state_file: /var/lib/orrery/state.json
"""

RETURN = r"""
bound:
  description: PCI addresses that the lab has bound.
  type: list
  elements: str
  returned: always
"""

import contextlib
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_state_file as state_file
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab_pci import Machine, PciError, Runner
from ansible.module_utils.lab_pci_refusal import VFIO, Guard

ARGUMENTS: dict[str, Any] = {
    "devices": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "lab_name": {"type": "str", "required": True},
    "state_file": {"type": "path", "required": True},
    "in_use": {"type": "bool", "default": False},
    "allow_no_iommu": {"type": "bool", "default": False},
    "root": {"type": "path", "default": "/"},
}
KEY = "dpdk_bound"
# What sysfs shows where no driver is asked for.
NO_OVERRIDE = "(null)"


class Record:
    """What the state file knows: each NIC's driver, interfaces and override before us."""

    def __init__(self, path: Path, lab_name: str) -> None:
        self.path, self.lab_name = path, lab_name
        known = state_file.read(path, lab_name)["before"].get(KEY) or {}
        self.devices: dict[str, dict[str, Any]] = dict(known.get("devices") or {})
        self.no_iommu = str(known.get("no_iommu", ""))

    def find(self, name: str) -> str:
        """The address of a NIC of ours; its interface is gone while vfio has it."""
        for address, entry in self.devices.items():
            if name in (address, address.removeprefix("0000:"), *entry.get("interfaces", [])):
                return address
        return ""

    def other_owner(self, address: str) -> str:
        """Another lab that has a NIC."""
        for other in state_file.other_labs(self.path, self.lab_name).values():
            if address in (other["facts"].get(KEY) or []):
                return str(other["lab_name"])
        return ""

    def others_bind(self) -> bool:
        """Whether another lab has any NIC."""
        others = state_file.other_labs(self.path, self.lab_name).values()
        return any(other["facts"].get(KEY) for other in others)

    def save(self) -> None:
        """Write it down."""
        with state_file.locked(self.path):
            state = state_file.read(self.path, self.lab_name)
            new = state_file.without(state_file.without(state, "facts", KEY), "before", KEY)
            if self.devices:
                new["facts"][KEY] = sorted(self.devices)
            if self.devices or self.no_iommu:
                new["before"][KEY] = {"devices": self.devices, "no_iommu": self.no_iommu}
            if new != state:
                state_file.write(self.path, new)


def wanted_addresses(machine: Machine, params: dict[str, Any], record: Record) -> list[str]:
    """Addresses of the NICs that are asked for, those to be bound checked.

    Raises:
        PciError: One of them may not be taken.
    """
    # -e dpdk_bind= arrives as one name that is empty.
    names = [name for name in params["devices"] if name] if params["state"] == "present" else []
    ours = {name: record.find(name) for name in names}
    kept = {address for address in ours.values() if address and machine.driver(address) == VFIO}
    rest = [name for name in names if ours[name] not in kept]
    if not rest:
        return sorted(kept)
    guard = Guard(machine, params["in_use"], params["allow_no_iommu"])
    new = {guard.resolve(name) for name in rest}
    for address in sorted(new):
        if owner := record.other_owner(address):
            raise PciError(
                f"dpdk_bind: {address} belongs to the lab '{owner}'. Name another NIC, or take "
                "that lab down."
            )
        if machine.driver(address) != VFIO:
            guard.check_device(address, kept | new)
    return sorted(kept | new)


def load_vfio(machine: Machine) -> None:
    """Have the driver in the kernel.

    Raises:
        PciError: This kernel has none.
    """
    if (machine.pci / "drivers" / VFIO).exists():
        return
    _, _, err = machine.run(["modprobe", VFIO])
    if not (machine.pci / "drivers" / VFIO).exists():
        raise PciError(
            f"dpdk_bind: this kernel has no driver {VFIO} (modprobe: {err.strip() or 'nothing'}). "
            "Boot a kernel of the distribution, or leave dpdk_bind empty."
        )


def allow_unsafe(machine: Machine, record: Record) -> None:
    """Switch on vfio's mode without IOMMU, and remember how it was.

    Raises:
        PciError: This kernel has no such mode.
    """
    now = machine.text(machine.vfio_mode)
    if not now:
        raise PciError(
            "dpdk_bind: this kernel's vfio has no mode without IOMMU (CONFIG_VFIO_NOIOMMU). "
            "Boot with intel_iommu=on or amd_iommu=on."
        )
    if now != "Y":
        record.no_iommu = record.no_iommu or now
        record.save()
        machine.write(machine.vfio_mode, "Y")


def bind(machine: Machine, record: Record, address: str) -> None:
    """Give a NIC to vfio-pci.

    Raises:
        PciError: The kernel refused; its driver has it back.
    """
    device, driver = machine.device(address), machine.driver(address)
    override = machine.text(device / "driver_override") or NO_OVERRIDE
    entry = {"driver": driver, "interfaces": machine.interfaces_of(address), "override": override}
    record.devices.setdefault(address, entry)
    # Written first: whatever interrupts us, absent knows what to give back.
    record.save()
    machine.write(device / "driver_override", VFIO)
    if driver:
        machine.write(device / "driver" / "unbind", address)
    # The kernel says no with an error, or with a device that has no driver.
    with contextlib.suppress(OSError):
        machine.write(machine.pci / "drivers_probe", address)
    if machine.driver(address) != VFIO:
        release(machine, record, address)
        raise PciError(
            f"dpdk_bind: the kernel did not give {address} to {VFIO}; {driver or 'nobody'} has it "
            "again. The last lines of dmesg say why."
        )


def release(machine: Machine, record: Record, address: str) -> None:
    """Give a NIC back to the driver that had it.

    Raises:
        PciError: A program uses it, or its driver does not take it.
    """
    entry, device = record.devices[address], machine.device(address)
    if device.exists():
        if users := machine.users(address):
            raise PciError(
                f"dpdk_bind: {address} is in use by the process {users[0]}; the kernel would wait "
                "for its end. Stop that first."
            )
        override = entry.get("override", NO_OVERRIDE)
        machine.write(
            device / "driver_override", "\n" if override == NO_OVERRIDE else f"{override}\n"
        )
        if machine.driver(address) == VFIO:
            machine.write(device / "driver" / "unbind", address)
        if entry["driver"] and not machine.driver(address):
            with contextlib.suppress(OSError):
                machine.write(machine.pci / "drivers" / entry["driver"] / "bind", address)
        if entry["driver"] and machine.driver(address) != entry["driver"]:
            raise PciError(
                f"dpdk_bind: {address} did not go back to {entry['driver']}. Try modprobe "
                f"{entry['driver']}, and run again."
            )
    del record.devices[address]
    record.save()


def restore_mode(machine: Machine, record: Record) -> None:
    """Switch vfio's mode back when we changed it, and nobody else needs it."""
    if record.devices or not record.no_iommu:
        return
    if not record.others_bind() and machine.text(machine.vfio_mode) == "Y":
        machine.write(machine.vfio_mode, record.no_iommu)
    record.no_iommu = ""
    record.save()


def apply(
    machine: Machine, params: dict[str, Any], record: Record, *, dry: bool
) -> tuple[list[str], list[str]]:
    """Bring the NICs to the wanted drivers; gives those that are bound and those given back.

    Raises:
        PciError: One may not be taken, or the kernel refuses.
    """
    wanted = wanted_addresses(machine, params, record)
    coming = [address for address in wanted if machine.driver(address) != VFIO]
    going = sorted(set(record.devices) - set(wanted))
    if dry:
        return coming, going
    try:
        for address in going:
            release(machine, record, address)
        if coming:
            load_vfio(machine)
        if any(not machine.group(address) for address in coming):
            allow_unsafe(machine, record)
        for address in coming:
            bind(machine, record, address)
    finally:
        restore_mode(machine, record)
    return coming, going


def runner(module: AnsibleModule) -> Runner:
    """Runs programs; one that is missing ends with 127."""

    def run(argv: list[str]) -> tuple[int, str, str]:
        if shutil.which(argv[0]) is None:
            return 127, "", f"there is no program {argv[0]}"
        code, out, err = module.run_command(argv)
        return int(code), str(out), str(err)

    return run


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    machine = Machine(runner(module), Path(params["root"]))
    try:
        record = Record(Path(params["state_file"]), params["lab_name"])
        had = dict(record.devices)
        drivers = {address: machine.driver(address) for address in had}
        coming, going = apply(machine, params, record, dry=module.check_mode)
    except PciError as error:
        module.fail_json(msg=str(error))
    except (state_file.StateFileError, OSError) as error:
        module.fail_json(msg=f"dpdk_bind: {error}")
    before = [f"{address}: {drivers.get(address, 'own driver')}\n" for address in (*coming, *going)]
    after = [f"{address}: {VFIO}\n" for address in coming]
    after += [f"{address}: {had[address]['driver'] or 'no driver'}\n" for address in going]
    module.exit_json(
        changed=bool(coming or going),
        bound=sorted(record.devices),
        diff={"before": "".join(before), "after": "".join(after)},
    )


if __name__ == "__main__":
    main()
