"""Packet rate over UDP with the lab's own numbered datagrams, `orrery-probe`.

Sizes are those of Ethernet frames with FCS (RFC 2544, 9.1); `imix` is 7 : 4 : 1 of 64, 570 and 1518
bytes, which is FD.io CSIT's IMIX_v4_1 (28 x 64, 16 x 570, 4 x 1518 bytes), its sizes in turns.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from orrery.errors import MeasurementError
from orrery.network.places import PROBE
from orrery.network.scenario import IMIX
from orrery.network.serving import Listening
from orrery.network.traffic.trial import MARGIN_S, Busy, Ends

PORT = 4000
HEADS = 14 + 20 + 8 + 4
"""Ethernet, IPv4, UDP and FCS around a payload [bytes]."""
AS_FAST_AS_IT_CAN = 0
UNITS = {
    "rate": "packets/s",
    "throughput": "Mbit/s",
    "loss": "share",
    "host_cpu": "us/packet",
}


@dataclass(frozen=True)
class Sent:
    """One run of a sender and a receiver.

    Attributes:
        received: Different packets.
        bytes: Payload of all that came, doubles included.
        seconds: From the first packet that came to the last [s].
    """

    sent: int
    received: int
    bytes: int
    seconds: float
    busy: Busy

    @property
    def loss(self) -> float:
        """Share of the sent packets that did not arrive; 1 where none was sent."""
        return max(0.0, 1 - self.received / self.sent) if self.sent else 1.0


def measure(ends: Ends, *, seconds: int, frame: str) -> dict[str, float]:
    """Send as fast as it goes for so many seconds; the metrics of one trial.

    `rate` is what arrived, by the receiver's clock. `throughput` is bits of whole frames with FCS,
    without preamble and gap.

    Raises:
        TrialError: Nothing arrived.
        GuestError, HostError: A program does not run.
    """
    with ends.held():
        ends.acquaint()
        found = send(ends, seconds=seconds, frame=frame)
    if found.received < 2 or found.seconds <= 0:
        raise ends.nothing(f"{found.received} of {found.sent} packets of UDP arrived")
    bits = (found.bytes + HEADS * found.received) * 8
    return {
        "rate": found.received / found.seconds,
        "throughput": bits / 1e6 / found.seconds,
        "loss": found.loss,
        **found.busy.per(found.received / 1e6, {"host_s": "host_cpu"}),
    }


def send(ends: Ends, *, seconds: int, frame: str, rate_pps: int = AS_FAST_AS_IT_CAN) -> Sent:
    """Send for so many seconds and count what arrives; nothing is an answer, too.

    Raises:
        GuestError, HostError: A program does not run.
    """
    far = ends.far.address
    # It ends by a signal, and by itself only where that does not reach it.
    limit = str(math.ceil(seconds + MARGIN_S))
    receive = [PROBE, "receive", "--bind", far, "--port", str(PORT), "--seconds", limit]
    argv = [PROBE, "send", "--to", far, "--port", str(PORT), "--seconds", str(seconds)]
    argv += ["--size", payload(frame), "--rate", str(rate_pps)]
    with ends.held(), ends.far.serve(receive, Listening("udp", PORT)) as receiver:
        with ends.watched() as busy:
            sent = ends.near.run(argv, seconds + MARGIN_S, lasts_s=seconds)
        heard = receiver.end()
    return parse(sent.stdout, heard.stdout, busy)


def payload(frame: str) -> str:
    """Payload of UDP of a frame's size, as `orrery-probe send --size` takes it."""
    return IMIX if frame == IMIX else str(int(frame) - HEADS)


def parse(sender: str, receiver: str, busy: Busy) -> Sent:
    """Read the last lines of `orrery-probe send` and `receive`.

    Raises:
        MeasurementError: One is no summary.
    """
    try:
        sent, heard = (json.loads(text.strip().splitlines()[-1]) for text in (sender, receiver))
        return Sent(
            sent=int(sent["sent"]),
            received=int(heard["received"]),
            bytes=int(heard["bytes"]),
            seconds=float(heard["seconds"]),
            busy=busy,
        )
    except (ValueError, LookupError, TypeError) as error:
        said = " | ".join(text.strip()[-200:] for text in (sender, receiver))
        raise MeasurementError(f"{PROBE} printed no summary: {said}") from error
