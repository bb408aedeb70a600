"""The command line of QEMU for a VM."""

from __future__ import annotations

import shlex
from pathlib import Path

from orrery.errors import ConfigurationError
from orrery.guest.machine import AGENT_PORT, Accel
from orrery.vm.spec import CARGO, SSH, NicKind, VmNic, VmSpec

BOOT_OPTIONS = (
    # A kernel that is lost starts anew instead of standing still.
    "panic=10",
)
TCG_BOOT_OPTIONS = (
    # Each of these saves time that a VM under TCG would spend on testing itself.
    "tsc=reliable",
    "cryptomgr.notests",
    "no_timer_check",
    "8250.nr_uarts=1",
    "random.trust_cpu=on",
    "rcupdate.rcu_expedited=1",
    # Each character on the serial console is an exit from the VM; what is wrong is said still.
    "loglevel=4",
)
VIRTUALISATION = ("vmx", "svm")
SLOW_UNDER_TCG = (
    # With these a kernel copies and clears memory with `rep movsb` and `rep stosb`, which TCG does
    # byte by byte.
    "erms",
    "fsrm",
    # A fifth level of page tables to walk at each miss.
    "la57",
    # Ends a translated block wherever the kernel touches memory of a program.
    "smap",
)


def argv(spec: VmSpec) -> list[str | Path]:
    """The command line.

    Raises:
        ConfigurationError: An interface is one that QEMU by itself does not know.
    """
    words: list[str | Path] = [spec.program, "-name", f"{spec.domain},process={spec.domain}"]
    words += ["-nodefaults", "-no-user-config", "-display", "none"]
    words += [*_processor(spec), *_memory(spec), *_kernel(spec), *_disks(spec)]
    for number, nic in enumerate(spec.nics):
        words += _nic(spec, number, nic)
    words += _channels(spec)
    words += ["-object", "rng-random,id=rng0,filename=/dev/urandom"]
    words += ["-device", "virtio-rng-pci,rng=rng0"]
    return words


def cpu_without(spec: VmSpec) -> tuple[str, ...]:
    """Features that the VM's processor lacks, of those it could have.

    What TCG emulates of virtualisation is of no use to guests inside: it would only be found and
    tried.
    """
    if spec.accel is Accel.TCG:
        return (*VIRTUALISATION, *SLOW_UNDER_TCG)
    return () if spec.nested else VIRTUALISATION


def cpu_model(spec: VmSpec) -> str:
    """What the VM takes for its processor.

    DPDK needs SSE4.2, and CentOS Stream 10 AVX2, which TCG's plain models lack.
    """
    model = "max" if spec.accel is Accel.TCG else "host"
    return ",".join([model, *(f"{name}=off" for name in cpu_without(spec))])


def append(spec: VmSpec) -> str:
    """The kernel's command line, for an image whose kernel is started directly."""
    words = spec.image.append.split()
    more = [*BOOT_OPTIONS, *(TCG_BOOT_OPTIONS if spec.accel is Accel.TCG else ())]
    known = {word.partition("=")[0] for word in words}
    return " ".join([*words, *(word for word in more if word.partition("=")[0] not in known)])


def forwards(spec: VmSpec, number: int) -> list[tuple[int, int]]:
    """Ports of the host with the VM's that an interface forwards; the first one's SSH, too."""
    own = [(spec.ssh_port, SSH)] if number == 0 else []
    return [*own, *spec.nics[number].forwards]


def user_network(spec: VmSpec, number: int) -> str:
    """The back end of a user-mode interface; each has an IPv4 network of its own."""
    words = [f"user,id=net{number},ipv6=off,net=10.0.{2 + number}.0/24"]
    words += [f"hostfwd=tcp:127.0.0.1:{host}-:{vm}" for host, vm in forwards(spec, number)]
    if number == 0 and spec.cargo:
        # Read as the VM connects; ssh would encrypt it, which takes an emulated VM minutes.
        address, port = CARGO
        words.append(f"guestfwd=tcp:{address}:{port}-cmd:cat {shlex.quote(spec.cargo)}")
    return ",".join(words)


def _processor(spec: VmSpec) -> list[str]:
    accel = "tcg,thread=multi" if spec.accel is Accel.TCG else "kvm"
    return ["-accel", accel, "-cpu", cpu_model(spec), "-smp", str(spec.cpus)]


def _memory(spec: VmSpec) -> list[str]:
    size = f"id=ram0,size={spec.memory_mb}M"
    backend = f"memory-backend-ram,{size}"
    if spec.hugepages:
        backend = f"memory-backend-file,{size},mem-path={spec.hugepages},prealloc=on"
    machine = "q35,memory-backend=ram0"
    return ["-machine", machine, "-m", f"{spec.memory_mb}M", "-object", backend]


def _kernel(spec: VmSpec) -> list[str]:
    if not spec.image.kernel:
        return []
    return [
        *["-kernel", str(spec.image.kernel), "-initrd", str(spec.image.initrd)],
        *["-append", append(spec)],
    ]


def _disks(spec: VmSpec) -> list[str]:
    # What the VM has flushed survives its own end and QEMU's, but not the host's: a lab is made
    # again sooner than a package manager waits for a disk.
    disk = f"driver=qcow2,node-name=disk0,file.driver=file,file.filename={spec.disk},discard=unmap"
    disk += ",cache.no-flush=on"
    seed = f"driver=raw,node-name=seed0,read-only=on,file.driver=file,file.filename={spec.seed}"
    return [
        *["-blockdev", disk, "-device", "virtio-blk-pci,drive=disk0,bootindex=1"],
        *["-blockdev", seed, "-device", "virtio-blk-pci,drive=seed0"],
    ]


def _nic(spec: VmSpec, number: int, nic: VmNic) -> list[str]:
    if nic.kind is NicKind.NETWORK:
        raise ConfigurationError(
            f"vm_nics: network '{nic.source}' is one of libvirt's, and the driver is qemu. "
            "Name a bridge or a tap, or set vm_driver to libvirt."
        )
    backends = {
        NicKind.USER: user_network(spec, number),
        NicKind.BRIDGE: f"bridge,id=net{number},br={nic.source}",
        NicKind.TAP: f"tap,id=net{number},ifname={nic.source},script=no,downscript=no",
    }
    device = f"virtio-net-pci,netdev=net{number},mac={nic.mac},romfile="
    return ["-netdev", backends[nic.kind], "-device", device]


def _channels(spec: VmSpec) -> list[str]:
    # Appended to: a reboot of the VM is part of the same story.
    log = f"logfile={spec.console_log},logappend=on"
    return [
        *["-chardev", f"socket,id=serial0,path={spec.console},server=on,wait=off,{log}"],
        *["-serial", "chardev:serial0"],
        *["-qmp", f"unix:{spec.monitor},server=on,wait=off"],
        *["-device", "virtio-serial-pci"],
        *["-chardev", f"socket,id=agent0,path={spec.agent},server=on,wait=off"],
        *["-device", f"virtserialport,chardev=agent0,name={AGENT_PORT}"],
    ]
