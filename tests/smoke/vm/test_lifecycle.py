"""A VM from its first start to its end: ready, shut down, and one that does not get ready."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.errors import GuestError
from orrery.guest.machine import Accel
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
def machine(make: Make, broken: Supervised) -> Supervised:
    """A VM that is ready, and that the tests of this module share in their order."""
    one = make()
    one.start()
    one.ready()
    return one


@pytest.fixture(scope="module")
def broken(make: Make) -> Supervised:
    """A VM whose cloud-init fails; it starts beside the other one, which saves a minute."""
    one = make(name="broken")
    told = Wish.from_mapping(vm.wish(one.spec.folder.parent, name="broken", lab_name="t-vmi"))
    found = replace(
        prepare.seed(told, one.spec),
        instance_id="broken",
        commands=(("sh", "-c", "echo no such luck; exit 7"),),
    )
    seed.write(found, told.templates, one.spec.seed.parent)
    one.start()
    return one


def test_the_first_start_ends_with_ssh_and_cloud_init_done(machine: Supervised) -> None:
    found = machine.ready()
    print(f"boot_s {found.boot_s}, cloud_init_s {found.cloud_init_s} ({machine.spec.accel})")
    assert 0 < found.boot_s <= found.cloud_init_s
    assert found.boot_s < BOOT_S[machine.spec.accel]
    assert machine.ask("hostname; id -un; sudo -n id -u") == "lab-vm\norrery\n0"


def test_it_has_the_disk_and_processors_that_were_asked_for_and_the_modules_that_a_lab_needs(
    machine: Supervised,
) -> None:
    assert machine.ask("nproc") == str(machine.spec.cpus)
    size_mb = int(machine.ask("df --output=size -BM / | tail -n 1").rstrip("M"))
    assert size_mb > 5000
    modules = "nf_tables overlay veth bridge tun vxlan"
    assert machine.ask(f"sudo modprobe -a {modules} && echo there") == "there"


def test_it_reaches_the_host_side_of_its_network(machine: Supervised) -> None:
    script = "import socket; s = socket.create_connection(('10.0.2.2', %d), 30); print(s.recv(99))"
    port = machine.spec.ssh_port
    assert "SSH-2.0" in machine.ask(f'python3 -c "{script % port}"')


def test_term_shuts_it_down_in_good_order(machine: Supervised) -> None:
    assert machine.stop(SHUTDOWN_S + 10) == 0
    assert "it did not shut down" not in machine.log.read_text()
    assert "Power down" in machine.spec.console_log.read_text(errors="replace")
    assert running(machine.spec.run_dir, machine.spec.lab_name) is None


def test_a_cloud_init_that_fails_is_shown_with_its_own_words(broken: Supervised) -> None:
    with pytest.raises(GuestError, match=r"(?s)VM broken: cloud-init failed: .*scripts.user") as e:
        broken.ready()
    assert "no such luck" in str(e.value)
    # Nobody takes it for ready later on.
    assert ready.Ready.read(broken.spec.run_dir) is None
