"""Suites are files that list scenarios; what is wrong in one is said with its place."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from orrery.bench import suite as suites
from orrery.bench.suite import Suite, load, names, parse
from orrery.errors import ConfigurationError
from orrery.network.backends import Backend
from orrery.network.scenario import NetScenario, Offloads, Traffic
from orrery.network.scenario import Path as Way

HEAD = "about: test\ngroups:\n  - title: one\n"
TCP = "    with: {path: guest-guest, traffic: tcp, streams: 1}\n"


def made(rest: str, head: str = HEAD + TCP) -> Suite:
    return parse(head + rest, "mine")


def test_the_suites_of_the_issue_come_along() -> None:
    wanted = {"standard", "multiqueue", "overlay", "latency", "engine", "rfc2544", "full"}
    assert wanted <= set(names())


def test_the_standard_suite_comes_first() -> None:
    first, *others = names()
    assert first == "standard"
    assert others == sorted(others)


@pytest.mark.parametrize("name", names())
def test_every_suite_is_valid_and_says_what_it_is_about(name: str) -> None:
    suite = load(name)
    assert suite.about.endswith((".", "?"))
    assert len({one.name for one in suite.scenarios}) == len(suite.scenarios)
    assert suite.most_trials >= suite.trials >= 5
    for group in suite.groups:
        inside = set(group.scenarios)
        assert all({one, other} <= inside and one != other for one, other in group.ratios)


def test_the_standard_suite_has_twenty_rows_of_two_seconds_at_most() -> None:
    suite = load("standard")
    assert {one.seconds for one in suite.scenarios} == {2}
    rows = sum(len(group.scenarios) * max(1, len(group.metrics)) for group in suite.groups)
    assert rows <= 20


def test_the_headline_compares_one_switch_with_equal_offloads() -> None:
    for group in load("standard").groups[:2]:
        one, other = group.ratios[0]
        assert (one.backend, other.backend) == (Backend.VHOST_USER, Backend.VIRTIO_NET_OVS)
        assert one.offloads is other.offloads is Offloads.NONE


def test_the_classic_row_of_ten_seconds_is_in_full() -> None:
    found = [one for one in load("full").scenarios if one.seconds == 10]
    assert {(one.streams, one.path) for one in found} == {(30, Way.GUEST_HOST)}


def test_parameters_are_crossed_and_varied() -> None:
    suite = made(
        "    each: {queues: [1, 2]}\n"
        "    variants: [{backend: vhost-user}, {backend: virtio-net, offloads: native}]\n"
        "    ratios: [{of: {backend: vhost-user}, over: {backend: virtio-net, offloads: native}}]\n"
    )
    (group,) = suite.groups
    assert [(one.queues, str(one.backend)) for one in group.scenarios] == [
        (1, "vhost-user"), (1, "virtio-net"), (2, "vhost-user"), (2, "virtio-net"),
    ]  # fmt: skip
    assert [(one.queues, other.queues) for one, other in group.ratios] == [(1, 1), (2, 2)]


def test_scenarios_that_differ_in_more_than_the_rule_names_are_not_compared() -> None:
    suite = made(
        "    variants: [{backend: vhost-user}, {backend: virtio-net}, {backend: virtio-net, mtu: "
        "9000}]\n"
        "    ratios: [{of: {backend: vhost-user}, over: {backend: virtio-net}}]\n"
    )
    assert [other.mtu for _, other in suite.groups[0].ratios] == [None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("about: [", "suite mine: no YAML"),
        ("groups: []", "suite mine: $"),
        (f"{HEAD}    wiht: {{}}\n", "suite mine: $.groups[0]: "),
        (f"{HEAD}{TCP}    trials: 3\n", "'trials' was unexpected"),
        (f"{HEAD}{TCP}", "group 'one': a scenario needs backend"),
        (f"{HEAD}{TCP}    variants: [{{bakend: x}}]\n", "no parameter 'bakend'. Known: backend,"),
        (
            f"{HEAD}{TCP}    variants: [{{backend: vhost}}]\n",
            "backend is 'vhost'; one of vhost-user, ",
        ),
        (
            f"{HEAD}{TCP}    variants: [{{backend: vhost-user, seconds: soon}}]\n",
            "seconds is 'soon', which is of no kind",
        ),
        (
            f"{HEAD}{TCP}    variants: [{{backend: vhost-user}}, {{backend: vhost-user}}]\n",
            "is there twice",
        ),
        (
            f"{HEAD}{TCP}    variants: [{{backend: engine-bridge}}]\n",
            "path guest-guest does not go with backend engine-bridge",
        ),
        (
            f"{HEAD}{TCP}    variants: [{{backend: vhost-user}}]\n"
            "    ratios: [{of: {queues: 2}, over: {queues: 1}}]\n",
            "no two scenarios are {'queues': 2} and {'queues': 1}",
        ),
        (
            f"{HEAD}{TCP}    variants: [{{backend: vhost-user}}]\n"
            "    ratios: [{of: {queue: 2}, over: {queues: 1}}]\n",
            "there is no parameter 'queue'",
        ),
        (
            f"{HEAD}{TCP}    variants: [{{backend: vhost-user}}]\n    metrics: [p95]\n",
            "there is no metric 'p95'. Known: throughput, forward,",
        ),
        (
            f"{HEAD}    with: {{path: guest-guest, backend: vhost-user}}\n"
            "    variants: [{traffic: latency}, {traffic: ping}]\n",
            "its scenarios are latency and ping; a group is of one kind",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as found:
        parse(text, "mine")
    assert said in str(found.value)


def test_frames_are_compared_as_they_are_written() -> None:
    suite = parse(
        f"{HEAD}    with: {{path: guest-guest, traffic: udp, backend: vhost-user}}\n"
        "    each: {frame: [64, 1518]}\n"
        "    ratios: [{of: {frame: 1518}, over: {frame: 64}}]\n",
        "mine",
    )
    assert [(one.frame, other.frame) for one, other in suite.groups[0].ratios] == [("1518", "64")]


def test_another_number_of_trials_may_grow_as_before() -> None:
    suite = suites.with_trials(load("standard"), 11)
    assert (suite.trials, suite.most_trials) == (11, 15)


def test_an_unknown_suite_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no suite 'fast', and no such file. Suites: standard"
    ):
        load("fast")
    own = tmp_path / "own.yml"
    own.write_text(f"{HEAD}{TCP}    variants: [{{backend: vhost-user}}]\n")
    assert load(str(own)).name == "own"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"traffic": Traffic.UDP}, "frame is 'None'; udp, rfc2544"),
        ({"traffic": Traffic.UDP, "frame": "65"}, "frame is '65'"),
        ({"traffic": Traffic.TCP}, "streams is None; tcp takes 1 to 128"),
        ({"traffic": Traffic.LATENCY, "streams": 2}, "streams is 2"),
        ({"traffic": Traffic.RFC2544, "frame": "64"}, "loss is None"),
        ({"traffic": Traffic.LATENCY, "queues": 3}, "queues is 3"),
        ({"traffic": Traffic.LATENCY, "mtu": 100}, "mtu is 100; 576 to 9000"),
        ({"traffic": Traffic.LATENCY, "seconds": 0}, "seconds is 0"),
        ({"traffic": Traffic.FORWARD, "frame": "64"}, "traffic forward does not go with path"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(
    values: dict[str, object], said: str
) -> None:
    scenario = NetScenario(Backend.VHOST_USER, Way.GUEST_GUEST, **values)  # type: ignore[arg-type] # wrong on purpose
    with pytest.raises(ConfigurationError) as found:
        scenario.check()
    assert said in str(found.value)


def test_an_overlay_goes_from_guest_to_guest_over_vhost_user() -> None:
    scenario = suites.scenario_of(
        {
            "backend": "vhost-user",
            "path": "guest-guest",
            "traffic": "latency",
            "overlay": "vxlan",
            "mtu": 1450,
        },
        "here",
    )
    assert scenario.name.endswith("offloads=none mtu=1450 overlay=vxlan")
    with pytest.raises(ConfigurationError, match="mtu is 1500; headers of VXLAN take 50 bytes"):
        dataclasses.replace(scenario, mtu=None).check()
    with pytest.raises(ConfigurationError, match="overlay vxlan goes from guest to guest"):
        NetScenario(
            Backend.VIRTIO_NET, Way.GUEST_GUEST, Traffic.LATENCY, mtu=1450, overlay=scenario.overlay
        ).check()
