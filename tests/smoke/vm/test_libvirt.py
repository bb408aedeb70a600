"""The same VM as a domain of a real libvirt, emulated."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orrery.errors import ConfigurationError
from orrery.vm import domain
from orrery.vm.libvirt import Libvirt, ensure
from orrery.vm.spec import Driver, VmSpec
from tests.smoke.vm.conftest import Make, Supervised
from tests.support import vm
from tests.support.private_libvirt import PrivateLibvirt, bindings

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.timeout(1500)]

TEMPLATES = vm.TEMPLATES / "vm"
FOREIGN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateLibvirt]:
    """A libvirtd of the test's own."""
    bindings(tmp_path_factory.mktemp("libvirt"))
    if shutil.which("libvirtd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("there is no libvirtd: run ./lab up first")
    with tempfile.TemporaryDirectory(prefix="t-vmi-lv-") as name:
        one = PrivateLibvirt(Path(name))
        yield one
        one.end()


@pytest.fixture(scope="module")
def spec(make: Make, daemon: PrivateLibvirt) -> Iterator[VmSpec]:
    """A VM that is prepared, and whose domain is removed afterwards."""
    made = replace(make(name="by-libvirt").spec, driver=Driver.LIBVIRT, uri=daemon.uri)
    yield made
    with Libvirt(daemon.uri) as libvirt:
        libvirt.remove(made)


def test_a_stale_domain_that_is_not_ours_is_refused_and_left(
    spec: VmSpec, daemon: PrivateLibvirt, tmp_path: Path
) -> None:
    text = tmp_path / "foreign.xml"
    text.write_text(FOREIGN.format(name=spec.domain))
    daemon.virsh("define", str(text))
    before = daemon.virsh("dumpxml", spec.domain)
    with pytest.raises(ConfigurationError, match="not this lab's"):
        ensure(spec, TEMPLATES, check=False)
    assert daemon.virsh("dumpxml", spec.domain) == before
    daemon.virsh("undefine", spec.domain)


def test_it_is_defined_started_ready_and_shut_down(spec: VmSpec, tmp_path: Path) -> None:
    assert ensure(spec, TEMPLATES, check=True)["changed"]
    first = ensure(spec, TEMPLATES, check=False)
    assert (first["defined"], first["started"]) == (True, True)
    assert not ensure(spec, TEMPLATES, check=False)["changed"]
    machine = Supervised(spec, tmp_path / "log")
    found = machine.ready()
    print(f"boot_s {found.boot_s}, cloud_init_s {found.cloud_init_s}")
    assert machine.ask("hostname") == "by-libvirt"
    with Libvirt(spec.uri) as libvirt:
        assert libvirt.stop(spec)
        assert not libvirt.define(spec, domain.xml(spec, TEMPLATES))
    assert "Power down" in spec.console_log.read_text(errors="replace")
