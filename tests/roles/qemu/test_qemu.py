"""The role qemu, on this host's QEMU and on an apt of the tests' own."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.state import StateFile
from tests.roles.qemu.apt_world import BACKPORTS, AptWorld
from tests.roles.qemu.users_libvirt import UsersLibvirt
from tests.support.roles import RoleRun

pytestmark = pytest.mark.root

RunRole = Callable[..., RoleRun]

LAB = "t-qemu"
PROGRAM = Path("/usr/bin/qemu-system-x86_64")
OLD = {"qemu-system-x86": "1:7.2-7", "qemu-system-common": "1:7.2-7", "qemu-utils": "1:7.2-7"}
NIC = {"return": [{"name": "vectors"}]}
BACK_END = {"error": {"desc": 'chardev "none" not found'}}


def inputs_of(folder: Path, **more: Any) -> dict[str, Any]:
    return {"lab_name": LAB, "lab_state_dir": str(folder / "labs" / LAB), **more}


def state_of(inputs: dict[str, Any]) -> StateFile:
    return StateFile(Path(inputs["lab_state_dir"]) / "state.json")


def packages_of_this_host() -> list[str]:
    """What dpkg says of QEMU and libvirt; other tests may install other things meanwhile."""
    stanzas = Path("/var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n")
    return [one for one in stanzas if one.startswith(("Package: qemu", "Package: libvirt"))]


def sources_of_this_host() -> dict[str, bytes]:
    files = Path("/etc/apt/sources.list.d").glob("*")
    return {path.name: path.read_bytes() for path in files}


def stand_in(folder: Path, version: tuple[int, int, int], *answers: Any) -> str:
    """A program that says on its monitor what a QEMU of that version would."""
    names = dict(zip(("major", "minor", "micro"), version, strict=True))
    lines = [{"QMP": {"version": {"qemu": names}}}, *answers]
    text = folder / "answers"
    text.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    program = folder / "qemu"
    # It listens to the end, too: a question to one that has left would be an error of the pipe.
    program.write_text(f"#!/bin/sh\ncat {text}\nexec cat >/dev/null\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Whatever a test does, this host's packages and sources stay."""
    before = packages_of_this_host(), sources_of_this_host()
    yield
    assert (packages_of_this_host(), sources_of_this_host()) == before


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AptWorld:
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    return AptWorld(tmp_path / "world", release, monkeypatch)


@pytest.fixture
def bare(world: AptWorld, tmp_path: Path) -> dict[str, Any]:
    """Inputs on a host without QEMU and libvirt, whose release has a further suite."""
    return inputs_of(
        tmp_path,
        qemu_program=str(tmp_path / "no-qemu"),
        __qemu_suites={world.release: world.suite},
    )


def test_defaults_use_the_qemu_that_is_there_beside_one_that_runs(
    run_role: RunRole, tmp_path: Path
) -> None:
    if not PROGRAM.exists():
        pytest.skip("there is no QEMU: run ./lab up first")
    inputs = inputs_of(tmp_path, qemu_libvirt=False)
    argv: list[str | Path] = [PROGRAM, "-S", "-nodefaults", "-display", "none", "-machine", "none"]
    users = shell.start(argv, stdout=tmp_path / "users.log")
    try:
        assert run_role("qemu", inputs, check=True).changed == 1
        assert not state_of(inputs).exists()
        run = run_role("qemu", inputs)
        assert "was there before the lab and is used as it is" in run.text
        facts = state_of(inputs).read().facts
        assert facts["qemu"]["program"] == str(PROGRAM)
        assert facts["qemu"]["origin"] == "found"
        assert (
            f"version {facts['qemu']['version']}"
            in shell.run([PROGRAM, "--version"], timeout_s=20).stdout
        )
        assert facts["qemu_why"] in run.text
        assert run_role("qemu", inputs).changed == 0
        assert run_role("qemu", inputs, check=True).changed == 0
        run_role("qemu", {**inputs, "qemu_state": "absent"})
        assert state_of(inputs).read().facts == {}
        assert users.poll() is None
    finally:
        shell.stop(users, timeout_s=10)


