"""What one drill is: the parameters of a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from orrery.drill.settings import MB, USUAL, Settings
from orrery.drill.states import Outcome
from orrery.errors import ConfigurationError
from orrery.guest.machine import Backing
from orrery.measure.scenario import Scenario
from orrery.network.backends import PATHS, QUEUE_PAIRS, Backend
from orrery.network.scenario import Overlay


class Help(StrEnum):
    """What is switched on so that a busy guest can be moved."""

    AUTO_CONVERGE = "auto-converge"
    """The guest's processors are held back step by step."""
    XBZRLE = "xbzrle"
    """Pages that were sent before are sent as differences."""
    MULTIFD = "multifd"
    """Several connections."""
    ZSTD = "zstd"
    """Several connections, compressed."""
    POSTCOPY = "postcopy"
    """The guest runs at the destination before its memory is there."""


class Flows(StrEnum):
    """Numbered packets between the guest and the host."""

    BOTH = "both"
    INWARD = "inward"
    """To the guest only: the switch learns the new port by what announces the guest."""


class Announcer(StrEnum):
    """Who says, on the new port, where the guest is."""

    GUEST = "guest"
    """Its kernel, by gratuitous ARP, as soon as it runs."""
    SWITCH = "switch"
    """Its backend, by RARP: it does not wait for the guest's processors."""


class Storage(StrEnum):
    """How the guest's disk comes along."""

    SHARED = "shared"
    """Both sides have the same image, and QEMU's lock sees to it that one of them writes."""
    COPY = "copy"
    """Each side has its own: it is mirrored over NBD while the guest writes to it."""


class Fault(StrEnum):
    """What goes wrong in the middle."""

    TARGET_DIES = "target-dies"
    LINK_CUT = "link-cut"
    LINK_STALLED = "link-stalled"
    """The connection stays, and nothing gets through any more."""
    WRONG_PEER = "wrong-peer"
    """Something listens that is no QEMU."""
    NOBODY = "nobody"
    """Nothing listens."""
    CANCEL = "cancel"
    TWICE = "twice"
    """The source is told to migrate again while it does."""
    FEWER_QUEUES = "fewer-queues"
    """The destination has one queue pair less than the source, and nobody has compared them."""
    LESS_MEMORY = "less-memory"


ENDS: Mapping[Fault, frozenset[Outcome]] = {
    Fault.TARGET_DIES: frozenset({Outcome.FAILED}),
    Fault.LINK_CUT: frozenset({Outcome.FAILED}),
    Fault.LINK_STALLED: frozenset({Outcome.NOT_CONVERGING}),
    Fault.WRONG_PEER: frozenset({Outcome.FAILED}),
    Fault.NOBODY: frozenset({Outcome.FAILED}),
    Fault.CANCEL: frozenset({Outcome.CANCELLED}),
    Fault.TWICE: frozenset({Outcome.MOVED}),
    # Which of the two depends on when the destination reads the device's state.
    Fault.FEWER_QUEUES: frozenset({Outcome.FAILED, Outcome.RESCUED}),
    Fault.LESS_MEMORY: frozenset({Outcome.FAILED}),
}
"""How each has to end; in all but one the guest stays where it was."""

_HELPS: Mapping[Help, tuple[frozenset[str], Mapping[str, int | str]]] = {
    Help.AUTO_CONVERGE: (
        frozenset({"auto-converge"}),
        {"cpu-throttle-initial": 40, "cpu-throttle-increment": 20},
    ),
    Help.XBZRLE: (frozenset({"xbzrle"}), {"xbzrle-cache-size": 128 * MB}),
    Help.MULTIFD: (frozenset({"multifd"}), {"multifd-channels": 2}),
    Help.ZSTD: (frozenset({"multifd"}), {"multifd-channels": 2, "multifd-compression": "zstd"}),
    Help.POSTCOPY: (frozenset({"postcopy-ram"}), {}),
}


