"""Open vSwitch's database through ovs-vsctl, and its log: parsing is pure, `Database` runs it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

PROGRAM = "ovs-vsctl"
# Waiting for ovs-vswitchd included, whose start with DPDK takes one to three seconds.
TIMEOUT_S = 30

Row = dict[str, Any]
Runner = Callable[[list[str]], tuple[int, str, str]]

# Every thread counts its own lines; the main one begins with the CPUs it discovers.
FIRST_LINE = re.compile(r"\|00001\|(?:ovs_numa|vlog)\|")
LEVEL = re.compile(r"\|(ERR|EMER)\|")
PREFIX = re.compile(r"^.*?\|\d{5}\|")
MEMPOOL = re.compile(r"[Ff]ailed to create (?:mempool|memory pool)")
DPDK_SAID = re.compile(r"\|dpdk(?:\([^)]*\))?\|(?:ERR|EMER)\|")


class OvsError(Exception):
    """The database does not answer or refuses; the text says what it said."""


class NoRowError(OvsError):
    """The record is not there."""


def from_json(cell: Any) -> Any:
    """A value of ovs-vsctl's JSON: maps as dict, sets as list, an empty optional as []."""
    if isinstance(cell, list) and len(cell) == 2:
        kind, content = cell
        if kind == "map":
            return {str(key): from_json(value) for key, value in content}
        if kind == "set":
            return [from_json(one) for one in content]
        if kind in ("uuid", "named-uuid"):
            return str(content)
    return cell


def parse_tables(text: str) -> list[list[Row]]:
    """Rows of each table that ovs-vsctl printed, one table a line."""
    tables = []
    for line in filter(str.strip, text.splitlines()):
        data = json.loads(line)
        names = data["headings"]
        tables.append(
            [
                {name: from_json(cell) for name, cell in zip(names, row, strict=True)}
                for row in data["data"]
            ]
        )
    return tables


def as_list(value: Any) -> list[Any]:
    """A set, which OVSDB gives without brackets when it holds one value."""
    return value if isinstance(value, list) else [value]


def optional(value: Any) -> Any:
    """An optional column: its value, or None."""
    return None if value == [] else value


def text_of(value: Any) -> str:
    """A value of a map, all of which are text in OVSDB."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def quoted(value: Any) -> str:
    """One value as ovs-vsctl reads it; text is put in quotes, whatever is in it."""
    if isinstance(value, (bool, int, float)):
        return text_of(value)
    return json.dumps(str(value))


def quoted_list(values: Iterable[Any]) -> str:
    """A set as ovs-vsctl reads it."""
    return "[" + ",".join(quoted(value) for value in values) + "]"


def run_lines(text: str) -> list[str]:
    """Lines of the last run of the daemon."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if FIRST_LINE.search(line)]
    return lines[starts[-1] :] if starts else lines


def said(line: str) -> str:
    """A line of the log without its times and number."""
    return PREFIX.sub("", line)


def errors(lines: Sequence[str], allowed: Iterable[str] = ()) -> list[str]:
    """What was logged as ERR or EMER, once each, without what is allowed."""
    patterns = [re.compile(pattern) for pattern in allowed]
    found = [
        said(line)
        for line in lines
        if LEVEL.search(line) and not any(pattern.search(line) for pattern in patterns)
    ]
    return list(dict.fromkeys(found))


def dpdk_reasons(lines: Sequence[str]) -> list[str]:
    """What DPDK said about why it does not start."""
    found = [said(line).split("|", 2)[-1] for line in lines if DPDK_SAID.search(line)]
    return list(dict.fromkeys(found))


def dpdk_advice(reasons: Sequence[str]) -> str:
    """What to do about the reasons; empty when nothing is known."""
    text = " ".join(reasons)
    if "Not enough memory" in text or "init memory" in text or "allocate memory" in text:
        return "Raise hugepages_count, lower ovs_socket_mem_mb, or stop who uses the huge pages."
    if "hugetlbfs" in text or "Cannot get hugepage information" in text:
        return "Set ovs_hugepage_dir to a hugetlbfs mount (hugepages_mount of the role hugepages)."
    if "lcore" in text or "coremask" in text:
        return "Set ovs_lcore_cpus to CPUs of this host."
    return "Run the role again once that is mended."


def no_dpdk(lines: Sequence[str], log: str) -> str:
    """One text about why DPDK did not start."""
    reasons = dpdk_reasons(lines)
    if not reasons:
        return f"DPDK did not start, and {log} does not say why. Is dpdk-init set?"
    return f"DPDK did not start: {'; '.join(reasons)} ({log}). {dpdk_advice(reasons)}"


def no_mempool(lines: Sequence[str], abi: str, driver_there: bool) -> str:
    """One text about a memory pool that DPDK could not make; empty when it made all."""
    if not any(MEMPOOL.search(line) for line in lines):
        return ""
    found = "Open vSwitch cannot make a memory pool, so no packet passes its DPDK ports"
    if driver_there:
        return f"{found}: the huge pages do not suffice. Raise hugepages_count."
    return f"{found}: the mempool driver is missing. Install the package librte-mempool-ring{abi}."


def dpdk_drivers(libraries: Path = Path("/usr/lib")) -> tuple[str, bool]:
    """DPDK's ABI version, `23`, and whether its mempool driver is installed."""
    found = sorted(path.name for path in libraries.glob("*/librte_eal.so.*"))
    abi = found[0].removeprefix("librte_eal.so.").split(".")[0] if found else ""
    return abi, any(libraries.glob("*/dpdk/pmds-*/librte_mempool_ring.so*"))


class Database:
    """One database server."""

    def __init__(self, address: str, run: Runner, timeout_s: int = TIMEOUT_S) -> None:
        self.address = address
        self.argv = [PROGRAM, f"--db={address}", f"--timeout={timeout_s}", "--format=json"]
        self.run = run

    def there(self) -> bool:
        """Whether its socket exists; a database that was never started has none."""
        return not self.address.startswith("unix:") or Path(self.address[5:]).exists()

    def call(self, words: Sequence[str], *, wait: bool) -> str:
        """Run ovs-vsctl.

        Args:
            words: Commands with their options.
            wait: Whether ovs-vswitchd has to have done it.

        Raises:
            NoRowError: A record is not there.
            OvsError: It failed for another reason.
        """
        options = [] if wait else ["--no-wait"]
        code, out, err = self.run([*self.argv, *options, *words])
        if code == 0:
            return out
        reason = " ".join(err.replace(f"{PROGRAM}: ", "").split()) or f"it ended with {code}"
        if code < 0 or "Alarm clock" in reason:
            reason = "no answer in time; is ovs-vswitchd running?"
        kind = NoRowError if "no row" in reason else OvsError
        raise kind(f"{PROGRAM} {words[0]} at {self.address}: {reason}")

    def tables(self, *tables: str) -> list[list[Row]]:
        """All rows of some tables.

        Raises:
            OvsError: The database does not answer.
        """
        words = [word for table in tables for word in ("--", "list", table)]
        return parse_tables(self.call(words, wait=False))

    def record(self, table: str, name: str) -> Row:
        """One row.

        Raises:
            OvsError: It is not there, or the database does not answer.
        """
        return parse_tables(self.call(["list", table, name], wait=False))[0][0]
