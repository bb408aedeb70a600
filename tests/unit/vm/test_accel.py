"""KVM is believed when a kernel came far under it, and is not waited for."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from orrery.errors import ConfigurationError
from orrery.guest import accel as guest_accel
from orrery.state import LabState
from orrery.vm import accel
from orrery.vm.accel import Trial
from tests.support import vm

STATE = LabState("t-vm", facts={"qemu": {"program": "/bin/false", "version": "10.0.2"}})
LACKS = "warning: host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]"


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A /dev/kvm that opens, which proves nothing."""
    path = tmp_path / "kvm"
    path.touch()
    monkeypatch.setattr(guest_accel, "DEVICE", path)
    return path


def program(folder: Path, text: str) -> Path:
    """A QEMU that does what a test says; `$console` is where its console goes."""
    path = folder / "qemu"
    find = "for word; do case $word in file:*) console=${word#file:};; esac; done\n"
    path.write_text(f"#!/bin/sh\n{find}{text}\n")
    path.chmod(0o755)
    return path


def trial(sign: str = accel.NO_ROOT, limit_s: float = 5) -> Trial:
    return Trial(("-kernel", "vmlinuz"), sign, limit_s)


def test_a_kernel_that_misses_its_root_proves_kvm(tmp_path: Path) -> None:
    text = 'echo "VFS: Unable to mount root fs on x" >"$console"; exec sleep 30'
    verdict = accel.attempt(program(tmp_path, text), trial())
    assert (verdict.answer, verdict.why) == ("kvm", "kvm: a kernel started under it")


def test_a_kernel_that_stands_still_is_given_up(tmp_path: Path) -> None:
    verdict = accel.attempt(program(tmp_path, "exec sleep 30"), trial(limit_s=0.3))
    assert verdict.answer == "tcg"
    assert "the kernel got nowhere after 0.3 s" in verdict.why


def test_what_the_host_lacks_decides_at_once(tmp_path: Path) -> None:
    text = f'echo "{LACKS}"; exec sleep 30'
    verdict = accel.attempt(program(tmp_path, text), trial(limit_s=20))
    assert "QEMU says that its processor lacks pni" in verdict.why


def test_a_qemu_that_ends_is_no_kvm(tmp_path: Path) -> None:
    verdict = accel.attempt(program(tmp_path, "exit 1"), trial())
    assert verdict.answer == "tcg"
    assert "QEMU ended with code 1" in verdict.why


def test_without_the_device_nothing_is_tried(tmp_path: Path, device: Path) -> None:
    device.unlink()
    assert "there is no" in accel.attempt(tmp_path / "none", trial()).why


def test_the_answer_is_kept_and_known_without_another_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = vm.image(tmp_path)
    assert accel.known(STATE, "auto", image, tmp_path) is None
    monkeypatch.setattr(accel, "KERNEL_TIMEOUT_S", 0.2)
    found = accel.decide(STATE, "auto", image, tmp_path)
    assert accel.known(STATE, "auto", image, tmp_path) == found
    assert accel.known(STATE, "auto", vm.image(tmp_path, id="ffffffffffff"), tmp_path) is None


def test_a_variable_forces_it(tmp_path: Path, device: Path) -> None:
    image = vm.image(tmp_path)
    found = accel.decide(STATE, "kvm", image, tmp_path)
    assert (found.answer, found.forced) == ("kvm", True)
    device.unlink()
    with pytest.raises(ConfigurationError, match="vm_accel is kvm, and there is no"):
        accel.decide(STATE, "kvm", image, tmp_path)


def test_the_images_kernel_is_tried_else_the_hosts_else_the_disk(tmp_path: Path) -> None:
    own = vm.image(tmp_path)
    disk = vm.image(tmp_path, kernel="")
    assert accel.trial_of(own, tmp_path).words[1] == "/image/vmlinuz"
    assert accel.trial_of(disk, tmp_path).sign == accel.LOGIN
    assert "snapshot=on" in accel.trial_of(disk, tmp_path).words[1]
    (tmp_path / f"vmlinuz-{platform.release()}").touch()
    assert accel.trial_of(disk, tmp_path).sign == accel.NO_ROOT
