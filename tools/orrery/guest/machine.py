"""A guest as data: its QEMU command line, and the rules that fail silently when broken."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from orrery.errors import ConfigurationError, UsageError
from orrery.guest.boot import boot_options
from orrery.guest.disk import Disk
from orrery.network.backends import PATHS, RING_SIZES, Backend

NAME = re.compile(r"[a-z][a-z0-9-]{0,9}")
"""`tap-` and `vh-` and the name have to fit into the 15 characters of an interface's name."""

VECTORS_BESIDE_QUEUES = 2
"""Interrupts of virtio-net for its configuration and its control queue (virtio 1.2, 5.1.2)."""
AGENT_PORT = "org.qemu.guest_agent.0"
PEOPLE_MAC = "52:54:00:ff:00:01"
"""Of the interface that people use; every guest has its own network behind it."""


class Accel(StrEnum):
    """What executes the guest's instructions."""

    KVM = "kvm"
    TCG = "tcg"


class Backing(StrEnum):
    """What the guest's memory is made of."""

    MEMFD = "memfd"
    HUGEPAGES = "hugepages"
    PRIVATE = "private"


CPU_MODEL = {Accel.KVM: "host", Accel.TCG: "qemu64"}
"""TCG emulates the plainest model fastest; `max` is for programs that need SSE4 or AVX."""
DISK_CPU_MODEL = {Accel.KVM: "host", Accel.TCG: "max"}
"""CentOS Stream 9 is compiled for x86-64-v2, and 10 for v3."""


DATA_NODE = "data0"
"""What the monitor calls a guest's further disk."""


@dataclass(frozen=True)
class Nic:
    """The measured interface.

    Attributes:
        queues: Queue pairs.
        msix: Whether each queue has its own interrupt; without, all share one.
        socket: Of vhost-user; QEMU listens, the switch connects, so that it may restart.
        descriptors: Of the tap, one for each queue pair.
        packed: Whether rings have the packed layout (virtio 1.1, 2.7), where both sides can.
        mrg_rxbuf: Whether a packet may span several receive buffers (virtio 1.1, 5.1.6.3.1).
        ring_size: Buffers of each ring; behind a tap those that send have 256 at most.
        announces: Whether the guest itself says where it is after a move (guest announcement,
            virtio 1.1, 5.1.6.5.4); without, QEMU or the switch says it in its place.
    """

    backend: Backend
    mac: str
    queues: int = 1
    msix: bool = True
    socket: Path | None = None
    descriptors: tuple[int, ...] = ()
    packed: bool = False
    mrg_rxbuf: bool = True
    ring_size: int = RING_SIZES[0]
    announces: bool = True

    @property
    def vectors(self) -> int:
        """Interrupt vectors of the device."""
        return 2 * self.queues + VECTORS_BESIDE_QUEUES if self.msix else 0

    def arguments(self) -> list[str]:
        """Its part of the command line."""
        multi = "on" if self.queues > 1 else "off"
        device = f"virtio-net-pci,netdev=net0,disable-legacy=on,mac={self.mac}"
        device += f",mq={multi},vectors={self.vectors}"
        device += ",packed=on" if self.packed else ""
        device += "" if self.mrg_rxbuf else ",mrg_rxbuf=off"
        device += "" if self.announces else ",guest_announce=off"
        device += self._sizes()
        words = ["-device", f"{device},romfile="]
        if self.backend is Backend.VHOST_USER:
            return [
                *["-chardev", f"socket,id=vhost0,path={self.socket},server=on,wait=off"],
                *["-netdev", f"vhost-user,id=net0,chardev=vhost0,queues={self.queues}"],
                *words,
            ]
        many = len(self.descriptors) > 1
        numbers = ":".join(map(str, self.descriptors))
        netdev = f"tap,id=net0,{'fds' if many else 'fd'}={numbers}"
        netdev += f",vhost={'on' if self.backend is Backend.VHOST_NET else 'off'}"
        return ["-netdev", netdev, *words]

    def _sizes(self) -> str:
        if self.ring_size == RING_SIZES[0]:
            return ""
        sizes = f",rx_queue_size={self.ring_size}"
        if self.backend is Backend.VHOST_USER:
            sizes += f",tx_queue_size={self.ring_size}"
        return sizes


