from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from tests.roles.guest_image.booted import CPUS, booted, programs_are_there
from tests.support.roles import RoleRun

pytestmark = pytest.mark.root

RunRole = Callable[..., RoleRun]

LAB = "t-guest"
CACHE = Path("/var/cache/orrery")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: sockets are in it."""
    with tempfile.TemporaryDirectory(prefix=f"{LAB}-") as name:
        yield Path(name)


@pytest.fixture
def variables(folder: Path) -> dict[str, Any]:
    return {
        "lab_name": LAB,
        "lab_python": sys.executable,
        "lab_state_dir": str(folder / "state"),
        "lab_config_dir": str(folder / "etc"),
    }


def kernels_of_the_host() -> tuple[list[str], str]:
    """What is in /boot, and which kernels dpkg knows."""
    boot = sorted(path.name for path in Path("/boot").rglob("*"))
    listed = shell.run(["dpkg-query", "-W", "-f", "${Package} ${Status}\n"], timeout_s=30).stdout
    return boot, "\n".join(line for line in listed.splitlines() if "linux-image" in line)


def fact(folder: Path) -> dict[str, Any]:
    state = json.loads((folder / "state/state.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = state["facts"]["guest_image"]
    return found


def test_defaults_make_an_image_and_keys_once_and_install_no_kernel(
    run_role: RunRole, folder: Path, variables: dict[str, Any]
) -> None:
    before = kernels_of_the_host()
    keys = folder / "etc/guests"
    run_role("guest_image", variables)
    image = fact(folder)
    manifest = json.loads((Path(image["folder"]) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["id"] == image["id"]
    assert manifest["kernel_form"] == "unpacked"
    assert all(Path(image[key]).is_file() for key in ("kernel", "initrd", "probe"))
    assert keys.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in keys.iterdir()}
    names = ("host_key", "id_ed25519", "id_ed25519.pub", "known_hosts")
    assert modes == dict.fromkeys(names, 0o600)
    assert (keys / "known_hosts").read_text().startswith("orrery-guest ssh-ed25519 ")
    private = (keys / "id_ed25519").read_bytes()

    began = time.monotonic()
    again = run_role("guest_image", variables)
    assert again.changed == 0, again.changed_tasks
    assert fact(folder) == image
    assert private == (keys / "id_ed25519").read_bytes()
    assert private.splitlines()[1].decode() not in again.output
    assert time.monotonic() - began < 30
    checked = run_role("guest_image", variables, check=True)
    assert checked.changed == 0, checked.changed_tasks
    assert kernels_of_the_host() == before

    run_role("guest_image", {**variables, "guest_image_state": "absent"})
    assert not keys.exists()
    assert not (folder / "state/guest-image").exists()
    assert Path(image["kernel"]).is_file(), "the cache is of all labs"
    state = json.loads((folder / "state/state.json").read_text(encoding="utf-8"))
    assert "guest_image" not in state["facts"]


def test_check_mode_on_a_bare_host_writes_nothing(
    run_role: RunRole, folder: Path, variables: dict[str, Any]
) -> None:
    for python in (sys.executable, "/opt/t-guest/none"):
        run = run_role("guest_image", {**variables, "lab_python": python}, check=True)
        assert run.changed >= 1
        assert list(folder.iterdir()) == []


def test_rejects_a_mirror_that_does_not_answer(
    run_role: RunRole, folder: Path, variables: dict[str, Any]
) -> None:
    values = {
        **variables,
        "lab_cache_dir": str(folder / "cache"),
        "lab_package_mirror": "http://127.0.0.1:9/debian",
    }
    run = run_role("guest_image", values, expect_failure=True)
    assert "guest image: apt's lists cannot be refreshed" in run.text
    assert "127.0.0.1" in run.text
    assert "set lab_package_mirror or lab_http_proxy" in run.text
    left = [path.name for path in (folder / "cache/guest").iterdir()]
    assert not [name for name in left if name.startswith((".build", "plan"))]


def test_the_guest_answers_on_all_its_channels(
    run_role: RunRole, folder: Path, variables: dict[str, Any]
) -> None:
    programs_are_there("qemu-system-x86_64", "ssh", "mke2fs")
    run_role("guest_image", variables)
    disk = folder / "disk"
    shell.run(["mke2fs", "-q", "-t", "ext4", disk, "16M"], timeout_s=30)
    more = ("-drive", f"file={disk},format=raw,if=none,id=d0", "-device", "virtio-blk,drive=d0")
    with booted(fact(folder), folder, *more) as guest:
        assert guest.agent.ask("guest-sync", id=35) == 35
        counted = guest.agent.run("orrery-probe", "cpu", "--work", "200")
        assert counted.returncode == 0, counted.stderr
        assert json.loads(counted.stdout)["digits"] == "31415926535897932384"
        on_the_host = shell.run([fact(folder)["probe"], "cpu", "--work", "200"], timeout_s=30)
        same = json.loads(on_the_host.stdout)["checksum"]
        assert json.loads(counted.stdout)["checksum"] == same

        said = guest.ssh(
            "hostname; nproc; ip -o -4 addr; ls /dev/vda; mount /dev/vda /mnt && df /mnt"
        )
        assert said.stdout.splitlines()[:2] == ["guest-t", str(CPUS)]
        assert "user0    inet 10.0.2.15/24" in said.stdout
        assert "eth0    inet 10.161.210.2/24" in said.stdout
        assert "/dev/vda" in said.stdout.splitlines()[-1]
        tagged = guest.ssh("ip link add link eth0 name eth0.7 type vlan id 7; lsmod; ls /bin")
        loaded = {line.split()[0] for line in tagged.stdout.splitlines() if line}
        wanted = {"virtio_net", "virtio_blk", "virtio_console", "virtio_rng", "8021q"}
        assert wanted <= loaded
        assert {"iperf3", "ethtool", "sockperf", "ping", "wget", "orrery-probe"} <= loaded
        for command in ("iperf3 --version", "ethtool -l eth0", "sockperf --version"):
            guest.ssh(command)
        assert (
            "/dev/virtio-ports/org.qemu.guest_agent.0" in guest.ssh("ls /dev/virtio-ports/*").stdout
        )

        stranger = folder / "stranger"
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)]
        shell.run(argv, timeout_s=30)
        refused = guest.ssh("true", key=stranger, check=False)
        assert refused.returncode == 255
        assert "Permission denied (publickey)" in refused.stderr

        guest.agent.send("guest-shutdown")
        assert guest.process.wait(20) == 0


@pytest.mark.parametrize("ending", ["system_powerdown", "poweroff"])
def test_the_power_button_and_poweroff_end_the_guest(
    run_role: RunRole, folder: Path, variables: dict[str, Any], ending: str
) -> None:
    run_role("guest_image", variables)
    monitor = folder / "monitor"
    with booted(fact(folder), folder, "-monitor", f"unix:{monitor},server=on,wait=off") as guest:
        if ending == "poweroff":
            guest.ssh("poweroff", check=False)
        else:
            end = time.monotonic() + 20
            # The button's driver comes in after READY.
            while guest.ssh("pidof acpid", check=False).returncode != 0:
                assert time.monotonic() < end
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(str(monitor))
                line.sendall(b"system_powerdown\n")
        assert guest.process.wait(20) == 0
