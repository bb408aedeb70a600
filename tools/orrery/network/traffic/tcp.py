"""Bulk TCP with iperf3: one stream or many, one way, the other, or both at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orrery.network.scenario import Direction
from orrery.network.serving import Listening
from orrery.network.traffic.trial import MARGIN_S, Ends

PORT = 5201
CONNECT_TIMEOUT_MS = 3000
UNITS = {
    "throughput": "Mbit/s",
    "forward": "Mbit/s",
    "backward": "Mbit/s",
    "near_cpu": "s/Gbit",
    "far_cpu": "s/Gbit",
    "host_cpu": "s/Gbit",
}
_SWITCH = {Direction.FORWARD: [], Direction.BACKWARD: ["-R"], Direction.BOTH: ["--bidir"]}


@dataclass(frozen=True)
class Bulk:
    """What arrived, at the receiving side of each direction.

    Attributes:
        forward_mbps, backward_mbps: Payload of TCP [Mbit/s]; None where nothing was sent that way.
        gbit: Both together [Gbit].
    """

    forward_mbps: float | None
    backward_mbps: float | None
    gbit: float


def measure(ends: Ends, *, seconds: int, streams: int, direction: Direction) -> dict[str, float]:
    """Send for so many seconds; the metrics of one trial.

    Payload of TCP as the receivers counted it. With both directions `throughput` is their sum.

    Raises:
        TrialError: Nothing arrived, or iperf3 could not connect.
        GuestError, HostError: A program does not run.
    """
    with ends.held():
        server = ["iperf3", "-s", "-B", ends.far.address, "-p", str(PORT)]
        with ends.far.serve(server, Listening("tcp", PORT)), ends.watched() as busy:
            argv = client(ends.far.address, seconds, streams, direction)
            ran = ends.near.run(argv, seconds + MARGIN_S, lasts_s=seconds, check=False)
    found = parse(ran.stdout)
    if isinstance(found, str) or found.gbit <= 0:
        said = found if isinstance(found, str) else ""
        raise ends.nothing("no byte arrived over TCP", said or ran.stderr)
    for way, mbps in (("forward", found.forward_mbps), ("backward", found.backward_mbps)):
        if mbps == 0:
            raise ends.nothing(f"no byte arrived {way} over TCP")
    ways = {"forward": found.forward_mbps, "backward": found.backward_mbps}
    each = {name: value for name, value in ways.items() if value is not None}
    return {
        "throughput": sum(each.values()),
        **(each if len(each) > 1 else {}),
        **busy.per(found.gbit, {"near_s": "near_cpu", "far_s": "far_cpu", "host_s": "host_cpu"}),
    }


def client(address: str, seconds: int, streams: int, direction: Direction) -> list[str]:
    """The client's command line; without reports between, which would cost time."""
    argv = ["iperf3", "-c", address, "-p", str(PORT), "-t", str(seconds), "-P", str(streams)]
    argv += ["-J", "-i", "0", "--connect-timeout", str(CONNECT_TIMEOUT_MS)]
    return argv + _SWITCH[direction]


def parse(text: str) -> Bulk | str:
    """Read `iperf3 -J`; text where it says that something failed."""
    try:
        data = json.loads(text)
    except ValueError:
        return f"iperf3 said: {text.strip()[-200:]}" if text.strip() else "iperf3 said nothing"
    if data.get("error"):
        return str(data["error"])
    sums = data.get("end", {})
    # With --bidir the second pair goes the other way; with -R the only one does.
    reverse = bool(data.get("start", {}).get("test_start", {}).get("reverse"))
    first, second = sums.get("sum_received"), sums.get("sum_received_bidir_reverse")
    if not first:
        return "iperf3 reports no bytes"
    forward, backward = (None, first) if reverse else (first, second)
    return Bulk(
        None if forward is None else _mbps(forward),
        None if backward is None else _mbps(backward),
        sum(int(one["bytes"]) for one in (forward, backward) if one) * 8 / 1e9,
    )


def _mbps(part: Mapping[str, Any]) -> float:
    seconds = float(part["seconds"])
    return int(part["bytes"]) * 8 / 1e6 / seconds if seconds > 0 else 0.0