@dataclass(frozen=True)
class Machine:
    """A guest.

    Attributes:
        program: QEMU.
        folder: Its run files: sockets, logs.
        memory_mb: Memory [MB].
        address: Of the measured interface with prefix length; empty for none.
        ssh_port: On 127.0.0.1 of the host, forwarded to the guest's 22; 0 for no such interface.
        keys: Folder with `id_ed25519.pub` and `host_key`.
        hugepages: Mount that guests' memory comes from with `Backing.HUGEPAGES`.
        incoming: Whether it waits for a guest that moves here, instead of starting one.
        disk: What it starts from instead of kernel and initrd; None for those.
        data: Raw image of a further disk. QEMU locks it: of two that have it one may write, and one
            that waits for a guest gets the lock with the guest. None for none.
    """

    name: str
    program: Path
    kernel: Path
    initrd: Path
    folder: Path
    accel: Accel
    cpus: int = 2
    memory_mb: int = 256
    backing: Backing = Backing.MEMFD
    nic: Nic | None = None
    address: str = ""
    ssh_port: int = 0
    keys: Path | None = None
    hugepages: Path | None = None
    cpu_model: str = ""
    incoming: bool = False
    disk: Disk | None = None
    data: Path | None = None

    @property
    def monitor(self) -> Path:
        """Socket of QMP."""
        return self.folder / "monitor.sock"

    @property
    def agent(self) -> Path:
        """Socket of the guest agent's channel."""
        return self.folder / "agent.sock"

    @property
    def console(self) -> Path:
        """Socket of the serial console."""
        return self.folder / "console.sock"

    @property
    def console_log(self) -> Path:
        """All that the console has said; readiness is read from here, not from the socket."""
        return self.folder / "console.log"

    def check(self) -> None:
        """Enforce what would otherwise fail without a word.

        Raises:
            UsageError: The name is none, or numbers are out of range.
            ConfigurationError: Memory or queues do not fit the backend.
        """
        if not NAME.fullmatch(self.name):
            raise UsageError(
                f"guest name '{self.name}': needed is a small letter, then up to nine of "
                "a-z, 0-9 and - (it becomes part of an interface's name)"
            )
        if self.backing is Backing.HUGEPAGES and self.hugepages is None:
            raise ConfigurationError(
                f"guest {self.name}: memory from huge pages was asked for, and the lab has none. "
                "Run ./lab up, or use --memory-backing memfd."
            )
        if self.nic is None:
            return
        if self.nic.ring_size not in RING_SIZES:
            raise UsageError(
                f"guest {self.name}: rings of {self.nic.ring_size} buffers were asked for; "
                f"{', '.join(map(str, RING_SIZES))} are there"
            )
        if self.nic.backend is Backend.VHOST_USER and self.backing is Backing.PRIVATE:
            raise ConfigurationError(
                f"guest {self.name}: vhost-user needs memory that the switch can map (share=on), "
                "and private memory was asked for: the guest would start and every packet would "
                "be lost without a word. Use --memory-backing memfd or hugepages."
            )
        route = PATHS[self.nic.backend]
        if route.tap and len(self.nic.descriptors) != self.nic.queues:
            raise ConfigurationError(
                f"guest {self.name}: {len(self.nic.descriptors)} tap queues for "
                f"{self.nic.queues} queue pairs"
            )

    def advice(self) -> str:
        """What the user should know about this machine; empty when nothing."""
        if self.nic is None or self.nic.queues <= self.cpus:
            return ""
        return (
            f"{self.nic.queues} queue pairs with {self.cpus} CPUs: a guest enables only as many as "
            f"it has CPUs, so they are switched on after the start and share CPUs. "
            f"--cpus {self.nic.queues} gives each its own."
        )

    def argv(self) -> list[str | Path]:
        """The command line."""
        words: list[str | Path] = [self.program, "-name", self.name]
        words += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        words += self._processor()
        words += self._memory()
        words += self._boot()
        # The measured device comes first, so that it has the same place on the bus in every guest.
        words += self.nic.arguments() if self.nic else []
        words += self._channels()
        words += self._identity()
        words += self._people()
        words += self.disk.arguments() if self.disk else []
        words += self._data()
        # Where to listen is said later, when capabilities are set.
        words += ["-incoming", "defer"] if self.incoming else []
        return words

    def _boot(self) -> list[str | Path]:
        if self.disk is not None:
            # A guest's first interface is eth0 here as in the others.
            return [*self.disk.boot("net.ifnames=0")]
        options = boot_options(self.accel is Accel.TCG, self.cpus)
        return ["-kernel", self.kernel, "-initrd", self.initrd, "-append", options]

    def _processor(self) -> list[str]:
        accel = "tcg,thread=multi" if self.accel is Accel.TCG else "kvm"
        models = CPU_MODEL if self.disk is None else DISK_CPU_MODEL
        model = self.cpu_model or models[self.accel]
        return ["-accel", accel, "-cpu", model, "-smp", str(self.cpus)]

    def _memory(self) -> list[str]:
        size = f"size={self.memory_mb}M"
        kinds = {
            Backing.MEMFD: f"memory-backend-memfd,id=ram0,{size},share=on",
            Backing.HUGEPAGES: (
                f"memory-backend-file,id=ram0,{size},mem-path={self.hugepages},share=on"
            ),
            Backing.PRIVATE: f"memory-backend-ram,id=ram0,{size}",
        }
        # What nobody uses is not there: a migration loads every device, and each takes milliseconds
        # in which the guest stands still.
        machine = "q35,memory-backend=ram0,sata=off,smbus=off"
        return ["-machine", machine, "-m", str(self.memory_mb), "-object", kinds[self.backing]]

    def _channels(self) -> list[str]:
        log = f"logfile={self.console_log},logappend=off"
        return [
            *["-chardev", f"socket,id=serial0,path={self.console},server=on,wait=off,{log}"],
            *["-serial", "chardev:serial0"],
            *["-qmp", f"unix:{self.monitor},server=on,wait=off"],
            *["-device", "virtio-serial-pci,max_ports=2,disable-legacy=on"],
            *["-chardev", f"socket,id=agent0,path={self.agent},server=on,wait=off"],
            *["-device", f"virtserialport,chardev=agent0,name={AGENT_PORT}"],
        ]

    def _data(self) -> list[str]:
        if self.data is None:
            return []
        file = f"file.driver=file,file.filename={self.data},file.locking=on"
        return [
            *["-blockdev", f"driver=raw,node-name={DATA_NODE},{file}"],
            *["-device", f"virtio-blk-pci,drive={DATA_NODE}"],
        ]

    def _identity(self) -> list[str]:
        words = ["-fw_cfg", f"name=opt/orrery/name,string={self.name}"]
        if self.address:
            words += ["-fw_cfg", f"name=opt/orrery/address,string={self.address}"]
        if self.keys is not None:
            public = self.keys / "id_ed25519.pub"
            words += ["-fw_cfg", f"name=opt/orrery/authorized_key,file={public}"]
            words += ["-fw_cfg", f"name=opt/orrery/host_key,file={self.keys / 'host_key'}"]
        return words

    def _people(self) -> list[str]:
        if not self.ssh_port:
            return []
        forward = f"hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22"
        return [
            *["-netdev", f"user,id=people0,{forward}"],
            *["-device", f"virtio-net-pci,netdev=people0,mac={PEOPLE_MAC},romfile="],
            # For the keys of their sessions.
            *["-object", "rng-random,id=rng0,filename=/dev/urandom"],
            *["-device", "virtio-rng-pci,rng=rng0"],
        ]
