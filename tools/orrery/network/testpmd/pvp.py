"""Packets through a guest: generator, switch, guest that turns them round, switch, generator.

The path that RFC 8204, 4 calls PVP, with testpmd at both ends. In the guest the distribution's
kernel gives the NIC away through uio_pci_generic (its VFIO has no mode without an IOMMU), and DPDK
drives it from huge pages of the guest.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError, GuestError, OrreryError
from orrery.guest import choose
from orrery.guest.image import cpio
from orrery.guest.lifecycle import Guests
from orrery.guest.machine import Accel
from orrery.guest.registry import Entry
from orrery.guest.wish import Wish
from orrery.network import backends
from orrery.network.backends import Backend
from orrery.network.layout import Layout, part
from orrery.network.testpmd import engine, wiring
from orrery.network.testpmd.program import Program
from orrery.packages import files
from orrery.state import LabState

CPUS = 2
"""One that talks to us, one that forwards."""
MEMORY_MB, TESTPMD_MB = 384, 48
BUFFERS = 4096
TESTPMD_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_S = 20.0
POLL_S = 0.3
MODULE = b"uio_pci_generic.ko"
POSSIBLE = (Backend.VHOST_USER, Backend.VIRTIO_NET_OVS)
NEEDED_DRIVERS = ("bus_pci", "bus_vdev", "mempool_ring", "net_virtio")
LOG, COMMANDS = "/run/testpmd.log", "/run/testpmd.in"
PROMPT = "testpmd>"
FOLDER, LOADER = "dpdk", "ld-linux-x86-64.so.2"
"""Folder in the guest, and what starts a program with the libraries in it."""

TELL = f"""
prompts() {{{{ grep -o '{PROMPT}' {LOG} | wc -l; }}}}
before=$(prompts) && echo {{word}} >{COMMANDS} || exit 1
until [ "$(prompts)" -gt "$before" ]; do sleep 0.05; done
"""
"""Tells testpmd a word, and waits until it has done it."""

# The root of an initial file system is open to all, and DPDK loads no driver from below such one.
SETUP = f"""
chmod 755 / && modprobe uio_pci_generic &&
echo {{pages}} >/proc/sys/vm/nr_hugepages && mkdir -p /dev/hugepages &&
mount -t hugetlbfs none /dev/hugepages && mkfifo {COMMANDS} || exit 1
device=$(readlink -f /sys/class/net/eth0/device/..) && ip link set eth0 down || exit 1
echo "${{{{device##*/}}}}" >"$device/driver/unbind" || exit 1
echo uio_pci_generic >"$device/driver_override" || exit 1
echo "${{{{device##*/}}}}" >/sys/bus/pci/drivers_probe && [ -e "$device/driver" ] || exit 1
echo "${{{{device##*/}}}}"
"""


def missing(state: LabState, backend: Backend, frame: str) -> str:
    """Why packets cannot go through a guest so; empty where they can."""
    if backend not in POSSIBLE:
        return f"the generator is a port of the switch: take {' or '.join(POSSIBLE)}"
    reason = backends.missing(backend, state)
    reason = reason or engine.missing(state, Backend.ENGINE_VHOST_USER, frame)
    if reason:
        return reason
    initrd = Path(str(part(state, "guest_image")["initrd"]))
    try:
        has_driver = MODULE in initrd.read_bytes()
    except OSError as error:
        return f"the small guest cannot be read ({initrd}: {error.strerror}): run ./lab up"
    if not has_driver:
        return (
            "the small guest has no driver: its kernel's package is without uio_pci_generic, and "
            "DPDK gets no NIC without it"
        )
    return ""


class Pvp(engine.Engine):
    """A guest that turns packets round, and a generator. At rest but for trials.

    To be used in a `with` block; then nothing stays behind.
    """

    def __init__(
        self,
        state: LabState,
        backend: Backend,
        *,
        queues: int = 1,
        packed: bool = False,
        mrg_rxbuf: bool = True,
    ) -> None:
        """Describe it; nothing is made yet.

        Args:
            state: The lab.
            backend: Of the guest.
            queues: Queue pairs of the guest; one is possible.
            packed: Whether the guest's rings have the packed layout.
            mrg_rxbuf: Whether a packet may span buffers in the guest.

        Raises:
            ConfigurationError: It cannot run here, with the reason.
        """
        reason = missing(state, backend, "64")
        if queues != 1:
            reason = f"queues is {queues}; testpmd in the guest has one forwarding thread: take 1"
        if reason:
            raise ConfigurationError(f"path pvp, backend {backend}: {reason}")
        ring = wiring.Ring(queues, packed, mrg_rxbuf)
        initrd = initrd_path(state, name_of(backend, ring))
        image = {**part(state, "guest_image"), "initrd": str(initrd)}
        larger = replace(state, facts={**state.facts, "guest_image": image})
        self._have(state, GuestWiring(state, backend, ring, guests=Guests(larger)))

    def conditions(self) -> dict[str, Any]:
        """How it is, as read back."""
        return {**super().conditions(), "guest_cpus": CPUS, "guest_driver": "uio_pci_generic"}


@dataclass(frozen=True)
class GuestWiring(wiring.Wiring):
    """A bridge with the generator's port and a guest's."""

    guests: Guests = field(kw_only=True)

    @property
    def label(self) -> str:
        """What it is called in messages, and known by among processes."""
        return f"pvp {super().label}"

    @property
    def short(self) -> str:
        """Part of all its names."""
        return name_of(self.backend, self.ring)

    @property
    def ports(self) -> tuple[str, str]:
        """The generator's port, and the guest's; empty where there is no guest."""
        entry = self._entry()
        return (f"{wiring.PORT}{self.short}{self.generation}0", entry.port if entry else "")

    @property
    def devices(self) -> tuple[str, ...]:
        """What the generator drives."""
        return (self._device(0, self.ports[0]),)

    @property
    def shared(self) -> bool:
        """The generator's packets are in memory that the switch reads."""
        return True

    @property
    def on_switch(self) -> bool:
        """Open vSwitch forwards."""
        return True

    def make(self) -> None:
        """Have bridge, generator's port and a guest that is ready to forward.

        Raises:
            OrreryError: Something of it cannot be made.
        """
        Layout.of(self.state).restore()
        self.remove()
        self._add_bridge()
        self._add_port(self.ports[0])
        with self._initrd():
            entry = self.guests.start(self._wish())
        self._join(self.ports)
        self._start_testpmd(entry)

    def remove(self) -> None:
        """Be without guest, bridge and ports.

        Raises:
            HostError: Somebody else's bridge has the name.
        """
        if self._entry() is not None:
            with contextlib.suppress(GuestError):
                self.guests.stop(self.short)
        self.guests.sweep()
        super().remove()

    def waiting_for(self) -> str:
        """What does not forward yet; empty when all does."""
        entry = self._entry()
        if entry is None:
            return f"the guest {self.short}"
        down = [port for port in self.ports if self.switch.link(port) != "up"]
        return " and ".join(down)

    @contextlib.contextmanager
    def forwarding(self) -> Iterator[None]:
        """Have the guest forward, for a trial.

        Raises:
            GuestError: It does not answer.
        """
        # testpmd throws away what came in before it forwards: packets that are sent too early are
        # gone, and with them all that circulates.
        self._in_guest(TELL.format(word="start"))
        try:
            yield
        except BaseException:
            with contextlib.suppress(OrreryError):
                self._in_guest(TELL.format(word="stop"))
            raise
        self._in_guest(TELL.format(word="stop"))

    def read_back(self) -> dict[str, str]:
        """How the guest's rings are, as the switch took them; nothing for a tap."""
        return self._rings(self.ports[1]) if self.backend is Backend.VHOST_USER else {}

    def _wish(self) -> Wish:
        wish = choose.wish(
            Guests(self.state),
            self.short,
            backend=self.backend,
            queues=self.ring.queues,
            cpus=CPUS,
            memory_mb=MEMORY_MB,
            packed=self.ring.packed,
            mrg_rxbuf=self.ring.mrg_rxbuf,
            bridge=self.bridge,
            people=False,
            bound=True,
        )
        # DPDK wants instructions that the plainest processor lacks.
        return replace(wish, cpu_model="max" if wish.accel is Accel.TCG else "")

    def _entry(self) -> Entry | None:
        return Entry.read(self.guests.registry.of(self.short))

    def _in_guest(self, script: str) -> str:
        entry = self._entry()
        if entry is None:
            raise GuestError(f"the guest {self.short} is gone")
        with self.guests.agent(entry) as agent:
            return agent.run(["sh", "-c", script], timeout_s=COMMAND_TIMEOUT_S).stdout

    def _start_testpmd(self, entry: Entry) -> None:
        device = self._in_guest(SETUP.format(pages=TESTPMD_MB // 2 + 8)).strip()
        argv = guest_argv(Program.of(self.state).program.name, self._drivers(), device)
        # Held open for reading and writing, so that it does not end with the first command.
        run = f"exec 3<>{COMMANDS}; exec {shlex.join(argv)} <&3 >{LOG} 2>&1"
        with self.guests.agent(entry) as agent:
            agent.start(["sh", "-c", run])
        end = time.monotonic() + TESTPMD_TIMEOUT_S
        while PROMPT not in (said := self._in_guest(f"cat {LOG} || true")):
            if time.monotonic() > end or "Error - exiting" in said or "PANIC" in said:
                last = " | ".join(said.strip().splitlines()[-4:])
                raise GuestError(f"testpmd in the guest {self.short} does not start: {last}")
            time.sleep(POLL_S)

    def _drivers(self) -> list[Path]:
        """Plugins for the guest, beside those that the host's testpmd loads."""
        one = Program.of(self.state).drivers[0]
        abi = one.name.rpartition(".so.")[2]
        return [one.with_name(f"librte_{name}.so.{abi}") for name in NEEDED_DRIVERS]

    @contextlib.contextmanager
    def _initrd(self) -> Iterator[None]:
        """Have the guest's file system with testpmd; gone when the guest has read it."""
        path = initrd_path(self.state, self.short)
        image = Path(str(part(self.state, "guest_image")["initrd"]))
        try:
            more = overlay(Program.of(self.state), self._drivers())
            # The kernel unpacks one archive after the other.
            path.write_bytes(image.read_bytes() + more)
            yield
        except OSError as error:
            raise GuestError(f"{path}: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def name_of(backend: Backend, ring: wiring.Ring) -> str:
    """Name of the guest: `pvp`, `pvpt` behind a tap, and what its rings are."""
    return f"pvp{'' if backend is Backend.VHOST_USER else 't'}{ring.suffix}"


def initrd_path(state: LabState, name: str) -> Path:
    """File system of a guest, while it starts."""
    return engine.RUN / state.lab_name / f"{name}.cpio"


def overlay(program: Program, drivers: list[Path]) -> bytes:
    """Archive of one folder: testpmd, drivers, libraries and loader of the host.

    The guest's own C library may be of another version, so that nothing is shared with it.

    Raises:
        HostError: A library is nowhere.
    """
    named = {one.name: one.read_bytes() for one in drivers}
    named[program.program.name] = program.program.read_bytes()

    def read(name: str) -> bytes | None:
        own = program.libraries / name
        path = own if own.exists() else files.library(Path("/"), name)
        return None if path is None else path.read_bytes()

    # A driver that is a library of the program, too, is there once: a second copy of one would end
    # the program ("tailq is already registered").
    for name, data in files.libraries(named, read, "pvp", "Run ./lab up.").items():
        named.setdefault(name, data)
    return cpio.archive(
        [cpio.file(f"{FOLDER}/{name}", data, 0o755) for name, data in named.items()]
    )


def guest_argv(program: str, drivers: list[Path], device: str) -> list[str]:
    """Command line of testpmd in the guest: one port, whose packets go back where they came from.

    Args:
        program: Name of its file.
        drivers: Plugins.
        device: PCI address of its NIC.
    """
    words = [f"/{FOLDER}/{LOADER}", "--library-path", f"/{FOLDER}", f"/{FOLDER}/{program}"]
    words += [word for one in drivers for word in ("-d", f"/{FOLDER}/{one.name}")]
    words += ["--lcores=0@0,1@1", "-a", device, "--in-memory", "--no-telemetry"]
    words += ["-m", str(TESTPMD_MB), "--", "-i", "--forward-mode=macswap"]
    return [*words, "--port-topology=loop", f"--total-num-mbufs={BUFFERS}"]
