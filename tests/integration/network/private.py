"""A switch that tests may kill: Open vSwitch with DPDK, in a namespace and a folder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orrery import shell
from orrery.network.layout import switch
from orrery.network.namespace import Namespace
from orrery.network.testpmd import wiring
from orrery.state import LabState

NAME = "t-engine"
MEMORY_MB = 512
START_TIMEOUT_S = 15.0
POLL_S = 0.1
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


@dataclass
class PrivateSwitch:
    """One Open vSwitch.

    Attributes:
        folder: A short one: sockets are in it.
        program: ovs-vswitchd with DPDK.
        state: A lab that has this switch.
    """

    folder: Path
    program: str
    state: LabState
    _daemons: dict[str, shell.Process] = field(default_factory=dict)

    def start(self) -> None:
        """Start the switch, and its database where that does not run."""
        if "ovsdb" not in self._daemons:
            shell.run(["ovsdb-tool", "create", self.folder / "conf.db", SCHEMA], timeout_s=20)
            argv: list[str | Path] = [
                "ovsdb-server",
                self.folder / "conf.db",
                f"--remote=p{self._database}",
            ]
            argv += [f"--unixctl={self.folder}/ovsdb.ctl"]
            self._start("ovsdb", argv)
            config = {
                "dpdk-init": "true",
                # Its own buffers need no huge pages, which the lab has few of.
                "dpdk-alloc-mem": MEMORY_MB,
                "dpdk-extra": "--no-pci --no-huge --legacy-mem --no-shconf",
                # Else the first port takes as much as there is, and its successor gets none.
                "per-port-memory": "true",
                "pmd-maxsleep": 100,
                "pmd-cpu-mask": hex(1 << max(os.sched_getaffinity(0))),
            }
            argv = ["ovs-vsctl", f"--db={self._database}", "--no-wait", "--retry", "--timeout=20"]
            argv += ["set", "Open_vSwitch", "."]
            argv += [f'other_config:{key}="{value}"' for key, value in config.items()]
            shell.run(argv, timeout_s=30)
        # What orrery.network.enter does for the lab's.
        wiring.forget_dead_sockets(self.folder)
        words = [self.program, self._database, f"--unixctl={self.folder}/vswitchd.ctl"]
        self._start("vswitchd", Namespace(NAME).argv(*words))
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(Exception):
                switch(self.state).pid()
                return
            assert time.monotonic() < end, (self.folder / "vswitchd.log").read_text()
            time.sleep(POLL_S)

    def kill(self) -> None:
        """Kill the switch, not its database."""
        process = self._daemons.pop("vswitchd")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End both."""
        for process in reversed(self._daemons.values()):
            shell.stop(process)

    @property
    def _database(self) -> str:
        return f"unix:{self.folder}/db.sock"

    def _start(self, name: str, argv: list[str | Path]) -> None:
        folders = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "RUNTIME_DIRECTORY")
        env = {key: str(self.folder) for key in folders}
        log = self.folder / f"{name}.log"
        words = [*argv, "-vconsole:info", "-vsyslog:off", "-vfile:off"]
        self._daemons[name] = shell.start(words, env=env, stdout=log)


@contextlib.contextmanager
def private_switch(folder: Path, lab: LabState) -> Iterator[PrivateSwitch]:
    """One that runs; gone afterwards.

    Args:
        folder: A short path.
        lab: The running lab, whose programs and huge pages it takes.
    """
    facts = {
        **{key: lab.facts[key] for key in ("dpdk", "testpmd", "hugepages")},
        "network": {
            "namespace": NAME,
            "lan_bridge": "br-lan",
            "lan_address": "10.161.219.1/24",
        },
        "ovs": {
            "database": f"unix:{folder}/db.sock",
            "control": f"{folder}/vswitchd.ctl",
            "log": f"{folder}/vswitchd.log",
            "vhost_dir": str(folder),
            "pmd_cpus": [max(os.sched_getaffinity(0))],
        },
    }
    program = str(Path(f"/proc/{switch(lab).pid()}/exe").readlink())
    made = PrivateSwitch(folder, program, LabState(NAME, facts=facts))
    Namespace(NAME).make()
    try:
        made.start()
        yield made
    finally:
        made.stop()
        Namespace(NAME).remove()