def test_packages_may_come_as_text(run_role: RunRole, tmp_path: Path) -> None:
    if not PROGRAM.exists():
        pytest.skip("there is no QEMU: run ./lab up first")
    texts = {"qemu_packages": "qemu-system-x86, qemu-utils", "qemu_libvirt_packages": ""}
    lists = {"qemu_packages": ["qemu-system-x86", "qemu-utils"], "qemu_libvirt_packages": []}
    as_texts, as_lists = (
        run_role("qemu", {**inputs_of(tmp_path), **values}, check=True) for values in (texts, lists)
    )
    assert as_texts.text == as_lists.text
    assert as_texts.changed_tasks == as_lists.changed_tasks


def test_a_bare_host_would_get_qemu_and_libvirt_from_the_further_suite(
    run_role: RunRole, world: AptWorld, bare: dict[str, Any]
) -> None:
    run = run_role("qemu", bare, check=True)
    assert run.changed_tasks[0] == "suite | Add the suite to this host's own mirror"
    assert f"comes from {world.suite}, because the release's own crashes" in run.text
    assert not world.file.exists()
    assert not state_of(bare).exists()


def test_a_suite_that_the_host_has_gives_the_packages_and_not_all_they_need(
    run_role: RunRole, world: AptWorld, bare: dict[str, Any]
) -> None:
    world.add_suite(world.suite, BACKPORTS)
    world.write_source("theirs.sources", world.suite)
    world.installed({"manager": "252"})
    shell.run(["apt-get", "update"], timeout_s=60)
    run = run_role("qemu", bare, check=True)
    assert "+new-part" in run.output
    assert "+libvirt-daemon-driver-qemu" in run.output
    assert "manager" not in run.output, "the host's own will do and is not upgraded"
    assert "Add the suite" not in " ".join(run.changed_tasks)


def test_beside_a_libvirt_of_the_distribution_comes_its_qemu(
    run_role: RunRole, world: AptWorld, bare: dict[str, Any]
) -> None:
    world.add_suite(world.suite, BACKPORTS)
    world.write_source("theirs.sources", world.suite)
    world.installed({"libvirt0": "9.0.0-4", "libvirt-daemon": "9.0.0-4"})
    shell.run(["apt-get", "update"], timeout_s=60)
    run = run_role("qemu", bare, check=True)
    assert "+old-part" in run.output
    assert "new-part" not in run.output
    assert "comes from the distribution" in run.text


def test_what_guests_may_run_on_is_not_upgraded(
    run_role: RunRole, world: AptWorld, bare: dict[str, Any]
) -> None:
    world.installed({"qemu-system-common": "1:7.2-1"})
    shell.run(["apt-get", "update"], timeout_s=60)
    run = run_role("qemu", bare, check=True, expect_failure=True)
    assert (
        "packages qemu-system-x86 qemu-utils: apt would upgrade qemu-system-common "
        "(1:7.2-1 to 1:7.2-7), which stay as they are, since something may run on them." in run.text
    )


def test_a_suite_that_is_not_there_is_reported_and_leaves_no_file(
    run_role: RunRole, world: AptWorld, bare: dict[str, Any]
) -> None:
    forced = {**bare, "qemu_method": "backports"}
    run = run_role("qemu", forced, expect_failure=True)
    assert f"qemu_method is backports, and {world.suite} cannot be reached: E: " in run.text
    assert "Make it reachable on this host's mirror, or set qemu_method" in run.text
    assert not world.file.exists()
    assert state_of(bare).read().facts == {}
    # The mirror has lists and no packages: an installation ends before dpkg has its turn.
    run = run_role("qemu", bare, expect_failure=True)
    assert f"{world.suite} cannot be reached (" in run.text
    assert "so the distribution's QEMU is taken" in run.text
    assert "packages qemu-system-x86 qemu-utils: apt failed: " in run.text


