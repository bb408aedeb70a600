#!/usr/bin/python
"""Ansible module: makes a mempool with DPDK, which shows whether its drivers are complete."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: dpdk_mempool
short_description: Proves that DPDK can make a mempool
description:
  - Starts DPDK's EAL and makes a small mempool, as a switch does for its ports. Without the driver
    C(librte_mempool_ring) a switch starts without an error, and passes no packet.
  - It happens in a process of its own with a time limit, on huge pages of the given mount, whose
    files have no name. Where the pages are in use already it is done without huge pages.
  - Needs no package of headers; the libraries are called directly.
options:
  abi: {type: str, required: true, description: "Number in the names of the libraries, C(23)."}
  huge_dir: {type: path, required: true, description: Mount of huge pages.}
  megabytes: {type: int, default: 64, description: "Memory that EAL takes for the trial [MB]."}
  timeout_s: {type: int, default: 60, description: "How long the trial may take [s]."}
attributes:
  check_mode: {support: full}
author: Orrery
"""

EXAMPLES = r"""
- name: Try a mempool
  dpdk_mempool:
    abi: "23"
    huge_dir: /run/orrery/hugepages
"""

RETURN = r"""
version:
  description: Version of DPDK; empty in check mode where it is not installed yet.
  type: str
  returned: always
memory:
  description: C(huge pages), C(none free) where they are all in use, C(not tried) in check mode.
  type: str
  returned: always
"""

import ctypes
import json
import os
import re
import select
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils import lab_hugepages_mount as mounts
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab_hugepages_pool import Pool

ARGUMENTS: dict[str, Any] = {
    "abi": {"type": "str", "required": True},
    "huge_dir": {"type": "path", "required": True},
    "megabytes": {"type": "int", "default": 64},
    "timeout_s": {"type": "int", "default": 60},
}
# Where EAL keeps a folder for each process, by its prefix.
RUN_DIR = Path("/run/dpdk")
PACKET_BYTES = 2176  # RTE_MBUF_DEFAULT_BUF_SIZE: 2048 and a headroom of 128
PACKETS = 1023  # the best is a power of two less one, says rte_mempool_create
ANY_SOCKET = -1


class TrialError(Exception):
    """No mempool can be made; the text says why and what to do."""


