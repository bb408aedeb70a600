"""The lab's Open vSwitch: its ports, the cores that poll their queues, its log."""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery import shell
from orrery.errors import HostError

TIMEOUT_S = 15
POLL_S = 0.1
GUEST = "orrery_guest"
"""Key in `external_ids` of a port that a guest holds."""
LAB = "orrery_lab"
"""And of the lab whose guest that is."""

# struct ucred, unix(7): process, user, group
_UCRED = struct.Struct("3i")
_CORE = re.compile(r"pmd thread numa_id (-?\d+) core_id (\d+):")
_QUEUE = re.compile(r"port:\s+(\S+)\s+queue-id:\s+(\d+)\s+\((enabled|disabled)\)")
_TRAFFIC = re.compile(r"pkts=(\d+), bytes=(\d+)")
_COUNTER = re.compile(r"(\w+)=(\d+)")
_WAY = re.compile(r"\b(rx|tx) (pkts=.*)")
_TOTALS = {"pkts": "packets", "bytes": "bytes", "drop": "dropped", "errs": "errors"}
_NO_MEMPOOL = re.compile(r"[Ff]ailed to create (?:mempool|memory pool)")
# Every thread numbers its own lines; the main one begins with its log file or its processors.
_FIRST_LINE = re.compile(r"\|00001\|(?:ovs_numa|vlog)\|")


@dataclass(frozen=True)
class PolledQueue:
    """A receive queue of a port and the core whose PMD polls it."""

    port: str
    queue: int
    core: int
    enabled: bool


@dataclass(frozen=True)
class Port:
    """A port of a bridge.

    Attributes:
        guest: The guest that holds it; empty for one of the lab's own.
        lab: Whose guest that is; empty where nothing is said.
        error: Why it does not work; empty where it does.
        link: `up`, `down` or empty.
    """

    bridge: str
    name: str
    kind: str
    tag: int | None
    guest: str
    error: str
    link: str
    statistics: Mapping[str, int]
    status: Mapping[str, str]
    lab: str = ""


@dataclass(frozen=True)
class Bridge:
    """A bridge of the switch.

    Attributes:
        datapath: `netdev` is the userspace datapath, `system` the kernel's.
        marks: Its `external_ids`.
        ports: Names of its ports, its own internal one among them.
    """

    name: str
    datapath: str
    marks: Mapping[str, str]
    ports: tuple[str, ...]


