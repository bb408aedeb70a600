"""KVM is believed when a guest booted under it, and by nothing less."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orrery.errors import ConfigurationError, GuestError
from orrery.guest import accel, interrupts, trials
from orrery.guest.lifecycle import Guests, TakenError
from orrery.guest.machine import Accel
from orrery.guest.trials import Trials, Verdict
from orrery.guest.waiting import CrashError
from orrery.guest.wish import Wish
from orrery.state import LabState

STATE = LabState("t-accel", facts={"qemu": {"version": "10.0.2"}, "guest_image": {"id": "i1"}})
LACKS = (
    "qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]"
)
HARMLESS = "warning: host doesn't support requested feature: CPUID.80000001H:ECX.svm [bit 2]"


class FakeGuests(Guests):
    """Guests whose start ends as the test says."""

    def __init__(self, outcome: GuestError | None) -> None:
        super().__init__(STATE)
        self.outcome = outcome
        self.started: list[Wish] = []

    def start(self, wish: Wish, **_: Any) -> Any:
        self.started.append(wish)
        if self.outcome:
            raise self.outcome

    def stop(self, name: str) -> Any:
        return name


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "kvm"
    path.touch()
    monkeypatch.setattr(accel, "DEVICE", path)
    original = Trials.__init__
    monkeypatch.setattr(
        trials.Trials,
        "__init__",
        lambda self, state, path=None: original(self, state, tmp_path / "trials.json"),
    )
    return path


def test_no_device_means_tcg_without_a_trial(device: Path) -> None:
    device.unlink()
    guests = FakeGuests(None)
    verdict = accel.decide(guests)
    assert verdict.answer == Accel.TCG
    assert "there is no" in verdict.why
    assert guests.started == []


def test_a_guest_that_booted_means_kvm_with_both_processors() -> None:
    guests = FakeGuests(None)
    assert accel.decide(guests).answer == Accel.KVM
    assert [wish.cpu_model for wish in guests.started] == ["qemu64", "host"]


def test_a_guest_that_hangs_means_tcg_and_is_explained() -> None:
    error = GuestError("guest try-kvm: the guest is not ready after 6 s (kvm).\nmore")
    verdict = accel.decide(FakeGuests(error))
    assert verdict.answer == Accel.TCG
    assert verdict.why.endswith("does not run under KVM: the guest is not ready after 6 s (kvm)")


def test_the_verdict_holds_until_qemu_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    accel.decide(FakeGuests(None))
    again = FakeGuests(GuestError("no"))
    assert accel.decide(again).answer == Accel.KVM
    assert again.started == []
    monkeypatch.setitem(STATE.facts, "qemu", {"version": "11.0.0"})
    assert accel.decide(FakeGuests(GuestError("no"))).answer == Accel.TCG


def test_a_variable_forces_the_answer(device: Path) -> None:
    guests = FakeGuests(None)
    assert accel.decide(guests, "tcg") == Verdict("tcg", "tcg, because lab_accel says so", True)
    device.unlink()
    with pytest.raises(ConfigurationError, match="lab_accel is kvm, and there is no"):
        accel.decide(guests, "kvm")
    with pytest.raises(ConfigurationError, match="lab_accel: 'xen' found"):
        accel.decide(guests, "xen")


def test_a_processor_without_a_basic_feature_ends_the_trial_early() -> None:
    assert "lacks pni" in accel.judge(LACKS)
    assert accel.judge(HARMLESS) == ""
    assert "aborts" in accel.judge("qemu: error: failed to set MSR 0x10a to 0x69\n")


def test_a_crash_of_qemu_means_shared_interrupts() -> None:
    crash = CrashError("guest try-msix: QEMU ended by signal 11 before the guest was ready.\n")
    verdict = interrupts.decide(FakeGuests(crash), Accel.TCG)
    assert verdict.answer == interrupts.SHARED
    assert "vectors=0" in verdict.why


def test_a_trial_that_somebody_stopped_decides_nothing() -> None:
    stopped = TakenError("guest try-kvm was stopped while it was being started")
    with pytest.raises(TakenError):
        accel.decide(FakeGuests(stopped))
    assert accel.decide(FakeGuests(None)).answer == Accel.KVM


def test_two_at_once_make_one_trial() -> None:
    made = []

    def attempt() -> Verdict:
        made.append(1)
        time.sleep(0.1)
        return Verdict("yes", "tried")

    with ThreadPoolExecutor(max_workers=3) as pool:
        found = [pool.submit(Trials(STATE).verdict, "both", attempt) for _ in range(3)]
        assert {one.result().answer for one in found} == {"yes"}
    assert len(made) == 1


def test_a_qemu_that_was_killed_decides_nothing_about_interrupts() -> None:
    killed = GuestError("guest try-msix: QEMU ended by signal 9 before the guest was ready.\n")
    with pytest.raises(GuestError, match="by signal 9"):
        interrupts.decide(FakeGuests(killed), Accel.TCG)


def test_another_failure_decides_nothing_about_interrupts() -> None:
    with pytest.raises(GuestError, match="no vhost-user socket"):
        interrupts.decide(FakeGuests(GuestError("no vhost-user socket")), Accel.TCG)
    assert interrupts.decide(FakeGuests(None), Accel.TCG).answer == interrupts.MSIX
