"""What the programs really printed, in guests of this lab (iperf3 3.12, sockperf 3.7)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orrery.errors import MeasurementError
from orrery.network.traffic import latency, netperf, tcp, udp
from orrery.network.traffic.trial import Busy

SUM = {"start": 0, "end": 1.025829, "seconds": 1.025829, "bytes": 44453528, "sender": True}
SENT = {"start": 0, "end": 1.009513, "seconds": 1.009513, "bytes": 45088768, "sender": True}
BACK = {"start": 0, "end": 1.026351, "seconds": 1.026351, "bytes": 21683608, "sender": False}
REFUSED = """{
	"start":	{
		"connected":	[],
		"version":	"iperf 3.12"
	},
	"intervals":	[],
	"end":	{
	},
	"error":	"unable to connect to server: Connection refused"
}"""
SOCKPERF = """\
sockperf: \x1b[2;35m== version #3.7-no.git == \x1b[0m
sockperf[CLIENT] send on:sockperf: using recvfrom() to block on socket(s)

[ 0] IP = 10.161.34.12    PORT = 11111 # UDP
sockperf: Warmup stage (sending a few dummy messages)...
sockperf: Starting test...
sockperf: Test end (interrupted by timer)
sockperf: Test ended
sockperf: [Total Run] RunTime=1.001 sec; Warm up time=400 msec; SentMessages=1045; ReceivedMessages=1044
sockperf: ========= Printing statistics for Server No: 0
sockperf: [Valid Duration] RunTime=0.549 sec; SentMessages=624; ReceivedMessages=624
sockperf: \x1b[2;35m====> avg-rtt=878.517 (std-dev=433.772)\x1b[0m
sockperf: # dropped messages = 0; # duplicated messages = 0; # out-of-order messages = 0
sockperf: Summary: Round trip is 878.517 usec
sockperf: \x1b[2;35mTotal 624 observations\x1b[0m; each percentile contains 6.24 observations
sockperf: ---> <MAX> observation = 6715.869
sockperf: ---> percentile 99.999 = 6715.869
sockperf: ---> percentile 99.990 = 6715.869
sockperf: ---> percentile 99.900 = 5236.632
sockperf: ---> percentile 99.000 = 2981.523
sockperf: ---> percentile 90.000 = 1034.473
sockperf: ---> percentile 75.000 =  896.087
sockperf: ---> percentile 50.000 =  801.313
sockperf: ---> percentile 25.000 =  732.257
sockperf: ---> <MIN> observation =  507.760
"""  # noqa: E501 (as it was printed)
NO_SERVER = "sockperf: No messages were received from the server. Is the server down?\n"
PING = """\
PING 10.161.34.12 (10.161.34.12): 56 data bytes
64 bytes from 10.161.34.12: seq=0 ttl=64 time=4.245 ms
64 bytes from 10.161.34.12: seq=1 ttl=64 time=2.749 ms
64 bytes from 10.161.34.12: seq=2 ttl=64 time=1.777 ms

--- 10.161.34.12 ping statistics ---
3 packets transmitted, 3 packets received, 0% packet loss
round-trip min/avg/max = 1.777/2.923/4.245 ms
"""
IPUTILS = """\
64 bytes from 10.161.34.12: icmp_seq=1 ttl=64 time=4.25 ms
64 bytes from 10.161.34.12: icmp_seq=2 ttl=64 time=0.5 ms
"""
SENDER = (
    '{"sent": 12000, "errors": 0, "size": "imix", "bytes": 3694000, "seconds": 1.000003, '
    '"packets_per_s": 12000.0, "mbit_per_s": 29.552, "interrupted": false}\n'
)
RECEIVER = (
    '{"received": 11900, "lost": 100, "duplicated": 0, "reordered": 0, "first": 0, '
    '"last": 11999, "largest_gap_ms": 3.105, "gap_after": 9091, "delay_min_ms": 0.002, '
    '"delay_max_ms": 0.386, "bytes": 3663000, "seconds": 0.999616, "packets_per_s": 12004.6, '
    '"interrupted": true}\n'
)


def iperf3(sums: dict[str, Any], *, reverse: int = 0) -> str:
    return json.dumps({"start": {"test_start": {"reverse": reverse}}, "end": sums})


def test_bulk_is_what_arrived_by_the_receivers_clock() -> None:
    found = tcp.parse(iperf3({"sum_sent": SENT, "sum_received": SUM}))
    assert isinstance(found, tcp.Bulk)
    assert found.forward_mbps == pytest.approx(346.674, abs=0.001)
    assert found.backward_mbps is None
    assert found.gbit == pytest.approx(0.355628, abs=1e-6)


def test_the_other_way_is_told_by_the_switch_and_not_by_the_sums() -> None:
    found = tcp.parse(iperf3({"sum_received": SUM}, reverse=1))
    assert isinstance(found, tcp.Bulk)
    assert found.forward_mbps is None
    assert found.backward_mbps == pytest.approx(346.674, abs=0.001)


def test_both_ways_are_kept_apart_and_their_bytes_added() -> None:
    sums = {"sum_received": SUM, "sum_received_bidir_reverse": BACK}
    found = tcp.parse(iperf3(sums))
    assert isinstance(found, tcp.Bulk)
    assert found.backward_mbps == pytest.approx(169.015, abs=0.001)
    assert found.gbit == pytest.approx((44453528 + 21683608) * 8e-9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (REFUSED, "unable to connect to server: Connection refused"),
        ("", "iperf3 said nothing"),
        ("iperf3: parameter error - bad", "iperf3 said: iperf3: parameter error - bad"),
        (iperf3({}), "iperf3 reports no bytes"),
    ],
)
def test_a_run_without_figures_is_the_text_of_its_fault(text: str, said: str) -> None:
    assert tcp.parse(text) == said


def test_percentiles_come_from_what_sockperf_prints() -> None:
    found = latency.parse_percentiles(SOCKPERF)
    assert found == {"p50": 801.313, "p90": 1034.473, "p99": 2981.523, "p99.9": 5236.632}
    assert latency.parse_percentiles(NO_SERVER) == {}
    assert latency.parse_percentiles(SOCKPERF.partition("percentile 90")[0]) == {}


def test_the_first_answer_to_a_ping_is_dropped_whoever_counts_it() -> None:
    assert latency.parse_ping(PING) == [2.749, 1.777]
    assert latency.parse_ping(IPUTILS) == [0.5]
    lost_first = PING.replace("64 bytes from 10.161.34.12: seq=0 ttl=64 time=4.245 ms\n", "")
    assert latency.parse_ping(lost_first) == [2.749, 1.777]
    assert latency.parse_ping("") == []


def test_sent_and_received_come_from_both_ends_of_the_probe() -> None:
    found = udp.parse(SENDER, '{"gap": 1}\n' + RECEIVER, Busy())
    assert (found.sent, found.received, found.bytes) == (12000, 11900, 3663000)
    assert found.loss == pytest.approx(100 / 12000)


@pytest.mark.parametrize("text", ["", "orrery-probe: memory", '{"sent": 1}', "[]"])
def test_a_probe_without_summary_is_an_error_that_shows_what_it_said(text: str) -> None:
    with pytest.raises(MeasurementError, match="orrery-probe printed no summary"):
        udp.parse(SENDER, text, Busy())


def test_frames_are_payloads_and_what_is_around_them() -> None:
    sizes = {frame: udp.payload(frame) for frame in ("64", "1518", "imix")}
    assert sizes == {"64": "18", "1518": "1472", "imix": "imix"}


@pytest.mark.parametrize(("text", "rate"), [("28925.51\n", 28925.51), ("", 0.0), ("no", 0.0)])
def test_netperf_prints_its_rate_and_nothing_else(text: str, rate: float) -> None:
    assert netperf.parse(text) == rate
