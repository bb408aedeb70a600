"""dpdk-testpmd, driven through its own prompt: two ports, packets that circulate, counters."""

from __future__ import annotations

import contextlib
import os
import re
import select
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orrery import shell
from orrery.errors import HostError
from orrery.network.layout import part
from orrery.state import LabState

PROMPT = b"testpmd> "
BURST = 32
"""Packets that it takes and sends at once."""
START_TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 15.0
QUIT_TIMEOUT_S = 5.0
LAST_LINES = 6
READ_SIZE = 1 << 16
# A trial's packets stay the same few: the fewer buffers, the more of them are in the cache.
BUFFERS = 4096
BUFFERS_PER_QUEUE = 2048
MEMORY_MB = 32
MEMORY_PER_QUEUE_MB = 8

_STATISTICS = re.compile(r"NIC statistics for port (\d+)")
_COUNTER = re.compile(r"(RX-packets|RX-missed|TX-packets|TX-errors|Rx-pps|Tx-pps):\s*(\d+)")
_SUMMARY = re.compile(r"^(\d+)\s+(?:[0-9A-F]{2}:){5}[0-9A-F]{2}\s+\S+\s+\S+\s+(\S+)", re.MULTILINE)
_NO_MEMORY = re.compile(
    r"[Nn]ot enough (?:huge ?pages|memory) available|Cannot get hugepage|Cannot init memory"
    r"|[Cc]reation of mbuf pool|No free .* hugepages",
)


class TestpmdError(HostError):
    """testpmd ended, or does not answer."""

    # It is no class of tests.
    __test__ = False


@dataclass(frozen=True)
class Program:
    """What the role `testpmd` unpacked.

    Attributes:
        libraries: Folder that the loader looks into first.
        drivers: Plugins of DPDK on this host.
    """

    program: Path
    libraries: Path
    drivers: tuple[Path, ...]
    version: str

    @classmethod
    def of(cls, state: LabState) -> Program:
        """Read it.

        Raises:
            ConfigurationError: The lab has none.
        """
        found = part(state, "testpmd")
        return cls(
            program=Path(str(found["program"])),
            libraries=Path(str(found["libraries"])),
            drivers=tuple(Path(str(one)) for one in found["drivers"]),
            version=str(found["version"]),
        )

    @property
    def environment(self) -> dict[str, str]:
        """Variables that it runs with."""
        return {"LD_LIBRARY_PATH": str(self.libraries)}


@dataclass(frozen=True)
class Ports:
    """Two ports and how they are polled.

    Attributes:
        devices: Arguments of `--vdev`, one for each port. A single port gets back what it sends.
        cpu: Where all its threads run.
        huge: Whether its memory has to be shared with the switch, in huge pages.
    """

    devices: tuple[str, ...]
    cpu: int
    queues: int = 1
    huge: bool = True

    @property
    def buffers(self) -> int:
        """Number of packet buffers."""
        return BUFFERS + BUFFERS_PER_QUEUE * (self.queues - 1)

    @property
    def memory_mb(self) -> int:
        """Memory [MB], a whole number of huge pages of 2 MB."""
        return MEMORY_MB + MEMORY_PER_QUEUE_MB * (self.queues - 1)

    def argv(self, program: Program) -> list[str | Path]:
        """The command line."""
        words: list[str | Path] = [program.program]
        for driver in program.drivers:
            words += ["-d", driver]
        # Two threads: one that talks to us, one that forwards. Nothing of the host is looked at,
        # and nothing is left in /run/dpdk or among the huge pages, however it ends.
        words += [f"--lcores=0@{self.cpu},1@{self.cpu}", "--no-pci", "--no-telemetry"]
        words += ["-m", str(self.memory_mb)]
        # vhost-user takes few files: one for all memory. Without it no packet passes, silently.
        words += ["--in-memory", "--single-file-segments"] if self.huge else ["--no-huge"]
        words += [] if self.huge else ["--no-shconf"]
        words += [f"--vdev={device}" for device in self.devices]
        words += ["--", "-i", "--forward-mode=io", f"--burst={BURST}", "--nb-cores=1"]
        words += [f"--rxq={self.queues}", f"--txq={self.queues}"]
        words += ["--port-topology=loop"] if len(self.devices) == 1 else []
        return [*words, f"--total-num-mbufs={self.buffers}"]


@dataclass(frozen=True)
class Counters:
    """One port's counters.

    Attributes:
        values: As testpmd names them; rates are since they were last asked for [packets/s].
    """

    port: int
    values: Mapping[str, int] = field(default_factory=dict)

    @property
    def received(self) -> int:
        """Packets so far."""
        return self.values.get("RX-packets", 0)

    @property
    def receive_rate(self) -> int:
        """Of packets since the last question [packets/s]."""
        return self.values.get("Rx-pps", 0)


