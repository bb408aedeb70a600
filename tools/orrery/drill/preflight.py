"""Compares two machines before anything is started: each difference with both values. Pure.

QEMU finds some of them late (RAM of another size ends the destination), some at the worst moment
(fewer queues end it when the source is already done), and some never (another MAC, private memory).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from orrery.errors import ConfigurationError

_VERSION = re.compile(r"\d+")
_SIZE = re.compile(r"(\d+)([KMGT]?)", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}
RING = 256
VECTORS = 2
FEATURES = ("guest_announce", "mrg_rxbuf", "packed")


@dataclass(frozen=True)
class Spec:
    """What a migration needs to be alike on both sides.

    Attributes:
        version: Of QEMU.
        machine: Type, as it was asked for: `q35` means another one in another QEMU.
        accel: `tcg`, `kvm`.
        memory_mb: Memory [MB].
        shared: Whether another process may map it.
        backend: Of the measured interface: `vhost-user`, `tap`; empty for none.
        queues: Queue pairs.
        features: Offered features that differ from QEMU's defaults, `packed=on`.
        devices: Kinds of all devices.
    """

    version: str = ""
    machine: str = ""
    accel: str = ""
    cpu: str = ""
    cpus: int = 1
    memory_mb: int = 128
    memory: str = ""
    shared: bool = False
    backend: str = ""
    mac: str = ""
    queues: int = 0
    vectors: int = 0
    features: tuple[str, ...] = ()
    rings: tuple[int, int] = (RING, RING)
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mismatch:
    """One thing that is not alike.

    Attributes:
        what: In words.
        why: What would come of it.
    """

    what: str
    source: str
    target: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: source {self.source}, destination {self.target} ({self.why})"


WORDS: Mapping[str, tuple[str, str]] = {
    "machine": ("machine type", "devices are elsewhere, and their state cannot be read"),
    "accel": ("acceleration", "the processor's state is not read by another accelerator"),
    "cpu": ("processor model", "the guest uses what it has found at its start"),
    "cpus": ("processors", "the state of one has no place"),
    "memory_mb": ("memory [MB]", "QEMU ends the destination: Size mismatch"),
    "memory": ("name of the memory", "its pages find no place"),
    "backend": ("backend of the interface", "features differ"),
    "mac": ("MAC", "the guest keeps the source's, and the destination's port is for another"),
    "queues": (
        "queue pairs",
        "the destination ends when the source is done: the guest would be down on both",
    ),
    "vectors": ("interrupt vectors", "the state of MSI-X has another size"),
    "features": ("features of the interface", "the guest uses what it has agreed on"),
    "rings": ("ring sizes (receive, send)", "the rings in the guest's memory have the source's"),
    "devices": ("devices", "the state of one has no place"),
}


def spec_of(argv: Sequence[str], version: str = "") -> Spec:
    """Read a command line of QEMU."""
    options = _options(argv)
    machine, machine_values = _parts(_last(options, "machine"))
    memory = next(
        (found for found in map(_parts, options.get("object", ())) if "memory" in found[0]),
        ("", {}),
    )
    network = next(
        (found for found in map(_parts, options.get("device", ())) if _measured(found)), ("", {})
    )
    netdev = next(
        (
            found
            for found in map(_parts, options.get("netdev", ()))
            if found[1].get("id") == network[1].get("netdev") and network[0]
        ),
        ("", {}),
    )
    nic = network[1]
    return Spec(
        version=version,
        machine=machine,
        accel=_last(options, "accel").partition(",")[0],
        cpu=_last(options, "cpu"),
        cpus=int(_last(options, "smp").partition(",")[0] or 1),
        memory_mb=_megabytes(_last(options, "m") or "128"),
        memory=machine_values.get("memory-backend", ""),
        shared=memory[1].get("share") == "on",
        backend=netdev[0],
        mac=nic.get("mac", ""),
        queues=_queues(netdev) if netdev[0] else 0,
        vectors=int(nic.get("vectors", VECTORS)) if nic else 0,
        features=tuple(f"{key}={nic[key]}" for key in FEATURES if key in nic),
        rings=(int(nic.get("rx_queue_size", RING)), int(nic.get("tx_queue_size", RING))),
        devices=tuple(sorted(_parts(one)[0] for one in options.get("device", ()))),
    )


def compare(source: Spec, target: Spec) -> list[Mismatch]:
    """What is not alike, or not fit for a migration."""
    found = [
        Mismatch(WORDS[name][0], _text(one), _text(other), WORDS[name][1])
        for name in (field.name for field in fields(Spec))
        if name in WORDS and (one := getattr(source, name)) != (other := getattr(target, name))
    ]
    if source.version and target.version and _number(target.version) < _number(source.version):
        why = "an older QEMU cannot read what a newer one writes"
        found.append(Mismatch("QEMU", source.version, target.version, why))
    if source.version != target.version and source.machine == target.machine == "q35":
        # The alias stands for the newest machine that each QEMU knows.
        why = f"'{source.machine}' means another machine type in each QEMU: name one, pc-q35-N.M"
        found.append(Mismatch("machine type", source.version, target.version, why))
    if "vhost-user" in (source.backend, target.backend) and not (source.shared and target.shared):
        why = "the switch has to map it: otherwise every packet is lost without a word"
        texts = ["shared" if one.shared else "private" for one in (source, target)]
        found.append(Mismatch("memory", texts[0], texts[1], why))
    return found


def require(source: Spec, target: Spec) -> None:
    """Refuse a pair that does not fit.

    Raises:
        ConfigurationError: Every difference, with both values.
    """
    found = compare(source, target)
    if found:
        lines = "\n".join(f"  {one}" for one in found)
        raise ConfigurationError(
            f"the destination does not fit the source, and nothing was started:\n{lines}\n"
            "Give both the same."
        )


def _options(argv: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    words = list(argv[1:])
    for name, value in zip(words, [*words[1:], ""], strict=True):
        if name.startswith("-"):
            found.setdefault(name.lstrip("-"), []).append("" if value.startswith("-") else value)
    return found


def _last(options: Mapping[str, Sequence[str]], name: str) -> str:
    return options[name][-1] if name in options else ""


def _parts(text: str) -> tuple[str, dict[str, str]]:
    """`kind,key=value,...` as kind and values."""
    kind, *rest = text.split(",")
    return kind, dict(part.split("=", 1) for part in rest if "=" in part)


def _measured(found: tuple[str, Mapping[str, Any]]) -> bool:
    return found[0].startswith("virtio-net") and found[1].get("netdev") == "net0"


def _queues(netdev: tuple[str, Mapping[str, str]]) -> int:
    values = netdev[1]
    if "fds" in values:
        return len(values["fds"].split(":"))
    return int(values.get("queues", 1))


def _megabytes(text: str) -> int:
    found = _SIZE.match(text.partition(",")[0].removeprefix("size="))
    return int(int(found[1]) * _UNITS[found[2].upper()]) if found else 0


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(word) for word in _VERSION.findall(version)[:3])


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value) or "none"
