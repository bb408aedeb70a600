"""A second lab beside the first: made, interrupted, made again, checked, taken down.

Nothing of it may stay, and nothing of anybody else may be touched.

The tests of this file are one story and run in the order of the file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from tests.support import hugepages

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.timeout(900)]

NAME = "t-second"
OPTIONS = [
    "-e", f"lab_name={NAME}",
    "-e", "lab_port_base=4233",
    "-e", "lab_function_subnet=10.161.177.0/24",
]  # fmt: skip
PLACES = [Path(folder) / NAME for folder in ("/etc", "/opt", "/run", "/var/lib", "/var/log")]
UP_TIMEOUT_S = 600


def _lab(checkout: Path, *words: str, timeout_s: float = UP_TIMEOUT_S) -> shell.Completed:
    return shell.run([checkout / "lab", *words], timeout_s=timeout_s, cwd=checkout, check=False)


def _json(checkout: Path, tmp_path: Path, *words: str) -> dict[str, Any]:
    target = tmp_path / "result.json"
    done = _lab(checkout, *words, "--json", str(target))
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(target.read_text())
    assert isinstance(data, dict)
    return {**data, "output": done.stdout}


def _docker(*words: str) -> str:
    return shell.run(["docker", *words], timeout_s=60).stdout


def _traces() -> list[str]:
    """Everything on the host that carries the second lab's name."""
    found = [str(place) for place in PLACES if place.exists()]
    found += [str(path) for path in Path("/etc").glob(f"*/*{NAME}*")]
    for kind in (["ps", "-a"], ["network", "ls"], ["images"]):
        shown = "{{.Names}}" if kind[0] == "ps" else "{{.Name}}"
        shown = "{{.Repository}}" if kind[0] == "images" else shown
        found += [line for line in _docker(*kind, "--format", shown).split() if NAME in line]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if f"/{NAME}/" in line]
    found += [str(path) for path in Path("/run").glob(f"*{NAME}*")]
    found += [str(path) for path in Path("/run/netns").glob(f"*{NAME}*")]
    found += [line for line in Path("/etc/passwd").read_text().splitlines() if NAME in line]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if re.search(rf"/{NAME}[/-]", words) and "pytest" not in words:
            found.append(words)
    return found


def _host() -> dict[str, Any]:
    """What of the host's own a datapath could have changed."""
    pages = hugepages.size()
    links = json.loads(shell.run(["ip", "-j", "link"], timeout_s=20).stdout)
    return {
        "huge pages": pages,
        "kernels": sorted(path.name for path in Path("/boot").iterdir()),
        "switch": os.path.realpath("/etc/alternatives/ovs-vswitchd"),
        # Labs and engines of other tests come and go beside this one.
        "boot": sorted(str(path) for path in Path("/etc").glob("rc?.d/*") if _steady(path.name)),
        "links": sorted(one["ifname"] for one in links if _steady(one["ifname"])),
        "apt": sorted(path.name for path in Path("/etc/apt/sources.list.d").iterdir()),
    }


def _steady(name: str) -> bool:
    """Whether a name belongs neither to a container nor to another test's lab."""
    return NAME in name or not re.search(r"^veth|(?:^|\d\d)t-", name)


def _wait_for_line(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"'{text}' was never printed:\n{seen}")


@pytest.fixture(scope="module")
def host_before() -> dict[str, Any]:
    """The host as it was before the second lab."""
    with hugepages.held():
        return _host()


@pytest.fixture
def still_pool(host_before: dict[str, Any]) -> Iterator[None]:
    """Nobody but labs changes the pool meanwhile.

    A lab notes how large it found the pool. Pages that a test adds as a user does, and takes back
    after that, would be taken for pages that the lab has lost.
    """
    with hugepages.held():
        yield


@pytest.fixture(scope="module", autouse=True)
def second_lab(checkout: Path, lab_state_path: Path) -> Iterator[None]:
    """Whatever happens, the second lab is gone afterwards."""
    assert _traces() == []
    yield
    _lab(checkout, "down", "--purge", *OPTIONS)


@pytest.fixture(scope="module")
def users_container(second_lab: None) -> Iterator[str]:
    """A container that belongs to the user of this host, and not to a lab."""
    bases = _docker("images", "--filter", "label=orrery.image=base", "--format", "{{.ID}}")
    image = bases.split()[0]
    name = "t-users-own"
    argv = ["run", "--detach", "--name", name, "--network", "none", image]
    _docker(*argv, "python3", "-c", "import signal; signal.pause()")
    yield name
    _docker("rm", "--force", name)


@pytest.fixture(scope="module")
def users_nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """An nginx of the user's own, on a port of its own."""
    folder = tmp_path_factory.mktemp("nginx")
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    config = folder / "nginx.conf"
    config.write_text(
        f"pid {folder}/pid; error_log {folder}/error.log; daemon off;\n"
        "events {} http { access_log off; server { listen 127.0.0.1:4299; return 204; } }\n"
    )
    process = shell.start([program, "-e", folder / "start.log", "-c", config])
    yield process.pid
    assert process.poll() is None, "the user's nginx has been stopped"
    shell.stop(process)