def test_the_suite_s_file_is_the_mirror_s_and_goes_with_the_lab(
    run_role: RunRole, world: AptWorld, bare: dict[str, Any]
) -> None:
    world.add_suite(world.suite, BACKPORTS)
    # The mirror has lists and no packages: an installation ends before dpkg has its turn.
    run = run_role("qemu", bare, expect_failure=True)
    assert "packages qemu-system-x86 qemu-utils: apt failed: " in run.text
    assert world.file.read_text(encoding="utf-8").splitlines()[1:] == [
        "Types: deb",
        f"URIs: file:{world.mirror}",
        f"Suites: {world.suite}",
        "Components: main",
        "Trusted: yes",
    ]
    assert world.file.stat().st_mode & 0o777 == 0o644
    fact = {"suite": world.suite, "file": str(world.file)}
    assert state_of(bare).read().facts == {"apt_suite": fact}
    assert list(world.lists.glob(f"*_{world.suite}_*"))
    absent = {**bare, "qemu_state": "absent"}
    assert run_role("qemu", absent).changed == 1
    assert not world.file.exists()
    assert not list(world.lists.glob(f"*_{world.suite}_*"))
    assert state_of(bare).read().facts == {}
    assert run_role("qemu", absent).changed == 0


def test_a_qemu_with_the_fault_is_used_and_said_so(
    run_role: RunRole, world: AptWorld, bare: dict[str, Any], tmp_path: Path
) -> None:
    world.installed(OLD)
    program = stand_in(tmp_path, (7, 2, 22), NIC, BACK_END)
    run = run_role("qemu", {**bare, "qemu_program": program, "qemu_libvirt": False})
    assert "QEMU 7.2.22 was there before the lab and is used as it is; it is one that" in run.text
    assert "guests get one interrupt for all queues there (vectors=0)" in run.text
    assert f"run ./lab up with {world.suite} in reach" in run.text
    assert not world.file.exists()


def test_a_libvirt_that_is_too_old_for_qemu_stays_and_is_named(
    run_role: RunRole, world: AptWorld, bare: dict[str, Any], tmp_path: Path
) -> None:
    names = ("libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients", "libvirt0")
    world.installed({**OLD, **dict.fromkeys(names, "9.0.0-4+deb12u2")})
    values = {**bare, "qemu_program": stand_in(tmp_path, (10, 0, 2), NIC, BACK_END)}
    run = run_role("qemu", values)
    assert "libvirt 9.0.0 is too old for it and cannot define its guests" in run.text
    assert state_of(bare).read().facts["qemu"]["version"] == "10.0.2"


def test_rejects_a_qemu_that_cannot_do_what_guests_need(
    run_role: RunRole, world: AptWorld, bare: dict[str, Any], tmp_path: Path
) -> None:
    world.installed(OLD)
    values = {**bare, "qemu_program": stand_in(tmp_path, (8, 2, 0)), "qemu_libvirt": False}
    run = run_role("qemu", values, expect_failure=True)
    assert (
        "8.2.0 lacks the device virtio-net-pci and the network back end vhost-user, and guests "
        "need that. Set qemu_program" in run.text
    )


def test_rejects_a_qemu_that_does_not_start(
    run_role: RunRole, world: AptWorld, bare: dict[str, Any]
) -> None:
    world.installed(OLD)
    run = run_role("qemu", {**bare, "qemu_libvirt": False}, expect_failure=True)
    assert f"{bare['qemu_program']} does not start: " in run.text
    assert "Install its packages again (qemu-system-x86 qemu-utils)" in run.text


def test_rejects_backports_where_there_are_none(run_role: RunRole, bare: dict[str, Any]) -> None:
    values = {**bare, "__qemu_suites": {}, "qemu_method": "backports"}
    run = run_role("qemu", values, expect_failure=True)
    assert "qemu_method is backports, and for " in run.text
    assert "no such suite is needed or known. Set qemu_method to auto or distribution" in run.text


def test_a_domain_of_the_users_runs_on_under_the_libvirt_that_it_had(
    tmp_path: Path, run_role: RunRole
) -> None:
    if shutil.which("libvirtd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("no libvirtd here: ./lab up installs one")
    # The path of its socket has to be short.
    folder = Path(tempfile.mkdtemp(prefix="t-lv-"))
    libvirt = UsersLibvirt(folder, PROGRAM)
    try:
        before, packages = libvirt.domain(), packages_of_this_host()
        assert before[0] == "running"
        assert before[1]
        for state in ("present", "absent"):
            run_role("qemu", inputs_of(tmp_path, qemu_state=state))
            assert libvirt.domain() == before
        assert packages_of_this_host() == packages
    finally:
        libvirt.end()
        shutil.rmtree(folder)