@dataclass(frozen=True)
class Switch:
    """One running instance of Open vSwitch.

    Attributes:
        database: `unix:/path` of its database server.
        control: Socket of ovs-vswitchd for ovs-appctl.
        log: Its log.
        vhost_dir: Folder of vhost-user sockets.
        log_allowed: Patterns of error lines that mean no harm.
    """

    database: str
    control: str
    log: Path
    vhost_dir: Path
    log_allowed: tuple[str, ...] = ()

    def vsctl(self, *words: str, wait: bool = True) -> str:
        """Run ovs-vsctl; its output.

        Raises:
            HostError: It failed, or the switch does not answer.
        """
        argv = ["ovs-vsctl", f"--db={self.database}", f"--timeout={TIMEOUT_S}"]
        argv += [] if wait else ["--no-wait"]
        return shell.run([*argv, *words], timeout_s=TIMEOUT_S + 5).stdout

    def appctl(self, *words: str) -> str:
        """Run ovs-appctl; its output.

        Raises:
            HostError: The switch does not answer.
        """
        argv = ["ovs-appctl", f"--timeout={TIMEOUT_S}", "-t", self.control, *words]
        return shell.run(argv, timeout_s=TIMEOUT_S + 5).stdout

    def bridges(self) -> list[Bridge]:
        """All bridges."""
        names = {str(row["_uuid"]): str(row["name"]) for row in self._rows("Port", "_uuid,name")}
        columns = "name,datapath_type,external_ids,ports"
        return [
            Bridge(
                name=str(row["name"]),
                # The kernel's is what is meant where nothing is said.
                datapath=str(row["datapath_type"]) or "system",
                marks={key: str(value) for key, value in row["external_ids"].items()},
                ports=tuple(sorted(names[port] for port in _list(row["ports"]) if port in names)),
            )
            for row in sorted(self._rows("Bridge", columns), key=lambda one: str(one["name"]))
        ]

    def add_bridge(self, name: str, *, datapath: str, marks: Mapping[str, str]) -> None:
        """Add a bridge and wait until the switch has made it.

        Raises:
            HostError: The name is taken, or the switch cannot make it.
        """
        if any(name in (one.name, *one.ports) for one in self.bridges()):
            raise HostError(
                f"the lab's switch has a bridge or port {name} already. Remove it, or take it out "
                "of ovs_bridges and run ./lab up."
            )
        words = ["add-br", name, "--", "set", "Bridge", name, f"datapath_type={datapath}"]
        self.vsctl(*words, *(f"external_ids:{key}={value}" for key, value in marks.items()))
        # A bridge that could not be made has no number, and no error anywhere but in the log.
        if self.vsctl("get", "Bridge", name, "datapath_id").strip() == "[]":
            why = self.why()
            self.remove_bridge(name)
            raise HostError(
                f"bridge {name}: the switch cannot make it on the datapath '{datapath}'{why}"
            )

    def remove_bridge(self, name: str) -> None:
        """Be without a bridge and its ports."""
        self.vsctl("--if-exists", "del-br", name)

    def ports(self) -> list[Port]:
        """All ports of all bridges."""
        bridges = {
            str(row["name"]): _list(row["ports"]) for row in self._rows("Bridge", "name,ports")
        }
        ports = {str(row["_uuid"]): row for row in self._rows("Port", "_uuid,name,tag,interfaces")}
        columns = "_uuid,name,type,error,link_state,statistics,status,external_ids"
        interfaces = {str(row["_uuid"]): row for row in self._rows("Interface", columns)}
        return [
            _port(bridge, ports[port], interfaces[interface])
            for bridge, members in sorted(bridges.items())
            for port in members
            if port in ports
            for interface in _list(ports[port]["interfaces"])
            if interface in interfaces
        ]

    def port(self, name: str) -> Port | None:
        """One port."""
        return next((port for port in self.ports() if port.name == name), None)

    def link(self, name: str) -> str:
        """State of a port's link: `up`, `down`, or empty where there is none."""
        found = self.vsctl("--if-exists", "get", "Interface", name, "link_state")
        return found.strip().strip('"').replace("[]", "")

    def counters(self, port: Port) -> dict[str, int]:
        """A port's own counters as they are now; the database has them up to five seconds late."""
        return parse_counters(self._dumped(port.bridge, port.name))

    def totals(self, bridge: str, port: str) -> dict[str, int]:
        """What a port has received and sent so far, `rx_packets`; as it is now.

        Raises:
            HostError: It is not there.
        """
        return parse_totals(self._dumped(bridge, port))

    def traffic(self, bridge: str, port: str) -> tuple[int, int]:
        """Packets and bytes that a port has received and sent so far.

        Raises:
            HostError: It is not there, or does not count.
        """
        text = self._dumped(bridge, port)
        found = [_TRAFFIC.search(line) for line in text.splitlines()]
        pairs = [(int(one[1]), int(one[2])) for one in found if one]
        if not pairs:
            raise HostError(f"port {port} of {bridge} has no counters: {text.strip()}")
        return sum(packets for packets, _ in pairs), sum(size for _, size in pairs)

    def add_port(
        self,
        bridge: str,
        name: str,
        *,
        kind: str,
        guest: str = "",
        lab: str = "",
        tag: int | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Add a port and wait until the switch has taken it; `guest` of `lab` is who holds it.

        Raises:
            HostError: The name is taken, or the switch says why it cannot have it.
        """
        taken = self.port(name)
        if taken is not None:
            owner = f"the guest {taken.guest}" if taken.guest else "no guest of this lab"
            raise HostError(
                f"port {name} is there already, on {taken.bridge}, and belongs to {owner}. "
                "Stop that guest, or choose another name."
            )
        words = ["add-port", bridge, name]
        words += [f"tag={tag}"] if tag is not None else []
        marks = {GUEST: guest, LAB: lab}
        columns = [f"external_ids:{key}={value}" for key, value in marks.items() if value]
        columns += [f"type={kind}"] if kind else []
        columns += [f"options:{key}={value}" for key, value in sorted((options or {}).items())]
        self.vsctl(*words, *(["--", "set", "Interface", name, *columns] if columns else []))
        made = self.port(name)
        if made is not None and made.error:
            self.remove_port(name)
            raise HostError(f"port {name} on {bridge}: {made.error}{self.why()}")

    def remove_port(self, name: str) -> None:
        """Be without a port."""
        self.vsctl("--if-exists", "del-port", name)

    def polled(self) -> list[PolledQueue]:
        """Which core polls which queue."""
        return parse_polled(self.appctl("dpif-netdev/pmd-rxq-show"))

    def why(self) -> str:
        """What the log says about a port that does not work; empty when nothing is known."""
        try:
            lines = self.errors()
        except HostError as error:
            # That the log cannot be read is less than what is being explained.
            return f". ({error})"
        if any(_NO_MEMPOOL.search(line) for line in lines):
            return (
                ". DPDK cannot make a memory pool: the mempool driver is missing "
                "(package librte-mempool-ring) or the huge pages do not suffice "
                "(hugepages_count). Run ./lab up."
            )
        return f". Its log: {lines[-1]}" if lines else ""

    def errors(self) -> list[str]:
        """Lines of level ERR or EMER since the switch was started, but for those that are allowed.

        Raises:
            HostError: The log cannot be read.
        """
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise HostError(f"{self.log}: {error.strerror}") from error
        return [
            line
            for line in parse_errors(text)
            if not any(re.search(pattern, line) for pattern in self.log_allowed)
        ]

    def pid(self) -> int:
        """Process of ovs-vswitchd: the one that listens at its control socket.

        Raises:
            HostError: Nobody does.
        """
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(TIMEOUT_S)
                client.connect(self.control)
                peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        except OSError as error:
            raise HostError(f"{self.control}: the switch does not answer: {error}") from error
        return int(_UCRED.unpack(peer)[0])

    def _dumped(self, bridge: str, port: str) -> str:
        """What the switch counts at a port, as OpenFlow has it."""
        management = Path(self.control).with_name(f"{bridge}.mgmt")
        argv = ["ovs-ofctl", f"--timeout={TIMEOUT_S}", "-O", "OpenFlow14", "dump-ports"]
        words = [*argv, f"unix:{management}", port]
        return shell.run(words, timeout_s=TIMEOUT_S + 5).stdout

    def await_pid(self, timeout_s: float) -> int:
        """Wait for a switch that is being started; its process.

        Raises:
            HostError: It does not answer in time.
        """
        end = time.monotonic() + timeout_s
        while True:
            try:
                return self.pid()
            except HostError:
                if time.monotonic() > end:
                    raise
            time.sleep(POLL_S)

    def _rows(self, table: str, columns: str) -> list[dict[str, Any]]:
        return parse_rows(self.vsctl("--format=json", f"--columns={columns}", "list", table))


def parse_rows(text: str) -> list[dict[str, Any]]:
    """Rows of ovs-vsctl's JSON table, with sets as lists, maps as dicts, uuids as text."""
    data = json.loads(text or '{"headings": [], "data": []}')
    return [
        {name: _value(cell) for name, cell in zip(data["headings"], row, strict=True)}
        for row in data["data"]
    ]


def parse_polled(text: str) -> list[PolledQueue]:
    """Read `dpif-netdev/pmd-rxq-show`."""
    found = []
    core = -1
    for line in text.splitlines():
        head = _CORE.search(line)
        core = int(head[2]) if head else core
        queue = _QUEUE.search(line)
        if queue:
            found.append(PolledQueue(queue[1], int(queue[2]), core, queue[3] == "enabled"))
    return found


def parse_counters(text: str) -> dict[str, int]:
    """Custom statistics in what `ovs-ofctl dump-ports` prints of one port."""
    own = text.partition("CUSTOM Statistics")[2]
    return {name: int(value) for name, value in _COUNTER.findall(own)}


def parse_totals(text: str) -> dict[str, int]:
    """Packets, bytes, dropped and errors each way; what a port does not count (`?`) is left out."""
    return {
        f"{way}_{_TOTALS[name]}": int(value)
        for way, rest in _WAY.findall(text)
        for name, value in _COUNTER.findall(rest)
        if name in _TOTALS
    }


def parse_errors(text: str) -> list[str]:
    """Error lines of the last run of an Open vSwitch daemon."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if _FIRST_LINE.search(line)]
    run = lines[starts[-1] :] if starts else lines
    return [line for line in run if "|ERR|" in line or "|EMER|" in line]


def _value(cell: Any) -> Any:
    if isinstance(cell, list) and len(cell) == 2:
        kind, content = cell
        if kind == "map":
            return {key: _value(value) for key, value in content}
        if kind == "set":
            return [_value(one) for one in content]
        if kind == "uuid":
            return str(content)
    return cell


def _list(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _text(value: Any) -> str:
    """A column that may be empty, which OVSDB gives as an empty set."""
    return "" if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _port(bridge: str, port: Mapping[str, Any], interface: Mapping[str, Any]) -> Port:
    statistics = interface["statistics"]
    tag = port["tag"]
    return Port(
        bridge=bridge,
        name=str(port["name"]),
        kind=str(interface["type"]) or "system",
        tag=tag if isinstance(tag, int) else None,
        guest=str(interface["external_ids"].get(GUEST, "")),
        error=_text(interface["error"]),
        link=_text(interface["link_state"]),
        statistics={key: int(value) for key, value in statistics.items()},
        status={key: str(value) for key, value in interface["status"].items()},
        lab=str(interface["external_ids"].get(LAB, "")),
    )
