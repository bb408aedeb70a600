"""A VM that a test runs itself: real QEMU, real image, no role and no service."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import json
import platform
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from orrery import shell
from orrery.errors import OrreryError
from orrery.guest.registry import LAB_MARK
from orrery.state import LabState, StateFile
from orrery.vm import plan, prepare, ready
from orrery.vm.image.image import Image
from orrery.vm.ready import Ready
from orrery.vm.running import Run, running
from orrery.vm.spec import VmSpec
from orrery.vm.wish import Wish
from tests.support import vm

CHECKOUT = Path(__file__).resolve().parents[3]
CACHE = Path("/var/cache/orrery")
LAB = "t-vmi"
IMAGE_TIMEOUT_S = 600
READY_TIMEOUT_S = 900
STARTED_TIMEOUT_S = 30


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="session")
def host_state(lab_state_path: Path) -> LabState:
    """What the running lab knows of this host's QEMU."""
    return StateFile(lab_state_path).read()


def lab_vm_packages() -> list[str]:
    """What the image of inventory/vm has in it: to bootstrap another one takes minutes."""
    own = yaml.safe_load((CHECKOUT / "inventory/vm/group_vars/vm_hosts.yml").read_text())
    dpdk = yaml.safe_load((CHECKOUT / "roles/dpdk/vars/main.yml").read_text())
    abi = dpdk["__dpdk_abis"].get(platform.freedesktop_os_release()["VERSION_CODENAME"], "")
    parts = [f"{name}{abi}" for name in dpdk["__dpdk_components"]] if abi else []
    return [*own["lab_vm_packages"], *parts]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, host_state: LabState) -> Image:
    """Debian 12, bootstrapped from the host's own mirror, or from the cache."""
    sources = CHECKOUT / "playbooks" / "group_vars" / "all" / "sources.yml"
    catalogue = tmp_path_factory.mktemp("catalogue") / "images.json"
    catalogue.write_text(json.dumps(yaml.safe_load(sources.read_text())["vm_images"]))
    argv: list[str | Path] = [sys.executable, "-m", "orrery.vm.image", "ensure"]
    argv += ["--name", "debian-12", "--method", "bootstrap"]
    argv += ["--catalogue", catalogue, "--cache", CACHE]
    argv += itertools.chain(*(("--package", one) for one in lab_vm_packages()))
    done = shell.run(argv, timeout_s=IMAGE_TIMEOUT_S, check=False)
    answer = json.loads(done.stdout or "{}")
    if answer.get("needs"):
        pytest.skip(f"{', '.join(answer['needs'])} are missing: run ./lab up -i inventory/vm first")
    assert done.returncode == 0, done.stderr
    return Image.from_mapping(answer["image"])


@dataclass
class Supervised:
    """A VM with its supervisor.

    Attributes:
        log: What the supervisor said.
    """

    spec: VmSpec
    log: Path
    process: shell.Process | None = None

    def start(self) -> Run:
        """Start it; it is on its way then."""
        argv: list[str | Path] = [sys.executable, "-m", "orrery.vm.supervise", self.spec.folder]
        before = Run.read(self.spec.run_dir)
        self.process = shell.start(argv, stdout=self.log, env={LAB_MARK: self.spec.lab_name})
        end = time.monotonic() + STARTED_TIMEOUT_S
        while (run := running(self.spec.run_dir, self.spec.lab_name)) is None or run == before:
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)
        return run

    def ready(self) -> Ready:
        """Wait until it can be worked in."""
        return ready.wait(self.spec, READY_TIMEOUT_S)

    def ask(self, command: str) -> str:
        """What a command says in it."""
        waiting = ready.Waiting(self.spec, time.monotonic() + READY_TIMEOUT_S)
        return waiting.command(command).stdout.strip()

    def stop(self, timeout_s: float) -> int:
        """Have it shut down, as the service does; the supervisor's exit code."""
        assert self.process is not None
        return shell.stop(self.process, timeout_s=timeout_s)


Make = Callable[..., Supervised]


@pytest.fixture(scope="module")
def make(image: Image, host_state: LabState) -> Iterator[Make]:
    """Make VMs: `make(prepared=None, **wish)`; they are gone afterwards."""
    made: list[Supervised] = []
    with tempfile.TemporaryDirectory(prefix=f"{LAB}-") as name:
        folder = Path(name)

        def call(**values: Any) -> Supervised:
            place = folder / str(len(made))
            place.mkdir()
            wanted = {
                "lab_name": LAB,
                "ssh_port": free_port(),
                "key_owner": getpass.getuser(),
                "memory_mb": 1024,
                "disk_gb": 6,
                "accel": "auto",
                **values,
            }
            wish = Wish.from_mapping(vm.wish(place, **wanted))
            found = prepare.prepare(host_state, wish, plan.plan(wish), image, check=False)
            made.append(Supervised(found.spec, place / "log"))
            return made[-1]

        yield call
        for one in made:
            with contextlib.suppress(OSError, OrreryError):
                (one.spec.run_dir / "discard").touch()
            if one.process is not None:
                shell.stop(one.process, timeout_s=20)
