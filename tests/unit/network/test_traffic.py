"""Trials between two places that only pretend: which programs run, and what a trial comes to."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import pytest

from orrery.errors import ConfigurationError, MeasurementError
from orrery.guest.monitor import Ran
from orrery.measure.runner import TrialError
from orrery.measure.search import Counts
from orrery.network import traffic
from orrery.network.backends import Backend
from orrery.network.scenario import Direction, NetScenario, Path, Traffic
from orrery.network.serving import Listening
from orrery.network.traffic import rfc2544
from orrery.network.traffic.trial import Ends
from orrery.state import LabState
from tests.unit.network import test_traffic_parsing as real

PING_OK = (0, "")


@dataclass
class Pretended:
    """A place whose programs give answers by their first word and subcommand."""

    name: str
    answers: dict[str, Any] = field(default_factory=dict)
    address: str = "10.161.34.12"
    cpus: int = 1
    busy: float = 0.0
    ran: list[list[str]] = field(default_factory=list)
    serving: list[str] = field(default_factory=list)
    known: bool = True

    def _answer(self, argv: Sequence[str]) -> Ran:
        self.ran.append(list(argv))
        answer = self.answers[argv[0]]
        code, text = answer(argv) if callable(answer) else answer
        return Ran(tuple(argv), code, text, "", 0.0)

    def run(
        self, argv: Sequence[str], timeout_s: float, *, lasts_s: float = 0, check: bool = True
    ) -> Ran:
        assert timeout_s > lasts_s
        self.busy += 0.5
        return self._answer(argv)

    @contextlib.contextmanager
    def serve(self, argv: Sequence[str], ready: Listening) -> Iterator[Any]:
        self.serving.append(f"{ready.protocol} {ready.port}")
        self.ran.append(list(argv))
        this = self

        class Serving:
            def end(self) -> Ran:
                return this._answer(argv)

        try:
            yield Serving()
        finally:
            self.serving.append("gone")

    def busy_s(self) -> float:
        return self.busy if self.known else math.nan

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        yield


def scenario(kind: Traffic, **values: Any) -> NetScenario:
    needed: dict[Traffic, dict[str, Any]] = {
        Traffic.TCP: {"streams": 1},
        Traffic.UDP: {"frame": "64"},
        Traffic.RFC2544: {"frame": "64", "loss": 0.0},
    }
    made = NetScenario(
        **{
            "backend": Backend.VHOST_USER,
            "path": Path.GUEST_GUEST,
            "traffic": kind,
            **needed.get(kind, {}),
            **values,
        }
    )
    made.check()
    return made


def hosts() -> Iterator[float]:
    total = 0.0
    while True:
        yield total
        total += 2.0


def trial(what: NetScenario, near: Pretended, far: Pretended) -> dict[str, float]:
    clock = hosts()
    return traffic.measure(what, near, far, lambda: next(clock))


def test_a_trial_of_tcp_has_its_server_and_the_processors_of_all_three() -> None:
    near = Pretended("a", {"iperf3": (0, real.iperf3({"sum_received": real.SUM}))})
    far = Pretended("b")
    found = trial(scenario(Traffic.TCP, streams=30), near, far)
    gbit = real.SUM["bytes"] * 8e-9
    assert found["throughput"] == pytest.approx(346.674, abs=0.001)
    assert found["near_cpu"] == pytest.approx(0.5 / gbit)
    assert found["far_cpu"] == 0
    assert found["host_cpu"] == pytest.approx(2.0 / gbit)
    assert set(found) == {"throughput", "near_cpu", "far_cpu", "host_cpu"}
    assert far.serving == ["tcp 5201", "gone"]
    assert far.ran == [["iperf3", "-s", "-B", far.address, "-p", "5201"]]
    assert near.ran[0][-3:] == ["0", "--connect-timeout", "3000"]
    assert "30" in near.ran[0]


@pytest.mark.parametrize(
    ("direction", "switch"), [(Direction.BACKWARD, "-R"), (Direction.BOTH, "--bidir")]
)
def test_the_direction_is_a_switch_of_the_client(direction: Direction, switch: str) -> None:
    sums = {"sum_received": real.SUM}
    if direction is Direction.BOTH:
        sums["sum_received_bidir_reverse"] = real.BACK
    text = real.iperf3(sums, reverse=int(direction is Direction.BACKWARD))
    near = Pretended("a", {"iperf3": (0, text)})
    found = trial(scenario(Traffic.TCP, direction=direction), near, Pretended("b"))
    assert near.ran[0][-1] == switch
    if direction is Direction.BOTH:
        assert found["throughput"] == pytest.approx(found["forward"] + found["backward"])
        assert next(iter(found)) == traffic.primary(Traffic.TCP)
    else:
        assert "backward" not in found


def test_what_a_peer_does_not_tell_is_no_metric() -> None:
    near = Pretended("a", {"iperf3": (0, real.iperf3({"sum_received": real.SUM}))})
    assert "far_cpu" not in trial(scenario(Traffic.TCP), near, Pretended("b", known=False))


def test_a_trial_of_udp_is_what_arrived_in_whole_frames() -> None:
    near = Pretended("a", {"ping": PING_OK, "orrery-probe": (0, real.SENDER)})
    far = Pretended("b", {"orrery-probe": (0, real.RECEIVER)})
    found = trial(scenario(Traffic.UDP, frame="imix"), near, far)
    assert found["rate"] == pytest.approx(11900 / 0.999616)
    assert found["throughput"] == pytest.approx((3663000 + 46 * 11900) * 8e-6 / 0.999616)
    assert found["loss"] == pytest.approx(100 / 12000)
    assert found["host_cpu"] == pytest.approx(2.0 / 11900 * 1e6)
    assert set(found) == set(traffic.UNITS[Traffic.UDP])
    assert far.serving == ["udp 4000", "gone"]
    assert near.ran[1][-4:] == ["--size", "imix", "--rate", "0"]


NOTHING = {
    Traffic.TCP: ({"iperf3": (1, real.REFUSED)}, "no byte arrived over TCP (unable to connect"),
    Traffic.UDP: (
        {"ping": PING_OK, "orrery-probe": (0, real.SENDER)},
        "0 of 12000 packets of UDP arrived",
    ),
    Traffic.LATENCY: ({"sockperf": (0, real.NO_SERVER)}, "no answer over UDP (sockperf: No mess"),
    Traffic.PING: ({"ping": (1, "")}, "no answer to a ping"),
    Traffic.NETPERF: ({"netperf": (1, "establish control: are you sure")}, "no transaction over"),
    Traffic.RFC2544: ({"ping": (1, "")}, "no answer to a ping"),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_a_trial_of_nothing_is_an_error_with_its_likely_causes(kind: Traffic) -> None:
    answers, said = NOTHING[kind]
    nobody = json.dumps({"received": 0, "bytes": 0, "seconds": 0.0})
    near, far = Pretended("guest a", answers), Pretended("guest b", {"orrery-probe": (0, nobody)})
    with pytest.raises(TrialError) as caught:
        trial(scenario(kind), near, far)
    text = str(caught.value)
    assert f"from guest a to guest b at 10.161.34.12: {said}" in text
    for cause in ("link is down", "memory pool", "VLAN tags", "MTU", "queue is off"):
        assert cause in text
    assert "gone" in far.serving or not far.serving


def test_the_search_asks_the_sender_first_what_it_can() -> None:
    asked: list[tuple[float, int]] = []

    def device(duration_s: float, load_pps: int) -> Any:
        asked.append((duration_s, load_pps))
        sent = round((load_pps or 20_000) * duration_s)
        return Counts(sent, min(sent, round(8_000 * duration_s)))

    found = rfc2544.find(device, seconds=2, loss=0.0)
    assert asked[0] == (2, 0)
    assert max(load for _, load in asked) == 20_000
    assert 7_800 <= found.load_pps <= 8_000


def test_steps_of_a_search_go_at_their_rate_and_count_both_ends() -> None:
    near = Pretended("a", {"orrery-probe": (0, real.SENDER)})
    far = Pretended("b", {"orrery-probe": (0, real.RECEIVER)})
    counts = rfc2544.seam(Ends(near, far, lambda: 0.0), "64")
    assert counts(1.0, 12_000) == Counts(12_000, 11_900)
    assert near.ran[0][-4:] == ["--size", "18", "--rate", "12000"]
    with pytest.raises(MeasurementError, match=r"whole seconds, not 0\.5"):
        counts(0.5, 12_000)


def test_traffic_that_goes_round_is_none_between_two_places() -> None:
    made = scenario(Traffic.FORWARD, frame="64", path=Path.PVP)
    with pytest.raises(ConfigurationError, match="goes round between ports of a bridge"):
        trial(made, Pretended("a"), Pretended("b"))


def test_every_traffic_has_units_and_a_metric_that_judges_it() -> None:
    assert set(traffic.UNITS) == set(Traffic)
    judges = {kind: traffic.primary(kind) for kind in Traffic}
    assert judges[Traffic.TCP] == judges[Traffic.RFC2544] == "throughput"
    assert (judges[Traffic.UDP], judges[Traffic.FORWARD]) == ("rate", "rate")
    assert (judges[Traffic.LATENCY], judges[Traffic.PING]) == ("p50", "avg")


def test_a_program_that_is_not_there_is_a_reason_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: File
) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"packages": {"iperf3": "3.12"}}))
    state = LabState("orrery", facts={"guest_image": {"folder": str(tmp_path)}})
    monkeypatch.setattr("shutil.which", lambda name: None)
    to_host, to_peer = {"path": Path.GUEST_HOST}, {"path": Path.GUEST_PEER}
    assert traffic.missing(scenario(Traffic.TCP), state) == ""
    assert traffic.missing(scenario(Traffic.UDP, **to_host), state) == ""
    assert traffic.missing(scenario(Traffic.TCP, **to_peer), state) == ""
    reason = traffic.missing(scenario(Traffic.TCP, **to_host), state)
    assert reason == "the host has no iperf3: run ./lab up"
    reason = traffic.missing(scenario(Traffic.UDP, **to_peer), state)
    assert reason.startswith("udp needs orrery-probe at the far end, and a LAN peer has iperf3")
    reason = traffic.missing(scenario(Traffic.NETPERF), state)
    assert reason.startswith("the guest's image holds no netperf. Debian has it in non-free")
    (tmp_path / "manifest.json").write_text(json.dumps({"packages": {"netperf": "2.7"}}))
    assert traffic.missing(scenario(Traffic.NETPERF), state) == ""
    assert "the host has no netserver" in traffic.missing(
        scenario(Traffic.NETPERF, **to_host), state
    )
