"""What a trial runs under: MTU, sleep of PMDs, pinning. Set for a while, put back, and read back.

What is recorded with a figure is what `of_guest` and `of_switch` read, never what was asked for.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError, GuestError, HostError
from orrery.guest.lifecycle import Guests
from orrery.guest.registry import Entry
from orrery.network.backends import PATHS, Backend
from orrery.network.layout import Layout, part, switch
from orrery.network.namespace import Namespace
from orrery.network.scenario import Pinning
from orrery.network.switch import Switch, parse_rows
from orrery.state import LabState

TASKS = Path("/proc")
AGENT_TIMEOUT_S = 20.0
ATTEMPTS = 3
"""On a loaded host one of some hundred answers of the guest's agent was cut off."""
MTU_TIMEOUT_S = 20.0
MTU_POLL_S = 0.1
FEATURES = {
    "checksum": 0,
    "guest_tso": 7,
    "host_tso": 11,
    "mrg_rxbuf": 15,
    "event_idx": 29,
    "packed": 34,
}
"""Feature bits of virtio-net that say how a guest's rings are used (virtio 1.1, 5.1.3 and 6)."""


@contextlib.contextmanager
def mtu(guests: Guests, entries: Sequence[Entry], wanted: int | None) -> Iterator[None]:
    """Have an MTU [bytes] on guests' interfaces and their ports.

    A bridge's own interface, which the host has its address on, stays as it is. Ports grow before
    guests and shrink after them, so that nobody sends what is dropped on the way. None leaves all
    as it is.

    Raises:
        GuestError, HostError: One of them does not take it; the others are put back.
    """
    if wanted is None:
        yield
        return
    with contextlib.ExitStack() as undo:
        for entry in entries:
            undo.enter_context(_port_mtu(guests.state, entry, wanted))
        for entry in entries:
            undo.enter_context(_guest_mtu(guests, entry, wanted))
        yield


@contextlib.contextmanager
def pmd_sleep(state: LabState, wanted_us: int | None) -> Iterator[None]:
    """Let idle PMDs sleep up to so long [us]; 0 has them poll always, None leaves it as it is.

    Raises:
        ConfigurationError: This Open vSwitch cannot let them sleep.
        HostError: The switch does not answer.
    """
    if wanted_us is None:
        yield
        return
    this = switch(state)
    key = sleep_key(str(part(state, "ovs")["version"]))
    if not key:
        if wanted_us:
            raise ConfigurationError(
                f"PMDs of Open vSwitch {part(state, 'ovs')['version']} cannot sleep, and a sleep "
                f"of {wanted_us} us was asked for. Leave pmd_sleep_us out, or have 3.1 or newer."
            )
        yield
        return
    _configure(this, key, str(wanted_us))
    try:
        yield
    finally:
        _configure(this, key, _own_sleep(state))


def reset_sleep(state: LabState) -> None:
    """Give PMDs the lab's own sleep back, which a killed measurement has left at another.

    Raises:
        HostError: The switch does not answer.
    """
    if not isinstance(state.facts.get("ovs"), dict):
        return
    this = switch(state)
    key = sleep_key(str(part(state, "ovs")["version"]))
    if key and settings(this).get(key) != _own_sleep(state):
        _configure(this, key, _own_sleep(state))


@contextlib.contextmanager
def pinned(state: LabState, entries: Sequence[Entry], wanted: Pinning | None) -> Iterator[None]:
    """Have all threads of guests' QEMUs on processors as a scenario says; None leaves them.

    Threads that QEMU starts meanwhile are where the one is that starts them.

    Raises:
        GuestError: A guest has ended.
    """
    if wanted is None:
        yield
        return
    before = {entry.pid: set().union(*_affinities(entry)) for entry in entries}
    allowed = os.sched_getaffinity(0)
    turns = turns_of(allowed, part(state, "ovs").get("pmd_cpus", ()))
    try:
        for number, entry in enumerate(entries):
            apart = wanted is Pinning.APART
            _pin(entry, {turns[number % len(turns)]} if apart else allowed)
        yield
    finally:
        for entry in entries:
            # One that has ended has no threads to be put back.
            with contextlib.suppress(GuestError):
                _pin(entry, before[entry.pid])


