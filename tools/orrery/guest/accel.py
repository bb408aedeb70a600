"""KVM or TCG: a /dev/kvm that opens is no proof, only a guest that boots under it is.

Where virtualisation is nested, KVM may answer every ioctl, run a few instructions of real mode, and
still never get a Linux guest to its first line.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from orrery.errors import ConfigurationError, GuestError
from orrery.guest.lifecycle import Guests, TakenError
from orrery.guest.machine import CPU_MODEL, Accel
from orrery.guest.trials import Trials, Verdict
from orrery.guest.wish import Wish

DEVICE = Path("/dev/kvm")
TRIAL_TIMEOUT_S = 6.0
"""A guest is ready in less than a second under KVM, in two to four under TCG."""
AUTO = "auto"
CHOICES = (AUTO, *Accel)

# QEMU's plainest model asks for these, and no real x86-64 host is without them.
_BASELINE = ("pni", "sse2", "sse", "fxsr", "cx16", "lm", "syscall")
_LACKS = re.compile(r"host doesn't support requested feature: \S+?\.(\w+) \[bit \d+\]")
_ABORTED = re.compile(r"^.*(?:error: failed to set MSR|Assertion .* failed).*$", re.MULTILINE)


def decide(guests: Guests, wanted: str = AUTO) -> Verdict:
    """Which acceleration guests get.

    Args:
        guests: The lab's.
        wanted: `kvm` or `tcg` force it; `auto` tries, once for every boot of the host.

    Raises:
        ConfigurationError: `wanted` is another word, or KVM is forced and there is none.
    """
    return forced(wanted) or Trials(guests.state).verdict("accel", lambda: attempt(guests))


def forced(wanted: str, variable: str = "lab_accel") -> Verdict | None:
    """What a variable says; None where it leaves the choice.

    Raises:
        ConfigurationError: It is another word, or KVM is forced and there is none.
    """
    if wanted not in CHOICES:
        raise ConfigurationError(f"{variable}: '{wanted}' found; {', '.join(CHOICES)} are possible")
    if wanted == Accel.KVM and not DEVICE.exists():
        raise ConfigurationError(f"{variable} is kvm, and there is no {DEVICE}. Set it to auto.")
    if wanted != AUTO:
        return Verdict(wanted, f"{wanted}, because {variable} says so", forced=True)
    return None


def attempt(guests: Guests) -> Verdict:
    """Try KVM.

    Raises:
        TakenError: Somebody stopped the trial's guest, which decides nothing.
    """
    why_not = obstacle()
    if why_not:
        return Verdict(Accel.TCG, f"tcg: {why_not}")
    # The plain model shows what the host lacks at once; `host` is what guests get then.
    for model in (CPU_MODEL[Accel.TCG], CPU_MODEL[Accel.KVM]):
        wish = Wish(
            name="try-kvm",
            accel=Accel.KVM,
            backend=None,
            cpus=1,
            people=False,
            cpu_model=model,
            bound=True,
        )
        try:
            guests.start(wish, limit_s=TRIAL_TIMEOUT_S, hopeless=judge)
        except TakenError:
            raise
        except GuestError as error:
            return Verdict(Accel.TCG, f"tcg: a trial guest does not run under KVM: {reason(error)}")
        guests.stop(wish.name)
    return Verdict(Accel.KVM, "kvm: a trial guest booted under it")


def judge(said: str) -> str:
    """Why QEMU's own words rule KVM out; empty when they do not."""
    lacking = [name for name in _LACKS.findall(said) if name in _BASELINE]
    if lacking:
        return f"QEMU says that its processor lacks {', '.join(lacking)}"
    aborted = _ABORTED.search(said)
    return f"QEMU aborts: {aborted[0].strip()}" if aborted else ""


def reason(error: GuestError) -> str:
    """The first line of an error, without the name of the trial guest."""
    return str(error).splitlines()[0].removeprefix("guest try-kvm: ").rstrip(".")


def obstacle() -> str:
    """Why KVM need not be tried; empty when it has to be."""
    if not DEVICE.exists():
        return f"there is no {DEVICE} (virtualisation is switched off, or this is a VM without it)"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return f"{DEVICE} may not be opened by this user"
    return ""