@dataclass(frozen=True)
class DrillScenario(Scenario):
    """One kind of move.

    Attributes:
        memory_mb: Of the guest [MB].
        queues: Queue pairs of its interface; it has as many CPUs.
        overlay: What is around its frames on their way to the host.
        backing: What its memory is made of.
        announcer: Who says where the guest is after the move.
        flows: Numbered packets while it moves, a thousand per second in each direction.
        storage: How a disk comes along that a program in it writes to; None for no disk.
        dirty_mb: Memory that a program in it writes over and over [MB]; None for an idle guest.
        dirty_mbps: How fast [MB/s]; None for as fast as it can.
        pattern: What is written: `random` pages, or one `byte` of each.
        bandwidth_mbps: `max-bandwidth` [MB/s]; None for QEMU's own 134.
        downtime_ms: `downtime-limit` [ms]; None for QEMU's own 300.
        return_path: Whether the source hears what the destination says, and counts its downtime
            until then; without, until it has sent all.
        help: None for nothing.
        fault: None for a move that has to succeed.
        converges: Whether it has to come to an end.
        before_s: How long probes run before the move [s].
        after_s: And after it [s].
        limit_s: After which it is cancelled [s].
    """

    kind: ClassVar[str] = "move"

    backend: Backend = Backend.VHOST_USER
    memory_mb: int = 512
    queues: int = 1
    overlay: Overlay | None = None
    backing: Backing | None = None
    announcer: Announcer = Announcer.SWITCH
    flows: Flows = Flows.BOTH
    storage: Storage | None = None
    dirty_mb: int | None = None
    dirty_mbps: int | None = None
    pattern: str | None = None
    bandwidth_mbps: int | None = None
    downtime_ms: int | None = None
    return_path: bool = True
    help: Help | None = None
    fault: Fault | None = None
    converges: bool | None = None
    before_s: int = 3
    after_s: int = 2
    limit_s: int = 60

    @property
    def outcomes(self) -> frozenset[Outcome]:
        """How it has to end; empty where either way is an answer."""
        if self.fault is not None:
            return ENDS[self.fault]
        if self.converges is None and self.help is not None:
            return frozenset()
        if self.converges is False:
            return frozenset({Outcome.NOT_CONVERGING})
        return frozenset({Outcome.MOVED})

    @property
    def guest(self) -> tuple[object, ...]:
        """What scenarios on the same guest have in common."""
        return (
            self.backend,
            self.memory_mb,
            self.queues,
            self.overlay,
            self.backing,
            self.announcer,
            self.storage,
        )

    def settings(self) -> Settings:
        """Capabilities and parameters of the migration."""
        capabilities, parameters = _HELPS[self.help] if self.help else (frozenset[str](), {})
        if self.storage is Storage.COPY:
            # The mirror has to end when the guest stands still, and before it runs elsewhere.
            capabilities |= {"pause-before-switchover"}
        found = dict(parameters)
        if self.bandwidth_mbps is not None:
            found["max-bandwidth"] = self.bandwidth_mbps * MB
        if self.downtime_ms is not None:
            found["downtime-limit"] = self.downtime_ms
        return Settings(capabilities, found, self.return_path)

    @property
    def downtime_limit_ms(self) -> int:
        """`downtime-limit` that holds [ms]."""
        return int(self.downtime_ms or USUAL["downtime-limit"])

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigurationError: Two parameters contradict each other, or one is out of range.
        """
        for wrong, why in self._faults():
            if wrong:
                raise ConfigurationError(f"scenario '{self.name}': {why}")

    def _faults(self) -> list[tuple[bool, str]]:
        return [
            (
                not PATHS[self.backend].guest or not PATHS[self.backend].on_switch,
                f"backend is {self.backend}; drills run on the lab's switch: vhost-user or "
                "virtio-net-ovs",
            ),
            (
                not 128 <= self.memory_mb <= 1 << 20,
                f"memory_mb is {self.memory_mb}; 128 or more are needed",
            ),
            (self.queues not in QUEUE_PAIRS, f"queues is {self.queues}; {QUEUE_PAIRS} are there"),
            (
                self.overlay is not None and self.backend is not Backend.VHOST_USER,
                f"overlay {self.overlay} goes with backend vhost-user",
            ),
            (
                self.dirty_mb is None and (self.dirty_mbps is not None or bool(self.pattern)),
                "dirty_mbps and pattern need dirty_mb",
            ),
            (
                self.dirty_mb is not None and not 1 <= self.dirty_mb <= self.memory_mb - 96,
                f"dirty_mb is {self.dirty_mb}; the guest's system needs 96 of {self.memory_mb} MB",
            ),
            (
                self.pattern not in (None, "random", "byte"),
                f"pattern is '{self.pattern}'; random or byte is needed",
            ),
            (
                self.fault is Fault.FEWER_QUEUES and self.queues < 2,
                "fault fewer-queues needs queues: 2 or more",
            ),
            (
                self.storage is Storage.COPY and (self.fault or self.help) is not None,
                "storage: copy goes without fault and help",
            ),
            (
                self.help is Help.POSTCOPY and not self.return_path,
                "help postcopy needs the return path: the destination asks for pages on it",
            ),
            (
                self.fault is not None and self.help is not None,
                "a fault goes without help, so that one thing is told apart from the other",
            ),
            (
                not 1 <= self.before_s <= 60 or not 1 <= self.after_s <= 60,
                f"before_s is {self.before_s}, after_s is {self.after_s}; 1 to 60 are needed",
            ),
            (not 1 <= self.limit_s <= 3600, f"limit_s is {self.limit_s}; 1 to 3600 are needed"),
        ]
