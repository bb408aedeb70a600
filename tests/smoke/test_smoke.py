"""A lab inside a real VM: made, killed, healed, used from outside, rebooted, taken down.

The tests of this file are one story and run in the order of the file. What every step printed
stays in .lab/smoke, with the VM's console beside it.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.lab import settings
from orrery.state import LabState

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.timeout(2400)]

INVENTORY = "inventory/vm"
NAME = "vlab"
UP_TIMEOUT_S = 2300.0
TASK_TIMEOUT_S = 300.0
# The host as slirp's network sees it.
HOST_INSIDE = "10.0.2.2"
PLACES = [Path(folder) / NAME for folder in ("/etc", "/opt", "/run", "/var/lib", "/var/log")]


@pytest.fixture(scope="module")
def artifacts(checkout: Path) -> Iterator[Path]:
    """Folder of what the run leaves to be read."""
    folder = checkout / ".lab" / "smoke"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    # What failed on the way leaves the VM.
    if qemu_pids():
        Lab(checkout, folder / "left").run("down", timeout_s=UP_TIMEOUT_S)


class Lab:
    """`./lab` against the VM; what it prints goes to a file and to the terminal."""

    def __init__(self, checkout: Path, log: Path) -> None:
        self.checkout = checkout
        self.log = log.with_suffix(".log")

    def argv(self, task: str, *words: str) -> list[str | Path]:
        """The command line of a task."""
        return [self.checkout / "lab", task, *words, "-i", INVENTORY]

    def run(self, task: str, *words: str, timeout_s: float = TASK_TIMEOUT_S) -> str:
        """Run a task that has to succeed; what it printed."""
        done = shell.run(
            self.argv(task, *words), timeout_s=timeout_s, cwd=self.checkout, check=False
        )
        said = done.stdout + done.stderr
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(f"./lab {task} {' '.join(words)} ({done.seconds:.0f} s)\n{said}\n")
        assert done.returncode == 0, said
        print(f"./lab {task}: {done.seconds:.0f} s")
        return said

    def json(self, task: str, *words: str, timeout_s: float = TASK_TIMEOUT_S) -> dict[str, Any]:
        """Run a task; its result."""
        target = self.log.with_suffix(".json")
        said = self.run(task, *words, "--json", str(target), timeout_s=timeout_s)
        data = json.loads(target.read_text(encoding="utf-8"))
        assert isinstance(data, dict)
        return {**data, "output": said}

    def inside(self, command: str, timeout_s: float = TASK_TIMEOUT_S) -> str:
        """Run a command in the VM; what it printed."""
        return self.run("ssh", "--command", command, timeout_s=timeout_s)


@pytest.fixture
def lab(checkout: Path, artifacts: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The command of the checkout, with the VM's console kept in the end."""
    yield Lab(checkout, artifacts / request.node.name)
    console = fact(checkout).get("console_log")
    if console and Path(str(console)).is_file():
        shutil.copy2(str(console), artifacts / "console.log")


def state(checkout: Path) -> LabState | None:
    """What the lab's state file says; None where there is no lab."""
    found = settings.load(str(checkout / INVENTORY), (), checkout)
    return found.state() if found.state_file.exists() else None


def fact(checkout: Path) -> dict[str, Any]:
    """What is known of the VM."""
    found = state(checkout)
    return dict(found.facts.get("vm", {})) if found else {}


