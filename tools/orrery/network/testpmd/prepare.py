"""What the role `testpmd` runs: have dpdk-testpmd unpacked, and prove that it starts.

The answer holds `fact` where it is there, and `why` where it cannot be had: the lab does without.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orrery import program, shell
from orrery.errors import HostError
from orrery.network.testpmd.program import Program
from orrery.packages import unpacked
from orrery.packages.apt import Apt, UnreachableError
from orrery.state import StateFile

WHAT = "testpmd"
PACKAGE, PROGRAM = "dpdk-dev", "dpdk-testpmd"
DRIVERS = Path("/usr/lib/x86_64-linux-gnu/dpdk")
NEEDED_DRIVERS = ("bus_vdev", "mempool_ring", "net_af_packet", "net_null", "net_virtio")
PROOF_TIMEOUT_S = 30
LAST_LINES = 4
_VERSION = re.compile(r"RTE Version: 'DPDK (\S+)'")


def prepare(options: argparse.Namespace) -> dict[str, Any]:
    """Have it; `changed`, `fact`, `why` and `note`.

    Raises:
        HostError: It does not start, or a driver is missing.
    """
    nothing = {"changed": False, "fact": None, "note": ""}
    facts = StateFile(options.state_file).read().facts if options.state_file.exists() else {}
    dpdk = facts.get("dpdk") or {}
    if "abi" not in dpdk:
        return {**nothing, "changed": options.check, "why": "the lab has no DPDK yet"}
    version = unpacked.installed_version(f"librte-eal{dpdk['abi']}")
    wanted = unpacked.Wanted(PACKAGE, version, PROGRAM)
    source = Apt(options.cache / "programs", options.mirror, options.proxy, WHAT)
    try:
        made = unpacked.ensure(wanted, source, offline=options.offline, check=options.check)
    except UnreachableError as error:
        return {**nothing, "changed": options.check and not options.offline, "why": str(error)}
    found = Program(made.program, made.libraries, drivers(str(dpdk["abi"])), str(dpdk["version"]))
    if found.program.exists():
        prove(found)
    fact = {key: _text(value) for key, value in asdict(found).items()}
    return {"changed": made.changed, "fact": fact, "why": "", "note": made.note}


def drivers(abi: str, folder: Path = DRIVERS) -> tuple[Path, ...]:
    """Plugins of DPDK that are needed.

    Raises:
        HostError: One is missing.
    """
    names = [f"librte_{name}.so.{abi}" for name in NEEDED_DRIVERS]
    paths = [folder / f"pmds-{abi}.0" / name for name in names]
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise HostError(f"testpmd: {missing[0]} is not there. Run ./lab up: role dpdk installs it.")
    return tuple(paths)


def prove(found: Program) -> None:
    """Start it without devices: libraries resolve, drivers load, a mempool is made.

    Raises:
        HostError: It does not start, or is of another version of DPDK.
    """
    argv: list[str | Path] = [found.program, "-v", "--no-huge", "--no-pci", "--no-shconf"]
    argv += ["--no-telemetry", "-m", "64", "--vdev=net_null0"]
    argv += [word for driver in found.drivers for word in ("-d", driver)]
    cpu = min(os.sched_getaffinity(0))
    argv += [f"--lcores=0@{cpu},1@{cpu}", "--", "-i", "--total-num-mbufs=2048"]
    done = shell.run(
        argv, timeout_s=PROOF_TIMEOUT_S, env=found.environment, stdin="quit\n", check=False
    )
    said = done.stdout + done.stderr
    version = _VERSION.search(said)
    if done.returncode != 0 or version is None or "Bye" not in said:
        last = " | ".join(said.strip().splitlines()[-LAST_LINES:])
        raise HostError(f"testpmd: {found.program} does not start: {last}")
    if version[1] != found.version:
        raise HostError(
            f"testpmd: {found.program} runs with DPDK {version[1]}, and the lab has "
            f"{found.version}. Run ./lab up."
        )


def _text(value: Any) -> Any:
    return [str(one) for one in value] if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    parser = program.parser("orrery.network.testpmd.prepare")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--mirror", default="")
    parser.add_argument("--proxy", default="")
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--check", action="store_true")
    sys.exit(program.run(parser, prepare))