@pytest.mark.usefixtures("still_pool")
def test_check_mode_on_a_bare_host_changes_nothing(
    checkout: Path, users_container: str, users_nginx: int, host_before: dict[str, Any]
) -> None:
    done = _lab(checkout, "up", "--check", "--diff", *OPTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _traces() == []
    assert _host() == host_before


@pytest.mark.usefixtures("still_pool")
def test_an_interrupted_up_can_be_taken_up_again(checkout: Path) -> None:
    argv = [str(checkout / "lab"), "up", *OPTIONS]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv, cwd=checkout, stdout=pipe, stderr=subprocess.STDOUT, text=True, process_group=0
    ) as first:
        _wait_for_line(first, "function_network")
        os.killpg(first.pid, signal.SIGINT)
        rest, _ = first.communicate(timeout=120)
    assert first.returncode == 130
    assert rest.strip().endswith("interrupted")
    assert f"/var/lib/{NAME}" in _traces()


@pytest.mark.usefixtures("still_pool")
def test_a_second_up_at_the_same_time_is_refused(checkout: Path, tmp_path: Path) -> None:
    result = tmp_path / "up.json"
    argv = [str(checkout / "lab"), "up", *OPTIONS, "--json", str(result)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv, cwd=checkout, stdout=pipe, stderr=subprocess.STDOUT, text=True
    ) as first:
        seen = _wait_for_line(first, "Check the host")
        second = _lab(checkout, "up", *OPTIONS)
        rest, _ = first.communicate(timeout=UP_TIMEOUT_S)
    assert first.returncode == 0, seen + rest
    assert second.returncode == 3
    assert f"lab '{NAME}' is being worked on by ./lab up (pid " in second.stderr
    assert json.loads(result.read_text())["changed"] > 0
    assert "10 of 10 digits right, 10 of 10 inverted" in rest


@pytest.mark.usefixtures("still_pool")
def test_a_second_run_changes_nothing(checkout: Path, tmp_path: Path) -> None:
    again = _json(checkout, tmp_path, "up", *OPTIONS)
    assert again["changed"] == 0, again["output"]


@pytest.mark.usefixtures("still_pool")
def test_check_mode_on_a_finished_host_changes_nothing(checkout: Path, tmp_path: Path) -> None:
    checked = _json(checkout, tmp_path, "up", "--check", "--diff", *OPTIONS)
    assert checked["changed"] == 0, checked["output"]


def test_both_labs_answer(checkout: Path, tmp_path: Path) -> None:
    ours = _json(checkout, tmp_path, "status", *OPTIONS)["services"]
    theirs = _json(checkout, tmp_path, "status")["services"]
    assert {"engine", "files"} <= {entry["name"] for entry in ours}
    assert [entry for entry in [*ours, *theirs] if not entry["healthy"]] == []
    assert {e["address"] for e in ours if e["name"] == "engine"} != {
        e["address"] for e in theirs if e["name"] == "engine"
    }


def test_guests_of_both_labs_run_side_by_side_under_the_same_name(checkout: Path) -> None:
    """Names, addresses and ports in a lab's namespace are its own."""
    try:
        for options in (OPTIONS, []):
            done = _lab(checkout, "guest.start", "t-same", *options)
            assert done.returncode == 0, done.stdout + done.stderr
        done = _lab(checkout, "guest.ssh", "t-same", "--command", "ping -c 2 10.161.34.1", *OPTIONS)
        assert "0% packet loss" in done.stdout, done.stdout + done.stderr
    finally:
        stopped = _lab(checkout, "guest.stop", "t-same")
    # The second lab's is left for down to end.
    assert stopped.returncode == 0
    assert "t-same" in _lab(checkout, "guest.list", *OPTIONS).stdout


def test_secrets_are_shown_only_when_asked_for(checkout: Path) -> None:
    key = json.loads((Path("/etc") / NAME / "credentials.json").read_text())["key"]
    assert key not in _lab(checkout, "status", *OPTIONS).stdout
    assert key in _lab(checkout, "status", "--show-secrets", *OPTIONS).stdout.replace("\n", "")
    assert key not in (Path("/var/lib") / NAME / "state.json").read_text()


def test_logs_of_a_service_are_printed(checkout: Path) -> None:
    done = _lab(checkout, "logs", "engine", "--lines", "1000", *OPTIONS)
    assert done.returncode == 0
    assert "/api/v1" in done.stdout


def test_a_port_of_another_lab_is_refused_before_anything_changes(checkout: Path) -> None:
    done = _lab(checkout, "up", "-e", "lab_name=t-taken", "-e", "lab_port_base=4233")
    assert done.returncode == 3
    assert "127.0.0.1:4233 is held by t-second-engine of the lab t-second" in done.stderr
    assert not Path("/var/lib/t-taken").exists()


def test_verify_notices_a_dead_service_and_the_supervisor_restarts_it(checkout: Path) -> None:
    found = Path("/run") / NAME
    assert found.exists()
    engine = next(
        int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _is_engine(path)
    )
    os.kill(engine, signal.SIGKILL)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if _lab(checkout, "verify", *OPTIONS).returncode == 0:
            return
    raise AssertionError("the engine did not come back within 120 s")


def _is_engine(path: Path) -> bool:
    try:
        words = path.read_bytes().split(b"\0")
    except OSError:
        return False
    return b"orrery.engine" in words and f"/etc/{NAME}/engine.toml".encode() in words


@pytest.mark.usefixtures("still_pool")
def test_down_leaves_no_trace_and_nothing_else_is_touched(
    checkout: Path, users_container: str, users_nginx: int, host_before: dict[str, Any]
) -> None:
    done = _lab(checkout, "down", "--purge", *OPTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _traces() == []
    assert _host() == host_before
    running = _docker(
        "inspect", "--format", "{{.State.Running}} {{.RestartCount}}", users_container
    )
    assert running.split() == ["true", "0"]
    assert Path(f"/proc/{users_nginx}").exists()
    status = _lab(checkout, "status")
    assert status.returncode == 0
    assert "no:" not in status.stdout
