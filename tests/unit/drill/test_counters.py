"""What the switch counted at both ports of a move."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery.drill import counters
from orrery.drill.counters import Counted
from orrery.errors import HostError
from orrery.guest.registry import Entry
from orrery.network.switch import Switch

FIRST = {"rx_packets": 100, "rx_bytes": 6400, "tx_dropped": 3, "rx_errors": 0}
LAST = {"rx_packets": 350, "rx_bytes": 22400, "tx_dropped": 8, "rx_errors": 0}


class Counting(Switch):
    """A switch whose ports have counters from a list; one without any is gone."""

    def totals(self, bridge: str, port: str) -> dict[str, int]:
        try:
            return READ[f"{bridge} {port}"].pop(0)
        except (KeyError, IndexError):
            raise HostError(f"there is no port {port}") from None


READ: dict[str, list[dict[str, int]]] = {}


@pytest.fixture
def watch() -> counters.Watch:
    READ.clear()
    READ["br-x vh-a"] = [FIRST, LAST]
    READ["br-x vh-b"] = [{"tx_dropped": 0}, {"tx_dropped": 2}]
    this = Counting("unix:/nowhere", "/nowhere", Path("/nowhere"), Path("/nowhere"))
    sides = [Entry(name, 0, bridge="br-x", port=f"vh-{name}") for name in ("a", "b")]
    return counters.Watch(this, *sides)


def test_both_ports_have_their_counters_before_and_after(watch: counters.Watch) -> None:
    source, target = watch.seen()
    assert source.as_mapping() == {
        "side": "source",
        "port": "vh-a",
        "before": FIRST,
        "after": LAST,
        "added": {"rx_packets": 250, "rx_bytes": 16000, "tx_dropped": 5, "rx_errors": 0},
    }
    assert (target.side, target.port) == ("destination", "vh-b")
    assert counters.figures([source, target]) == {"switch_dropped": 7, "switch_errors": 0}


def test_a_port_that_went_with_its_side_is_left_out(watch: counters.Watch) -> None:
    READ["br-x vh-b"].clear()
    assert [one.side for one in watch.seen()] == ["source"]


def test_a_port_that_has_forgotten_its_counters_is_left_out(watch: counters.Watch) -> None:
    READ["br-x vh-a"][:] = [{}]
    assert [one.side for one in watch.seen()] == ["destination"]


def test_a_counter_that_began_anew_counts_from_nothing() -> None:
    one = Counted("source", "vh-a", {"rx_packets": 100}, {"rx_packets": 40, "tx_packets": 7})
    assert one.added() == {"rx_packets": 40, "tx_packets": 7}
    assert counters.figures([one]) == {}
