"""Time of a question and its answer: percentiles with sockperf, and the classic ping."""

from __future__ import annotations

import re

from orrery.network.serving import Listening
from orrery.network.traffic.trial import MARGIN_S, Ends

PORT = 11111
PERCENTILES = {"50.000": "p50", "90.000": "p90", "99.000": "p99", "99.900": "p99.9"}
UNITS = dict.fromkeys(PERCENTILES.values(), "us")

SOCKPERF_EXTRA_S = 2.2
"""sockperf 3.7 sleeps so long around its test, whatever it is told [s]."""

PING_INTERVAL_S = 0.1
PING_WAIT_S = 2
PING_UNITS = {"avg": "ms", "min": "ms", "max": "ms"}

_PERCENTILE = re.compile(r"percentile (\d+\.\d+) =\s*(\d+\.\d+)")
_ANSWER = re.compile(r"[:,] (?:icmp_)?seq=(\d+) .*\btime=(\d+(?:\.\d+)?) ms")


def measure(ends: Ends, *, seconds: int) -> dict[str, float]:
    """Ask over UDP, one question after the other; percentiles of the round trip [us].

    sockperf leaves out what it measures in the first 0.4 s and the last 0.05 s of its time.

    Raises:
        TrialError: There was no answer.
        GuestError, HostError: A program does not run.
    """
    far = ends.far.address
    server = ["sockperf", "server", "-i", far, "-p", str(PORT)]
    argv = ["sockperf", "ping-pong", "-i", far, "-p", str(PORT), "-t", str(seconds), "--full-rtt"]
    with ends.held(), ends.far.serve(server, Listening("udp", PORT)):
        lasts_s = seconds + SOCKPERF_EXTRA_S
        ran = ends.near.run(argv, lasts_s + MARGIN_S, lasts_s=lasts_s, check=False)
    found = parse_percentiles(ran.stdout)
    if not found:
        lines = (ran.stdout + ran.stderr).strip().splitlines()
        raise ends.nothing("no answer over UDP", lines[-1] if lines else "")
    return found


def parse_percentiles(text: str) -> dict[str, float]:
    """Percentiles in what sockperf prints [us]; empty where one is missing or is no time at all."""
    values = {name: float(value) for name, value in _PERCENTILE.findall(text)}
    found = {ours: values[theirs] for theirs, ours in PERCENTILES.items() if values.get(theirs)}
    return found if len(found) == len(PERCENTILES) else {}


def ping(ends: Ends, *, seconds: int) -> dict[str, float]:
    """Ping ten times a second; average, least and most of the round trip [ms].

    The first answer is dropped: it waits until both sides know each other's MAC address, and takes
    five to ten times as long as the others.

    Raises:
        TrialError: There was no answer but perhaps the first.
        GuestError: The program does not run.
    """
    count = round(seconds / PING_INTERVAL_S) + 1
    argv = ["ping", "-c", str(count), "-i", str(PING_INTERVAL_S), "-W", str(PING_WAIT_S)]
    argv.append(ends.far.address)
    with ends.held():
        limit_s = seconds + PING_WAIT_S + MARGIN_S
        ran = ends.near.run(argv, limit_s, lasts_s=seconds, check=False)
    times = parse_ping(ran.stdout)
    if not times:
        raise ends.nothing("no answer to a ping", ran.stderr)
    return {"avg": sum(times) / len(times), "min": min(times), "max": max(times)}


def parse_ping(text: str) -> list[float]:
    """Round trips in what busybox's or iputils' ping prints [ms], without the first question's."""
    answers = [(int(number), float(value)) for number, value in _ANSWER.findall(text)]
    # iputils counts from 1, busybox from 0.
    first = 1 if "icmp_seq=" in text else 0
    return [value for number, value in answers if number > first]
