"""KVM or TCG for a VM: its own kernel is tried under KVM, with a bound.

The lab's trial guest (orrery.guest.accel) is not there on a machine that only runs the VM. A kernel
without a root file system comes as far as saying so, within a second where KVM works; where it
does not, QEMU aborts, complains, or stands still.
"""

from __future__ import annotations

import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orrery import shell
from orrery.errors import GuestError
from orrery.guest import accel
from orrery.guest.machine import CPU_MODEL, Accel
from orrery.guest.trials import Trials, Verdict
from orrery.guest.waiting import Waiting
from orrery.state import LabState
from orrery.vm.image.image import Image

NAME = "try-kvm"
BOOT = Path("/boot")
KERNEL_TIMEOUT_S = 10.0
DISK_TIMEOUT_S = 60.0
"""A boot menu waits for some seconds, and the login comes last."""
NO_ROOT = "Unable to mount root fs"
LOGIN = "login:"
MEMORY_MB = 512


@dataclass(frozen=True)
class Trial:
    """What is started to see whether KVM runs it.

    Attributes:
        words: Arguments of QEMU.
        sign: Text on the console that it came far enough.
        limit_s: How long that may take [s].
    """

    words: tuple[str, ...]
    sign: str
    limit_s: float


def decide(state: LabState, wanted: str, image: Image, run_dir: Path) -> Verdict:
    """Which acceleration a VM gets.

    Args:
        state: Of the lab, with the fact `qemu`.
        wanted: `kvm` or `tcg` force it; `auto` tries, once for every boot of the host.
        image: That the VM starts from.
        run_dir: Folder that the verdict is kept in.

    Raises:
        ConfigurationError: `wanted` is another word, or KVM is forced and there is none.
    """
    trials = Trials(state, run_dir / "trials.json", image.id)
    program = Path(str(state.facts["qemu"]["program"]))
    return accel.forced(wanted, "vm_accel") or trials.verdict(
        "accel", lambda: attempt(program, trial_of(image))
    )


def known(state: LabState, wanted: str, image: Image, run_dir: Path) -> Verdict | None:
    """What is known without trying; None where it has to be tried."""
    trials = Trials(state, run_dir / "trials.json", image.id)
    return accel.forced(wanted, "vm_accel") or trials.known("accel")


def trial_of(image: Image, boot: Path = BOOT) -> Trial:
    """The VM's kernel, else the host's own, else the image without writing to it."""
    own = boot / f"vmlinuz-{platform.release()}"
    kernel = image.kernel or (str(own) if own.is_file() else "")
    if kernel:
        options = "console=ttyS0 panic=0 root=/dev/none"
        return Trial(("-kernel", kernel, "-append", options), NO_ROOT, KERNEL_TIMEOUT_S)
    drive = f"file={image.disk},format={image.format},if=virtio,snapshot=on"
    return Trial(("-drive", drive), LOGIN, DISK_TIMEOUT_S)


def attempt(program: Path, trial: Trial) -> Verdict:
    """Try KVM."""
    why_not = accel.obstacle()
    if why_not:
        return Verdict(Accel.TCG, f"tcg: {why_not}")
    # The plain model shows what the host lacks at once; `host` is what the VM gets then.
    for model in (CPU_MODEL[Accel.TCG], CPU_MODEL[Accel.KVM]):
        try:
            _boot(program, model, trial)
        except GuestError as error:
            return Verdict(Accel.TCG, f"tcg: no kernel starts under KVM: {accel.reason(error)}")
    return Verdict(Accel.KVM, "kvm: a kernel started under it")


def _boot(program: Path, model: str, trial: Trial) -> None:
    with tempfile.TemporaryDirectory(prefix="orrery-try-kvm-") as name:
        folder = Path(name)
        words: list[str | Path] = [program, "-nodefaults", "-no-user-config", "-display", "none"]
        words += ["-machine", "q35", "-accel", "kvm", "-cpu", model, "-m", f"{MEMORY_MB}M"]
        words += ["-serial", f"file:{folder / 'console.log'}", "-no-reboot", *trial.words]
        process = shell.start(words, stdout=folder / "qemu.log")
        waiting = Waiting(NAME, Accel.KVM, folder, process)

        def reached() -> bool:
            hopeless = accel.judge(_text(folder / "qemu.log"))
            if hopeless:
                raise GuestError(f"guest {NAME}: {hopeless}")
            return trial.sign in _text(folder / "console.log")

        try:
            waiting.until(reached, trial.limit_s, "the kernel got nowhere")
        finally:
            shell.stop(process, timeout_s=2.0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
