"""The ends of a measurement: a guest, the host inside the lab's namespace, a LAN machine."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orrery import shell
from orrery.errors import ConfigurationError, GuestError, HostError, OrreryError
from orrery.guest.lifecycle import Guests
from orrery.guest.monitor import Agent, Ran
from orrery.guest.registry import Entry
from orrery.guest.wiring import own_bridge
from orrery.measure.cpu import PROC, busy_seconds
from orrery.network.backends import Backend
from orrery.network.layout import Layout, part
from orrery.network.namespace import Namespace
from orrery.network.serving import Listening, Server, await_listening, checked, memory_file
from orrery.state import LabState

ASK_TIMEOUT_S = 10.0
END_TIMEOUT_S = 5.0
POLL_S = 0.01
LONGEST_POLL_S = 0.05
PROBE = "orrery-probe"


class Place(Protocol):
    """One end of a measurement."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def address(self) -> str:
        """IPv4 address on the measured network."""

    @property
    def cpus(self) -> int:
        """Processors of that machine; 0 where that is not known."""

    def run(
        self, argv: Sequence[str], timeout_s: float, *, lasts_s: float = 0, check: bool = True
    ) -> Ran:
        """Run a program to its end.

        Args:
            argv: `orrery-probe` is found wherever it is.
            timeout_s: When it is given up [s].
            lasts_s: How long it runs at least [s]: until then nobody asks whether it has ended.
            check: Whether an exit code other than 0 is an error.

        Raises:
            GuestError, HostError: It failed, is missing, or did not end in time.
        """

    def serve(self, argv: Sequence[str], ready: Listening) -> AbstractContextManager[Server]:
        """Have a server that listens; it is gone afterwards, whatever happens.

        Raises:
            GuestError, HostError: It does not start; with what it said.
        """

    def busy_s(self) -> float:
        """Processor time of that machine so far [s]; nan where nobody can be asked."""

    def held(self) -> AbstractContextManager[None]:
        """Keep the way to it open meanwhile, since opening it costs time."""


class GuestPlace:
    """A guest, through its agent.

    Opening the agent's channel takes 0.1 s (the agent looks for a new client that often), so
    `held` keeps it; nobody else can talk to the agent of this guest meanwhile.
    """

    def __init__(self, guests: Guests, entry: Entry) -> None:
        if not entry.address:
            raise ConfigurationError(
                f"guest {entry.name} has no measured interface (--backend none)"
            )
        self._guests = guests
        self.entry = entry
        self._agent: Agent | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"guest {self.entry.name}"

    @property
    def address(self) -> str:
        """IPv4 address on the measured network."""
        return self.entry.address.partition("/")[0]

    @property
    def cpus(self) -> int:
        """Processors of the guest."""
        return self.entry.cpus

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the agent's channel open meanwhile."""
        with self._talking():
            yield

    def run(
        self, argv: Sequence[str], timeout_s: float, *, lasts_s: float = 0, check: bool = True
    ) -> Ran:
        """Run a program in the guest to its end."""
        with self._talking() as agent:
            program = InGuest(agent, argv)
            # It runs that long. Asking meanwhile would cost the guest time that the trial counts.
            time.sleep(lasts_s)
            ran = program.wait(timeout_s - lasts_s)
        return checked(self.name, ran, check, GuestError)

    @contextlib.contextmanager
    def serve(self, argv: Sequence[str], ready: Listening) -> Iterator[Server]:
        """Have a server in the guest that listens."""

        def listens() -> bool:
            return ready.among(self._read(f"/proc/{ready.table}"), self.address)

        with self._talking() as agent:
            server = InGuest(agent, argv)
            try:
                await_listening(self.name, argv, listens, server.ended, GuestError)
                yield server
            except BaseException:
                # What happened first is what is told; a dead guest has no server, either.
                with contextlib.suppress(OrreryError):
                    server.end()
                raise
            server.end()

    def busy_s(self) -> float:
        """Processor time of the guest so far [s], as its kernel counts it."""
        return busy_seconds(self._read("/proc/stat"))

    def _read(self, path: str) -> str:
        """Text of a file."""
        with self._talking() as agent:
            return agent.read(path).decode("ascii", errors="replace")

    @contextlib.contextmanager
    def _talking(self) -> Iterator[Agent]:
        """The agent: the one that is held, or for now."""
        if self._agent is not None:
            yield self._agent
            return
        with self._guests.agent(self.entry) as agent:
            self._agent = agent
            try:
                yield agent
            finally:
                self._agent = None


class InGuest:
    """A program that the agent started; the agent itself cannot end one.

    Attributes:
        agent: By which it is asked about; another one where the guest has moved meanwhile.
    """

    def __init__(self, agent: Agent, argv: Sequence[str]) -> None:
        self.agent = agent
        self.argv = tuple(argv)
        self._began = time.monotonic()
        self._pid = agent.start(argv)
        self._ran: Ran | None = None

    def ended(self) -> Ran | None:
        """What it came to; None while it runs."""
        if self._ran is None:
            status = self.agent.execute("guest-exec-status", {"pid": self._pid})
            if status["exited"]:
                self._ran = Ran.of(self.argv, status, time.monotonic() - self._began)
        return self._ran

    def wait(self, timeout_s: float) -> Ran:
        """Wait until it ends.

        Raises:
            GuestError: It did not in time.
        """
        end = time.monotonic() + timeout_s
        pause = POLL_S
        while (ran := self.ended()) is None:
            if time.monotonic() > end:
                words = shlex.join(self.argv)
                raise GuestError(f"{self.agent.what}: {words} did not end within {timeout_s:g} s")
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL_S)
        return ran

    def end(self, timeout_s: float = END_TIMEOUT_S) -> Ran:
        """End it with TERM, or with KILL where that does not help in time [s]."""
        if self.ended() is None:
            self._kill("TERM")
            try:
                return self.wait(timeout_s)
            except GuestError:
                self._kill("KILL")
        return self.wait(END_TIMEOUT_S)

    def _kill(self, signal: str) -> None:
        # It may just have ended.
        argv = ["kill", f"-{signal}", str(self._pid)]
        self.agent.run(argv, timeout_s=ASK_TIMEOUT_S, check=False)