def of_guest(guests: Guests, entry: Entry) -> dict[str, Any]:
    """What holds for one guest.

    Returns:
        mtu and port_mtu [bytes], cpus (of the host, where its QEMU may run; None where its threads
        differ), and by name whether a feature of its rings was agreed on; `host_tso` and
        `guest_tso` say whether segments may pass the device at all.

    Raises:
        GuestError, HostError: The guest, or its port, does not answer.
    """
    device = "/sys/class/net/eth0"
    words = ["cat", f"{device}/mtu", f"{device}/device/features"]
    with guests.agent(entry) as agent:
        for _ in range(ATTEMPTS):
            found = agent.run(words, timeout_s=AGENT_TIMEOUT_S).stdout.split()
            if len(found) == len(words) - 1:
                break
        else:
            raise GuestError(
                f"guest {entry.name}: its interface says '{' '.join(found)}' of itself"
            )
    affinities = {tuple(sorted(cpus)) for cpus in _affinities(entry)}
    return {
        "mtu": int(found[0]),
        "port_mtu": _port_has(guests.state, entry),
        "cpus": list(affinities.pop()) if len(affinities) == 1 else None,
        **rings(found[1]),
    }


def of_switch(state: LabState) -> dict[str, Any]:
    """What holds for the switch: pmd_sleep_us, userspace_tso, pmd_cpus; empty without one.

    Userspace TSO is read at the switch's start; whether a guest may use it is in `of_guest`.

    Raises:
        HostError: It does not answer.
    """
    if not isinstance(state.facts.get("ovs"), dict):
        return {}
    this = switch(state)
    have = settings(this)
    key = sleep_key(str(part(state, "ovs")["version"]))
    return {
        "pmd_sleep_us": int(have.get(key, 0)) if key else 0,
        "userspace_tso": have.get("userspace-tso-enable", "false") == "true",
        "pmd_cpus": cpus_of(have.get("pmd-cpu-mask", "")),
    }


def sleep_key(version: str) -> str:
    """Setting that lets PMDs of an Open vSwitch sleep; empty where there is none."""
    numbers = [int(word) for word in version.split(".")[:2] if word.isdigit()]
    if len(numbers) < 2 or numbers >= [3, 2]:
        return "pmd-sleep-max"
    return "pmd-maxsleep" if numbers >= [3, 1] else ""


def settings(this: Switch) -> dict[str, str]:
    """All `other_config` of a switch.

    Raises:
        HostError: It does not answer.
    """
    text = this.vsctl("--format=json", "--columns=other_config", "list", "Open_vSwitch")
    return {key: str(value) for key, value in parse_rows(text)[0]["other_config"].items()}


def rings(bits: str) -> dict[str, bool]:
    """Features in `/sys/class/net/*/device/features`: a character each, the first one is bit 0."""
    return {name: bits[bit : bit + 1] == "1" for name, bit in FEATURES.items()}


def cpus_of(mask: str) -> list[int]:
    """Processors in a mask, `0x6`; none where it is empty."""
    number = int(mask, 16) if mask else 0
    return [cpu for cpu in range(number.bit_length()) if number >> cpu & 1]


def turns_of(allowed: set[int], polling: Sequence[int]) -> list[int]:
    """Processors in the order in which guests get them: those that PMDs poll on come last."""
    return sorted(allowed, key=lambda cpu: (cpu in polling, cpu))


@contextlib.contextmanager
def _guest_mtu(guests: Guests, entry: Entry, wanted: int) -> Iterator[None]:
    def have(size: str) -> None:
        with guests.agent(entry) as agent:
            words = ["ip", "link", "set", "eth0", "mtu", size]
            agent.run(words, timeout_s=AGENT_TIMEOUT_S)

    with guests.agent(entry) as agent:
        words = ["cat", "/sys/class/net/eth0/mtu"]
        before = agent.run(words, timeout_s=AGENT_TIMEOUT_S).stdout.strip()
    have(str(wanted))
    try:
        yield
    finally:
        # One that has ended takes its interface along.
        with contextlib.suppress(GuestError):
            have(before)


