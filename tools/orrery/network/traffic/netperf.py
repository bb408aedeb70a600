"""Transactions per second over one TCP connection, with netperf where it can be had.

Debian has it in non-free and Ubuntu in multiverse, so that it is in no guest unless somebody adds
it to `contents.toml` of the role guest_image.
"""

from __future__ import annotations

from orrery.network.serving import Listening
from orrery.network.traffic.trial import MARGIN_S, Ends

PORT = 12865
UNITS = {"transactions": "1/s"}


def measure(ends: Ends, *, seconds: int) -> dict[str, float]:
    """One byte there, one byte back, for so many seconds (TCP_RR).

    Raises:
        TrialError: There was no transaction.
        GuestError, HostError: A program does not run.
    """
    far = ends.far.address
    server = ["netserver", "-D", "-4", "-L", far, "-p", str(PORT)]
    argv = ["netperf", "-H", far, "-p", str(PORT), "-t", "TCP_RR", "-l", str(seconds)]
    argv += ["-P", "0", "-v", "0"]
    with ends.held(), ends.far.serve(server, Listening("tcp", PORT)):
        ran = ends.near.run(argv, seconds + MARGIN_S, lasts_s=seconds, check=False)
    rate = parse(ran.stdout)
    if rate <= 0:
        raise ends.nothing("no transaction over TCP", ran.stderr or ran.stdout)
    return {"transactions": rate}


def parse(text: str) -> float:
    """The rate in what `netperf -P 0 -v 0` prints [1/s]; 0 where there is none."""
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return 0.0
