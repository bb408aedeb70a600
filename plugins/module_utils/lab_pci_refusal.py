"""Which NICs a lab must not take from a host, and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible.module_utils.lab_pci import ADDRESS, Link, Machine, PciError

VFIO = "vfio-pci"
NETWORK_CLASS = "0x02"
BRIDGE_CLASS = "0x06"


@dataclass
class Guard:
    """What the host needs of its NICs, found out once.

    Attributes:
        in_use: Whether members of bonds and bridges, and NICs with addresses, may be taken.
        no_iommu: Whether devices without an IOMMU group may be taken.
    """

    machine: Machine
    in_use: bool
    no_iommu: bool
    links: dict[str, Link] = field(init=False)
    routes: set[str] = field(init=False)
    ssh: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.links = self.machine.links()
        self.routes = self.machine.default_routes()
        self.ssh = self.machine.ssh_interfaces(self.links)

    def carried(self, interface: str, carriers: set[str]) -> str:
        """Which of the interfaces an interface is, or lies below; empty when none."""
        above = self.machine.uppers(interface)
        if "ovs-system" in above:
            # A bridge of Open vSwitch in the kernel is no upper device of its ports.
            above |= {link.name for link in self.links.values() if link.kind == "openvswitch"}
        return next((name for name in sorted({interface, *above}) if name in carriers), "")

    def check_interface(self, interface: str) -> None:
        """Refuse an interface that the host or its users need.

        Raises:
            PciError: It is one.
        """
        for carriers, what in (
            (self.routes, "the default route"),
            (self.ssh, "an SSH connection"),
        ):
            if through := self.carried(interface, carriers):
                via = f" (through {through})" if through != interface else ""
                raise PciError(
                    f"dpdk_bind: {interface} carries {what} of this host{via}, which would be cut "
                    "off. Name another NIC in dpdk_bind."
                )
        if self.in_use:
            return
        link, above = self.links.get(interface), self.machine.uppers(interface)
        if above:
            raise PciError(
                f"dpdk_bind: {interface} is a member of {', '.join(sorted(above))}. Take it out "
                "of there, or set dpdk_bind_in_use to true."
            )
        if link and link.up and link.addresses:
            raise PciError(
                f"dpdk_bind: {interface} is up and has {', '.join(link.addresses)}. Take it down, "
                "or set dpdk_bind_in_use to true."
            )

    def resolve(self, name: str) -> str:
        """The PCI address of what a user names, after its interfaces were checked.

        Raises:
            PciError: There is no such device, or it may not be taken.
        """
        machine = self.machine
        if name in machine.interfaces():
            self.check_interface(name)
            address = machine.address_of(name)
            if not address:
                raise PciError(
                    f"dpdk_bind: {name} is no PCI device, so that {VFIO} cannot have it. Name a "
                    "physical NIC."
                )
        else:
            lower = name.lower()
            address = f"0000:{lower}" if ADDRESS.fullmatch(f"0000:{lower}") else lower
            if not ADDRESS.fullmatch(address) or not machine.device(address).exists():
                raise PciError(
                    f"dpdk_bind: there is no NIC '{name}' here; interfaces are "
                    f"{', '.join(machine.interfaces()) or 'none'}. Set dpdk_bind to names of "
                    "interfaces or PCI addresses like 0000:03:00.0."
                )
        for interface in machine.interfaces_of(address):
            self.check_interface(interface)
        return address

    def check_device(self, address: str, wanted: set[str]) -> None:
        """Refuse a device that is no NIC, or that cannot be kept apart from the rest of the host.

        Args:
            address: The device.
            wanted: All devices that are to be bound.

        Raises:
            PciError: It is one.
        """
        machine = self.machine
        kind = machine.text(machine.device(address) / "class")
        if not kind.startswith(NETWORK_CLASS):
            raise PciError(f"dpdk_bind: {address} is no network device (class {kind}).")
        if not machine.group(address):
            if not self.no_iommu:
                raise PciError(
                    f"dpdk_bind: {address} is in no IOMMU group: it could write to all memory. "
                    "Boot with intel_iommu=on or amd_iommu=on on the kernel's command line (and "
                    "VT-d or AMD-Vi on in the firmware), or set dpdk_allow_no_iommu to true."
                )
            return
        group = machine.device(address) / "iommu_group" / "devices"
        for other in sorted(path.name for path in group.glob("*")):
            kind = machine.text(machine.device(other) / "class")
            driver = machine.driver(other)
            if other in wanted or kind.startswith(BRIDGE_CLASS) or driver in ("", VFIO):
                continue
            raise PciError(
                f"dpdk_bind: {address} shares its IOMMU group with {other} (driver {driver}); "
                f"{VFIO} takes a group as a whole. Put the NIC into another slot, or name both."
            )