@contextlib.contextmanager
def _port_mtu(state: LabState, entry: Entry, wanted: int) -> Iterator[None]:
    if not PATHS[Backend(entry.backend)].on_switch:
        with _link_mtu(Layout.of(state).namespace, entry.port, wanted):
            yield
        return
    with _requested_mtu(switch(state), entry.port, wanted):
        yield


@contextlib.contextmanager
def _link_mtu(namespace: Namespace, name: str, wanted: int) -> Iterator[None]:
    before = _link_has(namespace, name)
    namespace.ip("link", "set", name, "mtu", str(wanted))
    try:
        yield
    finally:
        namespace.ip("link", "set", name, "mtu", str(before), check=False)


@contextlib.contextmanager
def _requested_mtu(this: Switch, name: str, wanted: int) -> Iterator[None]:
    asked = this.vsctl("get", "Interface", name, "mtu_request").strip()
    before = _mtu_of(this, name)
    this.vsctl("set", "Interface", name, f"mtu_request={wanted}")
    try:
        _await_mtu(this, name, wanted)
        yield
    finally:
        # A port that nothing is asked of any more keeps what it has; and it goes with its guest.
        this.vsctl("--if-exists", "set", "Interface", name, f"mtu_request={before}")
        if asked == "[]":
            this.vsctl("--if-exists", "clear", "Interface", name, "mtu_request")


def _await_mtu(this: Switch, name: str, wanted: int) -> None:
    """Wait until a port has an MTU: the switch writes down what it has a moment later."""
    end = time.monotonic() + MTU_TIMEOUT_S
    while (has := _mtu_of(this, name)) != wanted:
        if time.monotonic() > end:
            raise HostError(
                f"port {name}: its MTU is {has}, {wanted} was asked for{this.why()}. Larger frames "
                "need larger buffers: set ovs_socket_mem_mb and hugepages_count higher, then "
                "./lab up."
            )
        time.sleep(MTU_POLL_S)


def _mtu_of(this: Switch, name: str) -> int:
    text = this.vsctl("get", "Interface", name, "mtu").strip()
    return int(text) if text.isdigit() else 0


def _port_has(state: LabState, entry: Entry) -> int:
    if PATHS[Backend(entry.backend)].on_switch:
        return _mtu_of(switch(state), entry.port)
    return _link_has(Layout.of(state).namespace, entry.port)


def _link_has(namespace: Namespace, name: str) -> int:
    link = namespace.links().get(name)
    if link is None:
        raise HostError(f"there is no interface {name} in the namespace {namespace.name}")
    return int(link["mtu"])


def _own_sleep(state: LabState) -> str | None:
    """What the lab has set; None where it has set nothing."""
    sleep_us = int(part(state, "ovs").get("pmd_sleep_us") or 0)
    return str(sleep_us) if sleep_us > 0 else None


def _configure(this: Switch, key: str, value: str | None) -> None:
    words = ["remove", "Open_vSwitch", ".", "other_config", key]
    if value is not None:
        words = ["set", "Open_vSwitch", ".", f"other_config:{key}={value}"]
    this.vsctl(*words)


def _threads(entry: Entry) -> list[int]:
    try:
        return [int(path.name) for path in (TASKS / str(entry.pid) / "task").iterdir()]
    except OSError as error:
        raise GuestError(f"guest {entry.name}: it has ended (process {entry.pid})") from error


def _affinities(entry: Entry) -> list[set[int]]:
    """Processors of each thread."""
    found: list[set[int]] = []
    for thread in _threads(entry):
        # It may have ended between the two.
        with contextlib.suppress(ProcessLookupError):
            found.append(os.sched_getaffinity(thread))
    return found


def _pin(entry: Entry, cpus: set[int]) -> None:
    """Pin all threads; again, since one may have been started by another that was not pinned."""
    done: set[int] = set()
    while left := set(_threads(entry)) - done:
        for thread in left:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, cpus)
        done |= left
