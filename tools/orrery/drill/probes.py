"""The probes of one move: started where the guest is, collected where it is then."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orrery.drill import logs
from orrery.drill.clocks import Packet
from orrery.drill.logs import Beat
from orrery.drill.scenario import DrillScenario, Flows
from orrery.errors import GuestError, MeasurementError
from orrery.guest.lifecycle import Guests
from orrery.guest.machine import Accel
from orrery.guest.monitor import Agent, Ran
from orrery.guest.registry import Entry
from orrery.network.places import PROBE, HostPlace, InGuest
from orrery.network.serving import Listening, Server, await_listening

RATE = 1000
"""Packets and beats per second."""
PRIORITY = 50
"""Of beats in the guest (SCHED_FIFO): what they miss is not the other probes' doing.

A sender with it starves the kernel's thread that receives, and the guest's ring overflows.
"""
PAYLOAD = 64
SERVICE = "service"
INWARD_PORT, OUTWARD_PORT, SERVICE_PORT = 47001, 47002, 47003
REQUEST_RATE, REQUEST_SIZE = 100, 64
STREAM_RATE, STREAM_SIZE, STREAM_WINDOW = 100, 8192, 32
"""A stream of 6.5 Mbit/s: it shows a dip, and leaves the processors to the others."""
LONGEST_S = 900
PAGES_PER_MB = 256
DISK, DISK_MB, DISK_RATE = "/dev/vda", 16, 100
"""What a program writes to the disk: so much over and over [MB], so many pages per second."""
END_TIMEOUT_S = {Accel.KVM: 10.0, Accel.TCG: 30.0}
"""How long a program in the guest may take to sum up: one looks at all its memory then [s]."""


@dataclass(frozen=True)
class Logs:
    """What the probes of one move have seen.

    Attributes:
        inward: Packets that the guest got; sent by the host's clock, arrived by the guest's.
        outward: Packets that the host got; sent by the guest's clock, arrived by the host's.
        beats: Of the guest, by its clocks.
        requests: Answered requests, both times by the host's clock.
        stream: Answered parts of the stream, both times by the host's clock.
        said: What each of them has summed up.
    """

    inward: tuple[Packet, ...] = ()
    outward: tuple[Packet, ...] = ()
    beats: tuple[Beat, ...] = ()
    requests: tuple[Packet, ...] = ()
    stream: tuple[Packet, ...] = ()
    said: dict[str, dict[str, Any]] = field(default_factory=dict)


class Probes:
    """Probes that run. Made by `running`."""

    def __init__(self, guests: Guests, host: HostPlace, folder: Path, accel: Accel) -> None:
        self._guests, self._host, self._folder = guests, host, folder
        self._patience_s = END_TIMEOUT_S[accel]
        self._inside: dict[str, InGuest] = {}
        self._outside: dict[str, Server] = {}

    def start(self, scenario: DrillScenario, entry: Entry, stack: contextlib.ExitStack) -> None:
        """Start all that a scenario has.

        Raises:
            GuestError, HostError: One does not start.
        """
        address = entry.address.partition("/")[0]
        both = scenario.flows is Flows.BOTH
        if both:
            self._receive(stack)
        with self._guests.agent(entry) as agent:
            if scenario.dirty_mb is not None:
                self._run(agent, "dirty", _load(scenario))
            if scenario.storage is not None:
                self._run(agent, "disk", _written())
            self._run(agent, "beats", _beats(self._inner("beats")))
            bound = ["--bind", address]
            listening = Listening("udp", INWARD_PORT)
            words = [*_receive(INWARD_PORT, self._inner("inward")), *bound]
            self._await(agent, self._run(agent, "inward", words), listening, address)
            listening = Listening("tcp", SERVICE_PORT)
            words = ["serve", "--port", str(SERVICE_PORT), *_rest(), *bound]
            self._await(agent, self._run(agent, SERVICE, words), listening, address)
            if both:
                self._run(agent, "send", _send(self._host.address, OUTWARD_PORT))
        self._go(stack, "inward", _send(address, INWARD_PORT))
        if both:
            request = _ask(address, REQUEST_SIZE, 1, REQUEST_RATE, self._outer("requests"))
            stream = _ask(address, STREAM_SIZE, STREAM_WINDOW, STREAM_RATE, self._outer("stream"))
            self._go(stack, "requests", request)
            self._go(stack, "stream", stream)

    def collect(self, entry: Entry) -> Logs:
        """End all, senders first, and read what they have written.

        Args:
            entry: The guest where it runs now.

        Raises:
            GuestError: The guest does not answer.
            MeasurementError: One of them failed.
        """
        said: dict[str, dict[str, Any]] = {}
        for name in ("inward", "requests", "stream"):
            if name in self._outside:
                said[f"sent {name}"] = _summary(name, self._outside[name].end())
        with self._guests.agent(entry) as agent:
            for program in self._inside.values():
                program.agent = agent
            for name in ("send", "inward", "beats", SERVICE, "dirty", "disk"):
                if name in self._inside:
                    said[name] = _summary(name, self._inside[name].end(self._patience_s))
            inward = logs.packets(agent.read(self._inner("inward")))
            beats = logs.beats(agent.read(self._inner("beats")))
            names = [self._inner(name) for name in ("inward", "beats")]
            agent.run(["rm", "-f", *names], timeout_s=self._patience_s)
        if "outward" in self._outside:
            said["outward"] = _summary("outward", self._outside["outward"].end())
        return Logs(
            inward=tuple(inward),
            outward=tuple(self._read("outward")),
            beats=tuple(beats),
            requests=tuple(self._read("requests")),
            stream=tuple(self._read("stream")),
            said=said,
        )

    def _receive(self, stack: contextlib.ExitStack) -> None:
        words = [PROBE, *_receive(OUTWARD_PORT, self._outer("outward"))]
        words += ["--bind", self._host.address]
        ready = Listening("udp", OUTWARD_PORT)
        self._outside["outward"] = stack.enter_context(self._host.serve(words, ready))

    def _go(self, stack: contextlib.ExitStack, name: str, words: Sequence[str]) -> None:
        self._outside[name] = stack.enter_context(self._host.going([PROBE, *words]))

    def _run(self, agent: Agent, name: str, words: Sequence[str]) -> InGuest:
        self._inside[name] = InGuest(agent, [PROBE, *words])
        return self._inside[name]

    @staticmethod
    def _await(agent: Agent, program: InGuest, ready: Listening, address: str) -> None:
        def listens() -> bool:
            return ready.among(agent.read(f"/proc/{ready.table}").decode(), address)

        await_listening(agent.what, program.argv, listens, program.ended, GuestError)

    @staticmethod
    def _inner(name: str) -> str:
        return f"/run/drill-{name}.log"

    def _outer(self, name: str) -> str:
        return str(self._folder / f"{name}.log")

    def _read(self, name: str) -> list[Packet]:
        path = self._folder / f"{name}.log"
        return logs.packets(path.read_bytes()) if path.exists() else []


@contextlib.contextmanager
def running(
    guests: Guests, host: HostPlace, scenario: DrillScenario, entry: Entry
) -> Iterator[Probes]:
    """Have the probes of a scenario running; those on the host are gone afterwards.

    Raises:
        GuestError, HostError: One does not start.
    """
    with (
        tempfile.TemporaryDirectory(prefix="orrery-drill-") as name,
        contextlib.ExitStack() as stack,
    ):
        probes = Probes(guests, host, Path(name), Accel(entry.accel))
        probes.start(scenario, entry, stack)
        yield probes


def _rest(log: str = "") -> list[str]:
    return ["--seconds", str(LONGEST_S), *(["--log", log] if log else [])]


def _receive(port: int, log: str) -> list[str]:
    return ["receive", "--port", str(port), *_rest(log)]


def _send(address: str, port: int) -> list[str]:
    words = ["send", "--to", address, "--port", str(port), "--size", str(PAYLOAD)]
    return [*words, "--rate", str(RATE), *_rest()]


def _ask(address: str, size: int, window: int, rate: int, log: str) -> list[str]:
    words = ["ask", "--to", address, "--port", str(SERVICE_PORT), "--size", str(size)]
    return [*words, "--window", str(window), "--rate", str(rate), *_rest(log)]


def _summary(name: str, ran: Ran) -> dict[str, Any]:
    """The last line that a probe has printed.

    Raises:
        MeasurementError: It failed, or printed none.
    """
    lines = ran.stdout.strip().splitlines()
    try:
        if ran.returncode:
            raise ValueError(f"exit code {ran.returncode}")
        # A service that nobody asked has nothing to say.
        return {} if name == SERVICE and not lines else dict(json.loads(lines[-1]))
    except (ValueError, TypeError, IndexError) as error:
        last = (ran.stderr or ran.stdout).strip().splitlines()[-3:]
        raise MeasurementError(f"probe {name}: {error}: {' / '.join(last)}") from error


def _beats(log: str) -> list[str]:
    return ["heartbeat", "--fifo", str(PRIORITY), *_rest(log)]


def _written() -> list[str]:
    words = ["write", "--to", DISK, "--mb", str(DISK_MB), "--pages-per-s", str(DISK_RATE)]
    return [*words, *_rest()]


def _load(scenario: DrillScenario) -> list[str]:
    words = ["dirty", "--mb", str(scenario.dirty_mb), *_rest()]
    if scenario.dirty_mbps is not None:
        words += ["--pages-per-s", str(scenario.dirty_mbps * PAGES_PER_MB)]
    return [*words, "--pattern", scenario.pattern or "random"]
