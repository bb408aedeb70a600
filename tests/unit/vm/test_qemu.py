"""QEMU's command line follows from the VM."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery.errors import ConfigurationError
from orrery.guest.machine import Accel
from orrery.vm import qemu
from orrery.vm.spec import NicKind, VmNic, VmSpec
from tests.support import vm

MAC = "52:54:00:00:00:01"


def line(spec: VmSpec) -> str:
    return " ".join(str(word) for word in qemu.argv(spec))


def test_emulated_it_has_every_feature_but_virtualisation_and_slow_ones(tmp_path: Path) -> None:
    text = line(vm.spec(tmp_path))
    without = "vmx=off,svm=off,erms=off,fsrm=off,la57=off,smap=off"
    assert f"-accel tcg,thread=multi -cpu max,{without} -smp 2" in text
    assert "tsc=reliable" in text


def test_under_kvm_it_has_the_hosts_processor_and_what_virtualises_when_wanted(
    tmp_path: Path,
) -> None:
    text = line(vm.spec(tmp_path, accel=Accel.KVM))
    assert "-accel kvm -cpu host -smp" in text
    assert "tsc=reliable" not in text
    flat = line(vm.spec(tmp_path, accel=Accel.KVM, nested=False))
    assert "-cpu host,vmx=off,svm=off" in flat


def test_ssh_comes_in_on_loopback_only_and_further_ports_with_it(tmp_path: Path) -> None:
    nics = (
        VmNic(NicKind.USER, MAC, "", ((18600, 80),)),
        VmNic(NicKind.USER, MAC, "", ((18601, 81),)),
    )
    text = line(vm.spec(tmp_path, nics=nics))
    assert "hostfwd=tcp:127.0.0.1:18499-:22,hostfwd=tcp:127.0.0.1:18600-:80" in text
    assert "net=10.0.2.0/24" in text
    assert "id=net1,ipv6=off,net=10.0.3.0/24,hostfwd=tcp:127.0.0.1:18601-:81" in text
    assert text.count("-:22") == 1


def test_bridges_and_taps_of_the_host_are_taken_as_they_are(tmp_path: Path) -> None:
    nics = (
        VmNic(NicKind.USER, MAC),
        VmNic(NicKind.BRIDGE, MAC, "br0"),
        VmNic(NicKind.TAP, MAC, "tap7"),
    )
    text = line(vm.spec(tmp_path, nics=nics))
    assert "-netdev bridge,id=net1,br=br0" in text
    assert "-netdev tap,id=net2,ifname=tap7,script=no,downscript=no" in text


def test_a_network_of_libvirts_is_refused(tmp_path: Path) -> None:
    nics = (VmNic(NicKind.NETWORK, MAC, "default"),)
    with pytest.raises(ConfigurationError, match="'default' is one of libvirt's"):
        line(vm.spec(tmp_path, nics=nics))


def test_an_image_with_its_own_boot_loader_gets_no_kernel(tmp_path: Path) -> None:
    image = vm.image(tmp_path, kernel="", initrd="", append="")
    text = line(vm.spec(tmp_path, image=image))
    assert "-kernel" not in text
    assert "bootindex=1" in text


def test_what_the_image_says_to_its_kernel_is_kept(tmp_path: Path) -> None:
    image = vm.image(tmp_path, append="root=/dev/vda panic=-1")
    words = qemu.append(vm.spec(tmp_path, image=image)).split()
    assert words[:2] == ["root=/dev/vda", "panic=-1"]
    assert "panic=10" not in words


def test_the_vm_may_reboot_and_its_console_is_a_socket_with_a_log(tmp_path: Path) -> None:
    text = line(vm.spec(tmp_path))
    assert "-no-reboot" not in text
    assert f"path={tmp_path}/run/console.sock" in text
    assert f"logfile={tmp_path}/run/console.log" in text
    assert f"-qmp unix:{tmp_path}/run/monitor.sock" in text


def test_memory_comes_from_huge_pages_when_they_are_named(tmp_path: Path) -> None:
    text = line(vm.spec(tmp_path, hugepages="/dev/hugepages"))
    assert "memory-backend-file,id=ram0,size=2048M,mem-path=/dev/hugepages" in text
