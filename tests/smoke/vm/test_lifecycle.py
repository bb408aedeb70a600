"""A VM from its first start to its end: ready, killed, rebooted, shut down, and its faults."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import replace

import pytest

from orrery import shell
from orrery.errors import GuestError
from orrery.guest.machine import Accel
from orrery.guest.registry import await_end
from orrery.vm import prepare, ready, seed
from orrery.vm.running import running
from orrery.vm.wish import Wish
from tests.smoke.vm.conftest import Make, Supervised
from tests.support import vm

# A boot under TCG is 40 s where the machine is idle, and each test has one.
pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.timeout(1500)]

BOOT_S = {Accel.KVM: 60, Accel.TCG: 400}
SHUTDOWN_S = 85


@pytest.fixture(scope="module")
def machine(make: Make) -> Supervised:
    """A VM that is ready, and that the tests of this module share in their order."""
    one = make()
    one.start()
    one.ready()
    return one


def test_the_first_start_ends_with_ssh_and_cloud_init_done(machine: Supervised) -> None:
    found = machine.ready()
    print(f"boot_s {found.boot_s}, cloud_init_s {found.cloud_init_s} ({machine.spec.accel})")
    assert 0 < found.boot_s <= found.cloud_init_s
    assert found.boot_s < BOOT_S[machine.spec.accel]
    assert machine.ask("hostname; id -un; sudo -n id -u") == "lab-vm\norrery\n0"


def test_it_has_the_disk_that_was_asked_for_and_the_modules_that_a_lab_needs(
    machine: Supervised,
) -> None:
    size_mb = int(machine.ask("df --output=size -BM / | tail -n 1").rstrip("M"))
    assert size_mb > 5000
    modules = "nf_tables overlay veth bridge tun vxlan"
    assert machine.ask(f"sudo modprobe -a {modules} && echo there") == "there"


def test_it_reaches_the_host_side_of_its_network(machine: Supervised) -> None:
    script = "import socket; s = socket.create_connection(('10.0.2.2', %d), 30); print(s.recv(99))"
    port = machine.spec.ssh_port
    assert "SSH-2.0" in machine.ask(f'python3 -c "{script % port}"')


def test_a_reboot_from_inside_is_the_same_qemu(machine: Supervised) -> None:
    before = running(machine.spec.run_dir, machine.spec.lab_name)
    boot = machine.ask("cat /proc/sys/kernel/random/boot_id")
    with contextlib.suppress(shell.CommandError):
        machine.ask("sudo systemctl --no-block reboot")
    end = time.monotonic() + 900
    while True:
        assert time.monotonic() < end, machine.spec.console_log.read_text()[-2000:]
        machine.ready()
        # The connection may break while it goes down.
        with contextlib.suppress(shell.CommandError):
            if machine.ask("cat /proc/sys/kernel/random/boot_id") != boot:
                break
    assert running(machine.spec.run_dir, machine.spec.lab_name) == before


def test_a_vm_that_is_killed_is_noticed_and_the_next_start_heals(machine: Supervised) -> None:
    machine.ask("echo kept >/home/orrery/kept; sync")
    run = running(machine.spec.run_dir, machine.spec.lab_name)
    assert run is not None
    os.kill(run.pid, signal.SIGKILL)
    await_end(run.pid)
    assert machine.process is not None
    # The service starts it again when its supervisor ends.
    assert machine.process.wait(30) == 1
    assert "QEMU ended by signal 9" in machine.log.read_text()
    assert machine.start() != run
    machine.ready()
    assert machine.ask("cat /home/orrery/kept") == "kept"


def test_term_shuts_it_down_in_good_order(machine: Supervised) -> None:
    assert machine.stop(SHUTDOWN_S + 10) == 0
    assert "it did not shut down" not in machine.log.read_text()
    assert "Power down" in machine.spec.console_log.read_text(errors="replace")
    assert running(machine.spec.run_dir, machine.spec.lab_name) is None


def test_a_cloud_init_that_fails_is_shown_with_its_own_words(make: Make) -> None:
    one = make(name="broken")
    told = Wish.from_mapping(vm.wish(one.spec.folder.parent, name="broken", lab_name="t-vmi"))
    found = replace(
        prepare.seed(told, one.spec),
        instance_id="broken",
        commands=(("sh", "-c", "echo no such luck; exit 7"),),
    )
    seed.write(found, told.templates, one.spec.seed.parent)
    one.start()
    with pytest.raises(GuestError, match=r"(?s)VM broken: cloud-init failed: .*scripts.user") as e:
        one.ready()
    assert "no such luck" in str(e.value)
    # Nobody takes it for ready later on.
    assert ready.Ready.read(one.spec.run_dir) is None
