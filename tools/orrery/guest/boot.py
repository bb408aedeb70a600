"""What a guest's kernel is started with."""

from __future__ import annotations

BOOT_OPTIONS = (
    "console=ttyS0",
    "quiet",
    "panic=-1",
    "tsc=reliable",
    # Each of these saves time that a guest under TCG would spend on testing itself.
    "cryptomgr.notests",
    "no_timer_check",
    "8250.nr_uarts=1",
    "random.trust_cpu=on",
    "rcupdate.rcu_expedited=1",
)
LATE_PROCESSORS = "maxcpus=1"
"""Under TCG the other processors start when the PCI devices have their places, which /init does.

QEMU (seen with 10.0) ends by an assertion in iotlb_to_section, or loses what one processor writes
to a device, when another one changes the map of memory at that moment: on a busy host the first in
one start of some hundred, the second, of a processor's timer, in one of some thousand.
"""


def boot_options(emulated: bool, cpus: int) -> str:
    """Command line of the lab's own kernel."""
    late = emulated and cpus > 1
    return " ".join([*BOOT_OPTIONS, *([LATE_PROCESSORS] if late else [])])
