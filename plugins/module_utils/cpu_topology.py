"""Which CPUs a host has, and which of them the switch takes: pure but for `read`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SYSFS = Path("/sys/devices/system/cpu")
# From this many on a core can be given away for polling alone.
ENOUGH_CPUS = 4
# From this many on two cores can.
MANY_CPUS = 8


class TopologyError(Exception):
    """CPUs were asked for that cannot be taken; the text says which and what to set."""


@dataclass(frozen=True)
class Cpu:
    """One logical CPU.

    Attributes:
        core: Package and number of the physical core; hardware threads of one core share it.
        node: NUMA node.
    """

    number: int
    core: tuple[int, int]
    node: int = 0


@dataclass(frozen=True)
class Choice:
    """CPUs of the switch.

    Attributes:
        pmd: CPUs whose PMD threads poll ports.
        lcore: CPUs of everything else.
        nodes: NUMA nodes of `pmd`.
        why: The reason, as the end of a sentence.
    """

    pmd: tuple[int, ...]
    lcore: tuple[int, ...]
    nodes: tuple[int, ...]
    why: str


def parse_list(text: str) -> list[int]:
    """Numbers of the kernel's notation `0-3,8`.

    Raises:
        ValueError: It is another notation.
    """
    numbers: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return sorted(numbers)


def mask(numbers: Iterable[int]) -> str:
    """CPUs as the hexadecimal mask that Open vSwitch and DPDK take."""
    return hex(sum(1 << number for number in set(numbers)))


def named(numbers: Sequence[int]) -> str:
    """CPUs in words: `CPU 1`, `CPUs 1 and 3`."""
    texts = [str(number) for number in numbers]
    if len(texts) == 1:
        return f"CPU {texts[0]}"
    return f"CPUs {', '.join(texts[:-1])} and {texts[-1]}"


def read(sysfs: Path = SYSFS, allowed: Iterable[int] | None = None) -> tuple[list[Cpu], list[int]]:
    """CPUs that are online and that we may use, and those that the kernel keeps free of tasks."""
    may = set(os.sched_getaffinity(0) if allowed is None else allowed)
    isolated = parse_list(_text(sysfs / "isolated"))
    # An isolated CPU is in nobody's affinity unless asked for.
    numbers = [n for n in parse_list(_text(sysfs / "online")) if n in may or n in isolated]
    return [_cpu(sysfs / f"cpu{number}", number) for number in numbers], isolated


def _cpu(folder: Path, number: int) -> Cpu:
    package = int(_text(folder / "topology" / "physical_package_id") or 0)
    core = int(_text(folder / "topology" / "core_id") or number)
    siblings = parse_list(_text(folder / "topology" / "thread_siblings_list"))
    nodes = [int(path.name.removeprefix("node")) for path in folder.glob("node[0-9]*")]
    # Some hypervisors give every CPU the core number 0: siblings tell the truth.
    return Cpu(number, (max(package, 0), siblings[0] if siblings else core), min(nodes, default=0))


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii").strip()
    return ""


def choose(
    cpus: Sequence[Cpu],
    isolated: Sequence[int] = (),
    *,
    pmd_count: int = 0,
    pmd: Sequence[int] = (),
    lcore: Sequence[int] = (),
) -> Choice:
    """Pick CPUs for the switch.

    Args:
        cpus: What the host has; at least one.
        isolated: CPUs that the kernel keeps free of tasks; preferred for polling.
        pmd_count: Physical cores that poll; 0 means one, or two on a host with many.
        pmd: Asked-for CPUs of the PMD threads; empty means computed.
        lcore: Asked-for CPUs of the rest; empty means computed.

    Raises:
        TopologyError: A CPU that is asked for does not exist.
    """
    numbers = sorted(cpu.number for cpu in cpus)
    _refuse_missing("ovs_pmd_cpus", pmd, numbers)
    _refuse_missing("ovs_lcore_cpus", lcore, numbers)
    picked = tuple(sorted(set(pmd))) or _polling(cpus, isolated, pmd_count)
    rest = [number for number in numbers if number not in picked and number not in isolated]
    others = [number for number in numbers if number not in picked]
    first = (rest or others or numbers)[0]
    reason = f"{len(numbers)} CPU{'' if len(numbers) == 1 else 's'}"
    if pmd:
        reason += ", ovs_pmd_cpus is set"
    elif set(picked) & set(isolated):
        reason += ", the kernel keeps some free (isolated)"
    return Choice(
        pmd=picked,
        lcore=tuple(sorted(set(lcore))) or (first,),
        nodes=tuple(sorted({cpu.node for cpu in cpus if cpu.number in picked})),
        why=reason,
    )


def _polling(cpus: Sequence[Cpu], isolated: Sequence[int], pmd_count: int) -> tuple[int, ...]:
    """CPUs that poll: the last one of a small host, whole cores but for the first of a larger."""
    numbers = sorted(cpu.number for cpu in cpus)
    cores: dict[tuple[int, int], list[Cpu]] = {}
    for cpu in sorted(cpus, key=lambda one: one.number):
        cores.setdefault(cpu.core, []).append(cpu)
    if len(numbers) < ENOUGH_CPUS or len(cores) < 2:
        return (numbers[-1],)
    first = min(cpus, key=lambda one: one.number)
    free = [threads for core, threads in cores.items() if core != first.core]
    # Memory and the first CPU's node go together, so cores of that node come first.
    free.sort(
        key=lambda threads: (
            not all(cpu.number in isolated for cpu in threads),
            threads[0].node != first.node,
            -threads[0].number,
        )
    )
    count = pmd_count or (2 if len(numbers) >= MANY_CPUS else 1)
    return tuple(sorted(cpu.number for threads in free[:count] for cpu in threads))


def _refuse_missing(variable: str, wanted: Sequence[int], numbers: Sequence[int]) -> None:
    missing = sorted(set(wanted) - set(numbers))
    if missing:
        raise TopologyError(
            f"{variable} names {named(missing)}, and this host has {named(numbers)}. "
            f"Set {variable} to some of these, or to [] to have them computed."
        )


def sleep_column(version: str) -> str:
    """Setting that lets a PMD of this Open vSwitch sleep when idle; empty where there is none."""
    parts = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    if len(parts) < 2 or parts >= [3, 2]:
        return "pmd-sleep-max"
    return "pmd-maxsleep" if parts >= [3, 1] else ""


def sleep_us(wanted: str, online: int) -> int:
    """How long an idle PMD may sleep [us]; `auto` means 100 where CPUs are few, else not at all.

    Raises:
        TopologyError: It is neither `auto` nor a number that Open vSwitch takes.
    """
    if wanted == "auto":
        return 100 if online < ENOUGH_CPUS else 0
    if not wanted.isdigit() or int(wanted) > 10000:
        raise TopologyError(
            f"ovs_pmd_max_sleep_us is {wanted!r}; auto or a number of microseconds from 0 to 10000 "
            "is needed."
        )
    return int(wanted)


def explain(choice: Choice, sleep: int, column: str, version: str) -> str:
    """One sentence about who polls where and what that costs."""
    who = f"{choice.why}: PMD polls on {named(choice.pmd)}"
    rest = f"the rest of OVS on {named(choice.lcore)}"
    if sleep and column:
        return f"{who} and sleeps up to {sleep} us when idle, {rest}"
    burns = "keeps it busy all the time" if len(choice.pmd) == 1 else "keeps them busy all the time"
    if sleep:
        return f"{who} and {burns} (OVS {version} cannot let it sleep, 3.1 can), {rest}"
    return f"{who} and {burns}, {rest}"
