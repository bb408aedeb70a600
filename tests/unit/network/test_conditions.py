"""Settings of a trial are put back as they were, and what holds is read, not assumed."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

import pytest

from orrery.errors import ConfigurationError, GuestError, HostError
from orrery.guest.registry import Entry
from orrery.network import conditions
from orrery.network.backends import Backend
from orrery.network.namespace import Namespace
from orrery.network.scenario import Pinning
from orrery.state import LabState

NO_PID = 1 << 30
NETWORK = {"namespace": "t", "lan_bridge": "br-lan", "lan_address": "10.1.35.1/24"}


def state(version: str = "3.1.0", sleep_us: int = 100) -> LabState:
    ovs = {"version": version, "pmd_cpus": [1], "pmd_sleep_us": sleep_us}
    return LabState("t", facts={"network": NETWORK, "ovs": ovs})


class FakeSwitch:
    """`other_config` and MTU of ports."""

    def __init__(self) -> None:
        self.config = {"pmd-maxsleep": "100", "pmd-cpu-mask": "0x2"}
        self.requested: dict[str, str] = {}
        self.takes_mtu = True

    def vsctl(self, *words: str) -> str:
        words = tuple(word for word in words if word != "--if-exists")
        if words[0].startswith("--format"):
            cell = ["map", [list(pair) for pair in self.config.items()]]
            return json.dumps({"headings": ["other_config"], "data": [[cell]]})
        command, table, row, what = words[:4]
        if table == "Open_vSwitch":
            if command == "remove":
                self.config.pop(words[4], None)
            else:
                key, _, value = what.removeprefix("other_config:").partition("=")
                self.config[key] = value
        elif command == "get":
            known = self.requested.get(row, "[]")
            default = "1500" if known == "[]" or not self.takes_mtu else known
            return known if what == "mtu_request" else default
        elif command == "set":
            self.requested[row] = what.partition("=")[2]
        else:
            self.requested.pop(row, None)
        return ""

    def why(self) -> str:
        return ". Its log: x"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSwitch:
    this = FakeSwitch()
    monkeypatch.setattr(conditions, "switch", lambda _: this)
    monkeypatch.setattr(conditions, "MTU_TIMEOUT_S", 0.0)
    return this


def test_the_sleep_of_pmds_is_put_back(fake: FakeSwitch) -> None:
    with conditions.pmd_sleep(state(), 0):
        assert conditions.of_switch(state())["pmd_sleep_us"] == 0
        assert fake.config["pmd-maxsleep"] == "0"
    assert conditions.of_switch(state()) == {
        "pmd_sleep_us": 100,
        "userspace_tso": False,
        "pmd_cpus": [1],
    }


def test_a_sleep_that_was_not_set_is_not_set_afterwards(fake: FakeSwitch) -> None:
    with contextlib.suppress(KeyError), conditions.pmd_sleep(state("3.3.1", 0), 50):
        assert fake.config["pmd-sleep-max"] == "50"
        raise KeyError
    assert "pmd-sleep-max" not in fake.config
    with conditions.pmd_sleep(state(), None):
        assert fake.config["pmd-maxsleep"] == "100"


def test_what_a_killed_measurement_left_is_the_labs_own_again(fake: FakeSwitch) -> None:
    fake.config["pmd-maxsleep"] = "10000"
    conditions.reset_sleep(state())
    assert fake.config["pmd-maxsleep"] == "100"
    conditions.reset_sleep(LabState("t"))


def test_an_open_vswitch_that_cannot_sleep_says_so_unless_nobody_wants_to(
    fake: FakeSwitch,
) -> None:
    with conditions.pmd_sleep(state("2.17.9"), 0):
        pass
    with (
        pytest.raises(ConfigurationError, match=r"2\.17\.9 cannot sleep.*have 3\.1 or newer"),
        conditions.pmd_sleep(state("2.17.9"), 10),
    ):
        pass
    assert conditions.of_switch(state("2.17.9"))["pmd_sleep_us"] == 0
    assert fake.config["pmd-maxsleep"] == "100"


def test_a_lab_without_switch_has_nothing_to_read() -> None:
    assert conditions.of_switch(LabState("t")) == {}


def test_the_setting_for_sleep_is_the_one_that_the_role_sets() -> None:
    from plugins.module_utils import cpu_topology

    for version in ("2.17.9", "3.0.1", "3.1.0", "3.2.0", "3.10.1", "4.0", ""):
        assert conditions.sleep_key(version) == cpu_topology.sleep_column(version)


def test_feature_bits_are_read_from_the_left() -> None:
    bits = "".join("1" if bit in (15, 29, 34) else "0" for bit in range(64))
    assert conditions.rings(bits) == {
        "checksum": False,
        "guest_tso": False,
        "host_tso": False,
        "mrg_rxbuf": True,
        "event_idx": True,
        "packed": True,
    }


def test_processors_in_a_mask() -> None:
    assert conditions.cpus_of("0x6") == [1, 2]
    assert conditions.cpus_of("") == []


def test_pmds_processors_come_last() -> None:
    assert conditions.turns_of({0, 1, 2, 3}, [0, 2]) == [1, 3, 0, 2]
    assert conditions.turns_of({0}, [0]) == [0]


def test_all_threads_are_pinned_and_put_back() -> None:
    here = Entry("a", 11, pid=os.getpid())
    before = os.sched_getaffinity(0)
    ended = threading.Event()
    other = threading.Thread(target=ended.wait)
    other.start()
    try:
        with conditions.pinned(state(), [here], Pinning.APART):
            threads = [int(one.name) for one in Path("/proc/self/task").iterdir()]
            assert len(threads) > 1
            expected = {conditions.turns_of(before, [1])[0]}
            assert {tuple(os.sched_getaffinity(one)) for one in threads} == {tuple(expected)}
        assert os.sched_getaffinity(0) == before
        assert os.sched_getaffinity(other.native_id or 0) == before
    finally:
        ended.set()
        other.join()


def test_a_guest_that_has_ended_is_named_when_it_is_to_be_pinned() -> None:
    gone = Entry("a", 11, pid=NO_PID)
    with (
        pytest.raises(GuestError, match="guest a: it has ended"),
        conditions.pinned(state(), [gone], Pinning.APART),
    ):
        pass
    with conditions.pinned(state(), [gone], None):
        pass


def test_a_ports_mtu_is_put_back_to_what_was_asked_for_before(fake: FakeSwitch) -> None:
    entry = Entry("a", 11, backend=Backend.VHOST_USER, bridge="br-ovs", port="vh-a")
    fake.requested["vh-a"] = "1600"
    with conditions._port_mtu(state(), entry, 9000):
        assert fake.requested == {"vh-a": "9000"}
    assert fake.requested == {"vh-a": "1600"}


def test_an_mtu_that_a_port_does_not_take_is_an_error_and_nothing_stays(fake: FakeSwitch) -> None:
    fake.takes_mtu = False
    entry = Entry("a", 11, backend=Backend.VHOST_USER, bridge="br-ovs", port="vh-a")
    with (
        pytest.raises(HostError, match=r"vh-a: its MTU is 1500, 9000 was.*log: x\. Larger frames"),
        conditions._port_mtu(state(), entry, 9000),
    ):
        pass
    assert fake.requested == {}


def test_a_tap_has_the_mtu_and_its_bridge_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"tap-a": "1500", "br-lan": "1500"}

    def ip(_: Namespace, *words: str, check: bool = True) -> None:
        sizes[words[2]] = words[4]

    links = {"tap-a": {"mtu": 1500}, "br-lan": {"mtu": 1500}}
    monkeypatch.setattr(Namespace, "ip", ip)
    monkeypatch.setattr(Namespace, "links", lambda _: links)
    entry = Entry("a", 11, backend=Backend.VIRTIO_NET, bridge="br-lan", port="tap-a")
    with conditions._port_mtu(state(), entry, 9000):
        assert sizes == {"tap-a": "9000", "br-lan": "1500"}
    assert sizes == {"tap-a": "1500", "br-lan": "1500"}