class Testpmd:
    """One testpmd, to be used in a `with` block.

    It ends with us: its prompt reads a pipe of ours, and an end of that is its end.
    """

    # It is no class of tests.
    __test__ = False

    def __init__(
        self,
        program: Program,
        ports: Ports,
        marks: Mapping[str, str],
        prefix: Sequence[str | Path] = (),
    ) -> None:
        """Describe it; nothing runs yet.

        Args:
            program: Of the lab.
            ports: What it is to have.
            marks: Variables by which it is known as the lab's.
            prefix: Command line in front of it, such as one that enters a namespace.
        """
        self.program = program
        self.ports = ports
        # Its printf would keep lines back, as to every pipe.
        self.argv = [*prefix, "stdbuf", "-oL", *ports.argv(program)]
        self._environment = {**program.environment, **marks}
        self._process: shell.Process | None = None
        self._said = b""

    def __enter__(self) -> Testpmd:
        """Start it and wait for its prompt.

        Raises:
            TestpmdError: It does not start, with its last lines.
        """
        self._process = shell.start(self.argv, env=self._environment, pipes=True)
        try:
            self._until_prompt(START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of its process; 0 where there is none."""
        return self._process.pid if self._process else 0

    def runs(self) -> bool:
        """Whether it is alive."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            if process.poll() is None and process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.write(b"stop\nquit\n")
                    process.stdin.flush()
                    process.stdin.close()
                # Whoever does not read what it says keeps it from ending.
                self._drain(process, QUIT_TIMEOUT_S)
        finally:
            shell.stop(process, timeout_s=QUIT_TIMEOUT_S)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def ask(self, command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Give it a command; what it says.

        Raises:
            TestpmdError: It ended, or does not answer.
        """
        process = self._running()
        try:
            assert process.stdin is not None  # noqa: S101 (started with pipes)
            process.stdin.write(command.encode() + b"\n")
            process.stdin.flush()
        except OSError as error:
            raise self._ended() from error
        return self._until_prompt(timeout_s).decode(errors="replace").replace("\r", "")

    def let_run(self, seconds: float) -> None:
        """Let it go on for a time; an end of it is noticed at once [s].

        Raises:
            TestpmdError: It ended.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)

    def links(self) -> dict[int, str]:
        """`up` or `down` for each port."""
        return parse_links(self.ask("show port summary all"))

    def counters(self) -> list[Counters]:
        """Of all ports."""
        return parse_counters(self.ask("show port stats all"))

    def _running(self) -> shell.Process:
        if self._process is None:
            raise TestpmdError("testpmd does not run")
        return self._process

    def _until_prompt(self, timeout_s: float) -> bytes:
        """What it says up to its next prompt."""
        end = time.monotonic() + timeout_s
        while PROMPT not in self._said:
            left = end - time.monotonic()
            if left <= 0:
                raise TestpmdError(f"testpmd does not answer within {timeout_s:g} s{self._last()}")
            self._read(left)
        # Behind it may be what it says unasked, of a link that goes up or down.
        said, prompt, self._said = self._said.partition(PROMPT)
        return said + prompt

    def _read(self, timeout_s: float) -> None:
        """Wait for something that it says.

        Raises:
            TestpmdError: It ended.
        """
        process = self._running()
        assert process.stdout is not None  # noqa: S101 (started with pipes)
        ready, _, _ = select.select([process.stdout], [], [], timeout_s)
        if ready:
            said = os.read(process.stdout.fileno(), READ_SIZE)
            if not said:
                raise self._ended()
            self._said += said

    @staticmethod
    def _drain(process: shell.Process, timeout_s: float) -> bytes:
        """What it says until it ends, or until the time is over [s]."""
        end = time.monotonic() + timeout_s
        said = b""
        while process.stdout is not None and (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([process.stdout], [], [], left)
            more = os.read(process.stdout.fileno(), READ_SIZE) if ready else b""
            if not more:
                break
            said += more
        return said

    def _ended(self) -> TestpmdError:
        """Why it is no longer there, in its own words."""
        process = self._running()
        with contextlib.suppress(OSError):
            self._said += self._drain(process, QUIT_TIMEOUT_S)
        code = shell.stop(process)
        return TestpmdError(f"testpmd ended with exit code {code}{self._last()}")

    def _last(self) -> str:
        text = self._said.decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        hint = " Huge pages may be missing: stop a guest that has some, or set hugepages_count."
        advice = f".{hint}" if _NO_MEMORY.search(text) else ""
        return advice + "".join(f"\n{line}" for line in lines[-LAST_LINES:])


def parse_links(text: str) -> dict[int, str]:
    """Read `show port summary all`."""
    return {int(port): state.lower() for port, state in _SUMMARY.findall(text)}


def parse_counters(text: str) -> list[Counters]:
    """Read `show port stats all`."""
    parts = _STATISTICS.split(text)[1:]
    return [
        Counters(int(port), {name: int(value) for name, value in _COUNTER.findall(body)})
        for port, body in zip(parts[::2], parts[1::2], strict=True)
    ]


def forwarding_cpu(facts: Mapping[str, Any], allowed: set[int]) -> int:
    """CPU for a thread that polls: without a PMD of the switch, and without its other threads.

    Where all have something, the first one that has no PMD; where all have PMDs, the first one.
    """
    ovs = facts.get("ovs") or {}
    polled = {int(cpu) for cpu in ovs.get("pmd_cpus") or ()}
    busy = {int(cpu) for cpu in ovs.get("lcore_cpus") or ()}
    order = sorted(allowed, key=lambda cpu: (cpu in polled, cpu in busy, cpu))
    return order[0]