@dataclass(frozen=True)
class Memory:
    """What there is at the mount [pages].

    Attributes:
        page_kb: Size of a page [kB].
        free: Those that can be mapped now.
        busy: Whether somebody has pages of the mount.
        room: Those that the mount would give. More than are free where somebody has the pool's
            pages without the mount, as a switch that runs already.
    """

    page_kb: int
    free: int
    busy: bool
    room: int = 0

    def needed(self, megabytes: int) -> int:
        """Pages for so much memory."""
        return -(-megabytes * 1024 // self.page_kb)


@dataclass(frozen=True)
class Trial:
    """How a trial ended: its step (load, start, pool, done), why, and what EAL wrote."""

    step: str
    reason: str = ""
    version: str = ""
    log: str = ""


def look(huge_dir: Path, mountinfo: str, pools: Path = Path("/sys/kernel/mm/hugepages")) -> Memory:
    """What the mount has to give.

    Raises:
        TrialError: There is no mount of huge pages.
    """
    found = mounts.mounted_at(str(huge_dir), mountinfo)
    if found is None or found.kind != "hugetlbfs" or not found.page_kb:
        raise TrialError(
            f"dpdk: no huge pages are mounted at {huge_dir}. Run the role hugepages first, "
            "or set dpdk_huge_dir."
        )
    room = os.statvfs(huge_dir)
    free = Pool(pools / f"hugepages-{found.page_kb}kB").counts().unclaimed
    limited = room.f_blocks > 0
    return Memory(
        page_kb=found.page_kb,
        free=min(free, room.f_bavail) if limited else free,
        room=room.f_bavail if limited else free,
        busy=(limited and room.f_bfree < room.f_blocks) or any(huge_dir.iterdir()),
    )


def words(memory: Memory, huge_dir: Path, megabytes: int, prefix: str) -> list[str]:
    """Arguments of EAL; without huge pages when the lab's are all in use.

    Raises:
        TrialError: There are too few, and the lab uses none.
    """
    core = min(os.sched_getaffinity(0))
    # Devices of the host are not looked at, and no file is left behind.
    common = ["orrery", "--no-pci", "--no-shconf", "--no-telemetry", "--log-level=lib.eal:info"]
    common += ["-l", str(core), "-m", str(megabytes), "--file-prefix", prefix]
    needed = memory.needed(megabytes)
    if memory.free >= needed:
        return [*common, "--huge-dir", str(huge_dir), "--huge-unlink=always"]
    if memory.busy or memory.room >= needed:
        return [*common, "--no-huge"]
    raise TrialError(
        f"dpdk: {memory.free} huge pages of {memory.page_kb} kB are free at {huge_dir}, {needed} "
        f"are needed to try a mempool in {megabytes} MB. Set hugepages_count higher, stop what has "
        "the pages, or set dpdk_mempool_mb lower."
    )


def attempt(abi: str, arguments: list[str]) -> dict[str, str]:
    """Start EAL in this process, which is of no use afterwards, and make a mempool."""
    try:
        eal = ctypes.CDLL(f"librte_eal.so.{abi}", mode=ctypes.RTLD_GLOBAL)
        mbuf = ctypes.CDLL(f"librte_mbuf.so.{abi}", mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return {"step": "load", "reason": str(error)}
    eal.rte_version.restype = eal.rte_strerror.restype = ctypes.c_char_p
    mbuf.rte_pktmbuf_pool_create.restype = ctypes.c_void_p
    mbuf.rte_pktmbuf_pool_create.argtypes = [
        ctypes.c_char_p,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_uint16,
        ctypes.c_uint16,
        ctypes.c_int,
    ]
    version = eal.rte_version().decode().removeprefix("DPDK ")

    def failed(step: str) -> dict[str, str]:
        number = ctypes.c_int.in_dll(eal, "per_lcore__rte_errno").value
        reason = eal.rte_strerror(number).decode()
        return {"step": step, "reason": reason, "version": version}

    values = (ctypes.c_char_p * len(arguments))(*(word.encode() for word in arguments))
    if eal.rte_eal_init(len(arguments), values) < 0:
        return failed("start")
    if not mbuf.rte_pktmbuf_pool_create(b"orrery", PACKETS, 0, 0, PACKET_BYTES, ANY_SOCKET):
        return failed("pool")
    return {"step": "done", "version": version}


def in_child(call: Callable[[], dict[str, str]], timeout_s: float) -> Trial:
    """Run it in a child, so that a crash, a hang and EAL's threads stay there."""
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as answer:
        child = os.fork()
        if child == 0:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            try:
                answer.write(json.dumps(call()).encode())
                answer.flush()
            finally:
                os._exit(0)
        handle = os.pidfd_open(child)
        try:
            ended = bool(select.select([handle], [], [], timeout_s)[0])
            if not ended:
                os.kill(child, signal.SIGKILL)
        finally:
            os.close(handle)
        _, status = os.waitpid(child, 0)
        log.seek(0)
        answer.seek(0)
        text, found = log.read().decode(errors="replace"), answer.read()
    if not ended:
        return Trial("end", f"it did not end within {timeout_s:g} s", log=text)
    if not found:
        code = os.waitstatus_to_exitcode(status)
        why = f"it was ended by signal {-code}" if code < 0 else "it gave no answer"
        return Trial("end", why, log=text)
    return Trial(**json.loads(found), log=text)


def drivers(abi: str, libraries: Path = Path("/usr/lib")) -> Path:
    """Folder that EAL loads its drivers from."""
    found = sorted(libraries.glob(f"*/dpdk/pmds-{abi}.*"))
    return found[-1] if found else libraries / "dpdk" / f"pmds-{abi}"


def explain(trial: Trial, abi: str, folder: Path) -> str:
    """Why there is no mempool and what to do; nothing when there is one."""
    if trial.step == "done":
        return ""
    if trial.step == "load":
        return (
            f"dpdk: {trial.reason}. The packages librte-eal{abi} and librte-mbuf{abi} are needed: "
            "set dpdk_abi to the number that this host's DPDK has, or dpdk_packages."
        )
    steps = {"start": "EAL cannot start", "pool": "no mempool can be made"}
    what = steps.get(trial.step, "the trial of a mempool failed")
    if trial.step == "pool" and not list(folder.glob(f"librte_mempool_ring.so.{abi}*")):
        return (
            f"dpdk: {what}: {trial.reason}. {folder} holds no librte_mempool_ring.so.{abi}: a "
            f"switch would start and pass no packet. Run apt-get install --reinstall "
            f"librte-mempool-ring{abi}."
        )
    lines = [line.strip() for line in trial.log.splitlines() if re.match(r"\s*[A-Z]", line)]
    said = " | ".join(dict.fromkeys(lines[-4:])) or "nothing"
    return f"dpdk: {what}: {trial.reason}. EAL said: {said}"


def tidy(prefix: str, there: bool, run_dir: Path = RUN_DIR) -> None:
    """Remove the folder that EAL made for the trial."""
    shutil.rmtree(run_dir / prefix, ignore_errors=True)
    if not there and run_dir.is_dir() and not any(run_dir.iterdir()):
        run_dir.rmdir()


def prove(params: dict[str, Any]) -> tuple[Trial, str]:
    """Make a mempool; gives how it went and the memory that it was made in.

    Raises:
        TrialError: The mount has too few pages, or is none.
    """
    huge_dir, abi = Path(params["huge_dir"]), params["abi"]
    mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    prefix, there = f"orrery-trial-{os.getpid()}", RUN_DIR.exists()
    arguments = words(look(huge_dir, mountinfo), huge_dir, params["megabytes"], prefix)
    try:
        trial = in_child(lambda: attempt(abi, arguments), params["timeout_s"])
    finally:
        tidy(prefix, there)
    return trial, "none free" if "--no-huge" in arguments else "huge pages"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    abi = module.params["abi"]
    try:
        trial, memory = prove(module.params)
        problem = explain(trial, abi, drivers(abi))
    except TrialError as error:
        trial, memory, problem = Trial("memory"), "", str(error)
    except OSError as error:
        trial, memory, problem = Trial("memory"), "", f"dpdk: {error}"
    if problem and module.check_mode:
        # What is missing may be what an earlier task would bring.
        memory = "not tried"
        module.warn(problem)
    elif problem:
        module.fail_json(msg=problem, log=trial.log)
    module.exit_json(changed=False, version=trial.version, memory=memory)


if __name__ == "__main__":
    main()