def qemu_pids() -> list[int]:
    """Processes of QEMU that belong to this lab."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            marked = f"ORRERY_SERVICE={NAME}-vm\0".encode() in place.read_bytes()
            program = (place.parent / "exe").readlink().name
        except OSError:
            continue
        if marked and program.startswith("qemu-system"):
            found.append(int(place.parent.name))
    return found


@contextlib.contextmanager
def served(folder: Path) -> Iterator[int]:
    """Serve a folder on the host's loopback, where slirp's 10.0.2.2 leads; the port."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def await_end(process: subprocess.Popen[str], text: str) -> str:
    """Read a process's output until a line holds `text`; what was read."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"'{text}' was never printed:\n{seen}")


def await_success(lab: Lab, holds: Callable[[str], bool], task: str, *words: str) -> None:
    """Run a task until it succeeds and what it printed is as it has to be."""
    deadline = time.monotonic() + UP_TIMEOUT_S
    while True:
        argv = lab.argv(task, *words)
        done = shell.run(argv, timeout_s=600, cwd=lab.checkout, check=False)
        if done.returncode == 0 and holds(done.stdout):
            return
        assert time.monotonic() < deadline, done.stdout + done.stderr
        time.sleep(2)


def test_a_vm_that_is_killed_while_it_is_set_up_fails_up_and_leaves_the_rest(
    lab: Lab, checkout: Path
) -> None:
    argv = lab.argv("up")
    with subprocess.Popen(
        argv, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        seen = await_end(process, "Prepare the host")
        for pid in qemu_pids():
            os.kill(pid, signal.SIGKILL)
        rest = process.stdout.read() if process.stdout else ""
        code = process.wait(UP_TIMEOUT_S)
    lab.log.write_text(seen + rest, encoding="utf-8")
    # Nothing to see in the VM any more is a failure of the host's, not a crash of ours.
    assert code in (2, 3, 4), seen + rest
    assert "Traceback" not in seen + rest
    assert "vm_forward" not in rest, "nothing goes on without the VM"
    # The service has started it again.
    assert "QEMU ended by signal 9" in lab.run("logs", "vm", "--lines", "1000")


def test_the_next_up_heals_it(lab: Lab, artifacts: Path, checkout: Path) -> None:
    result = lab.json("up", timeout_s=UP_TIMEOUT_S)
    assert result["changed"] > 0
    assert "Load it" not in result["output"], "what the VM had before it was killed is lost"
    assert "10 of 10 digits right, 10 of 10 inverted" in result["output"]
    assert "ports of DPDK get their memory pool" in result["output"]
    (artifacts / "vm.json").write_text(json.dumps(fact(checkout), indent=2), encoding="utf-8")


def test_a_second_run_changes_nothing(lab: Lab) -> None:
    result = lab.json("up", timeout_s=UP_TIMEOUT_S)
    assert result["changed"] == 0, result["output"]


def test_a_digit_is_classified_from_outside(lab: Lab, checkout: Path) -> None:
    found = state(checkout)
    assert found is not None
    url = f"{found.facts['files_url']}/mnist/digits/7.png"
    assert lab.json("mnist.classify", "--url", url)["res"] == 7


def test_status_shows_what_answers(lab: Lab) -> None:
    services = lab.json("status")["services"]
    assert {one["name"] for one in services} >= {"vm", "forward"}
    assert all(one["healthy"] for one in services), services


def test_the_vm_reaches_the_outside_through_virtio_net(lab: Lab, artifacts: Path) -> None:
    device = lab.inside("ip -o route get 10.0.2.2").split(" dev ")[1].split()[0]
    assert "virtio" in lab.inside(f"readlink /sys/class/net/{device}/device/driver")
    page = artifacts / "page"
    page.mkdir()
    (page / "hello.txt").write_text("a page of the host")
    with served(page) as port:
        url = f"http://{HOST_INSIDE}:{port}/hello.txt"
        fetch = f"import urllib.request as web; print(web.urlopen('{url}', timeout=60).read())"
        assert "a page of the host" in lab.inside(f'python3 -c "{fetch}"')
    # From the package mirror, by APT's own settings.
    lab.inside("cd /tmp && apt-get download netbase && ls netbase_*.deb")


def test_everything_comes_back_by_itself_after_a_reboot(lab: Lab) -> None:
    boot_id = "cat /proc/sys/kernel/random/boot_id"
    before = lab.inside(boot_id).split()[-1]
    machine = qemu_pids()
    lab.inside("sudo systemd-run --on-active=1 systemctl reboot")
    await_success(lab, lambda said: before not in said, "ssh", "--command", boot_id)
    assert "failed" not in lab.inside("systemctl is-system-running --wait || systemctl --failed")
    await_success(lab, lambda _: True, "verify")
    assert qemu_pids() == machine


def test_down_leaves_nothing_behind(lab: Lab, checkout: Path) -> None:
    vm = fact(checkout)
    base = Path(str(vm["image"]["disk"]))
    lab.run("down", timeout_s=UP_TIMEOUT_S)
    assert not qemu_pids()
    assert [str(place) for place in PLACES if place.exists()] in ([], [f"/var/lib/{NAME}"])
    left = Path("/var/lib") / NAME
    assert not left.exists() or [path.name for path in left.iterdir()] == ["state.json"]
    assert not [str(path) for path in Path("/etc").glob(f"*/*{NAME}*")]
    assert not [str(path) for path in Path("/run").glob(f"*{NAME}*")]
    assert base.is_file(), "the cached base image stays"