@dataclass(frozen=True)
class HostPlace:
    """The host: its programs, inside the lab's namespace.

    Attributes:
        address: Of the bridge.
        interface: The bridge's own interface, through which the host sends and receives.
        programs: Programs of the lab's that are in no folder of PATH.
    """

    namespace: Namespace
    address: str
    interface: str = ""
    programs: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, state: LabState, backend: Backend) -> HostPlace:
        """The host at the bridge that guests of a backend are on.

        Raises:
            ConfigurationError: The lab has no network for guests.
        """
        interface, address = own_bridge(state, backend)
        probe = Path(str(part(state, "guest_image")["probe"]))
        namespace = Layout.of(state).namespace
        return cls(namespace, address.partition("/")[0], interface, {PROBE: probe})

    @property
    def name(self) -> str:
        """For people."""
        return "the host"

    @property
    def cpus(self) -> int:
        """Processors of the host."""
        return os.cpu_count() or 1

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is to be kept open."""
        yield

    def run(
        self, argv: Sequence[str], timeout_s: float, *, lasts_s: float = 0, check: bool = True
    ) -> Ran:
        """Run a program in the namespace to its end; its end is noticed at once."""
        del lasts_s
        done = shell.run(self._argv(argv), timeout_s=timeout_s, check=False)
        ran = Ran(tuple(argv), done.returncode, done.stdout, done.stderr, done.seconds)
        return checked(self.name, ran, check, HostError)

    @contextlib.contextmanager
    def serve(self, argv: Sequence[str], ready: Listening) -> Iterator[Server]:
        """Have a server in the namespace that listens."""
        with self.going(argv) as server:

            def listens() -> bool:
                # `ip netns exec` becomes the program, so that this is the namespace's own table.
                with contextlib.suppress(OSError):
                    pid = str(server.process.pid)
                    table = (PROC / pid / ready.table).read_text(encoding="ascii")
                    return ready.among(table, self.address)
                return False

            await_listening(self.name, argv, listens, server.ended, HostError)
            yield server

    @contextlib.contextmanager
    def going(self, argv: Sequence[str]) -> Iterator[OnHost]:
        """Have a program that goes on in the namespace; it is gone afterwards."""
        with memory_file() as said:
            program = OnHost(shell.start(self._argv(argv), stdout=said), tuple(argv), said)
            try:
                yield program
            finally:
                program.end()

    def busy_s(self) -> float:
        """Processor time of the host so far [s]."""
        return host_busy_s()

    def _argv(self, argv: Sequence[str]) -> list[str | Path]:
        return self.namespace.argv(self.programs.get(argv[0], argv[0]), *argv[1:])


@dataclass
class OnHost:
    """A program that shell.start started.

    Attributes:
        said: File with what it says; gone soon after its end.
    """

    process: shell.Process
    argv: tuple[str, ...]
    said: Path
    ran: Ran | None = None

    def ended(self) -> Ran | None:
        """What it came to; None while it runs."""
        if self.ran is None and (code := self.process.poll()) is not None:
            text = self.said.read_text(encoding="utf-8", errors="replace")
            self.ran = Ran(self.argv, code, text, "", 0.0)
        return self.ran

    def end(self) -> Ran:
        """End it with TERM now; what it printed. Afterwards the same again."""
        shell.stop(self.process, timeout_s=END_TIMEOUT_S)
        ran = self.ended()
        assert ran is not None  # noqa: S101 (it has been waited for)
        return ran


@dataclass(frozen=True)
class PeerPlace:
    """A machine on the LAN that is not the lab's.

    Somebody has started `iperf3 -s` and `sockperf sr` there; the lab starts nothing on it.
    """

    address: str
    cpus: int = 0

    @property
    def name(self) -> str:
        """For people."""
        return f"LAN peer {self.address}"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is to be kept open."""
        yield

    def run(
        self, argv: Sequence[str], timeout_s: float, *, lasts_s: float = 0, check: bool = True
    ) -> Ran:
        """Refuse: nothing is run on somebody's machine."""
        del timeout_s, lasts_s, check
        raise HostError(
            f"{self.name}: {argv[0]} was to be run there, and the lab runs nothing on a machine "
            "that is not its own. Measure this between guests, or between a guest and the host."
        )

    @contextlib.contextmanager
    def serve(self, argv: Sequence[str], ready: Listening) -> Iterator[Server]:
        """Take the server that is there already."""
        del ready
        yield _Theirs(self, tuple(argv))

    def busy_s(self) -> float:
        """Nobody can be asked."""
        return math.nan


@dataclass(frozen=True)
class _Theirs:
    """A server that goes on: it is not ours."""

    place: PeerPlace
    argv: tuple[str, ...]

    def end(self) -> Ran:
        return Ran(self.argv, 0, "", "", 0.0)


def host_busy_s() -> float:
    """Processor time of the host so far [s]."""
    return busy_seconds((PROC / "stat").read_text(encoding="ascii"))
