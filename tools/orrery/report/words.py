"""Parameters of scenarios in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orrery.network.backends import Backend

Values = Mapping[str, Any]

PATHS = {
    "guest-guest": "guest to guest",
    "guest-host": "guest to host",
    "guest-peer": "guest to a machine on the LAN",
    "pvp": "generator, forwarding guest, generator",
    "engine": "the switch without a guest",
}
TRAFFIC = {
    "tcp": "TCP",
    "udp": "UDP packets",
    "latency": "Request and response",
    "ping": "Ping",
    "netperf": "Transactions",
    "rfc2544": "RFC 2544 throughput",
    "forward": "Forwarding",
}
DIRECTIONS = {
    "forward": "guest sends",
    "backward": "guest receives",
    "both": "both directions at once",
}
OVERLAYS = {"vlan": "VLAN", "patch": "two bridges, patch port", "vxlan": "VXLAN tunnel"}
# What it means that a parameter is not set, where another scenario sets it.
UNSET = {"overlay": "plain bridge", "packed": "split rings", "direction": "guest sends"}
SERIES = {backend.value: number for number, backend in enumerate(Backend)}
"""Colour and shape of a backend: the same on every page."""
SERIES_COUNT = 8
MOVES = {
    "memory_mb": "{} MB of memory",
    "backing": "memory of {}",
    "announcer": "the {} announces",
    "flows": "packets {}",
    "storage": "disk: {}",
    "dirty_mb": "{} MB written",
    "dirty_mbps": "{} MB/s written",
    "pattern": "pattern {}",
    "bandwidth_mbps": "link of {} MB/s",
    "downtime_ms": "downtime limit {} ms",
    "return_path": "return path: {}",
    "help": "{}",
    "fault": "{}",
    "before_s": "probes {} s before",
    "after_s": "{} s after",
    "limit_s": "given up after {} s",
}
"""Parameters of moves of guests."""
MEASURED = {
    "qemu_downtime": "downtime as QEMU counts it",
    "guest_gap": "longest gap of a program in the guest",
    "network_gap": "longest silence of packets",
    "total": "time of the whole migration",
    "memory": "memory moved",
    "seconds": "time until the outcome was known",
    "paused": "pause of the guest",
    "guest_interruption": "interruption of a program in the guest",
    "network_interruption": "interruption of packets",
    "request_longest": "longest wait for an answer",
    "dirty_rate": "rate at which the guest wrote",
    "throttle": "share of time the processors were held back",
    "announced": "from resume to the announcement",
}
"""Metrics of moves of guests; the others are their names."""
NOTHING = "none"
HEADER = "vnet_hdr"


def word(key: str, value: Any) -> str:
    """One parameter as a phrase: `30 streams`, `64-byte frames`."""
    if value is None:
        return UNSET.get(key, "")
    text = _plain(value)
    phrases = {
        "backend": text,
        "path": PATHS.get(text, text),
        "traffic": TRAFFIC.get(text, text),
        "direction": DIRECTIONS.get(text, text),
        "overlay": OVERLAYS.get(text, text),
        "frame": "IMIX frames" if text == "imix" else f"{text}-byte frames",
        "streams": _counted(text, "stream"),
        "queues": _counted(text, "queue pair"),
        "seconds": f"{text} s trials",
        "offloads": "native offloads" if text == "native" else "no offloads",
        "mtu": f"MTU {text}",
        "packed": "packed rings" if value is True else "split rings",
        "mrg_rxbuf": "mergeable buffers" if value is True else "no mergeable buffers",
        "pinning": "pinned apart" if text == "apart" else "not pinned",
        "pmd_sleep_us": "PMD never sleeps" if text == "0" else f"PMD sleeps up to {text} us",
        "loss": _loss(value),
        "converges": "comes to an end" if value is True else "does not come to an end",
        **{name: form.format(text) for name, form in MOVES.items()},
    }
    return phrases.get(key, f"{key} {text}")


def measured(metric: str) -> str:
    """A metric of a move as a title."""
    said = MEASURED.get(metric, metric.replace("_", " "))
    return said[:1].upper() + said[1:]


def common(scenarios: Sequence[Values]) -> dict[str, Any]:
    """Parameters that all scenarios have, with the same value."""
    if not scenarios:
        return {}
    first = scenarios[0]
    return {
        key: value
        for key, value in first.items()
        if all(key in one and one[key] == value for one in scenarios)
    }


def varying(scenarios: Sequence[Values]) -> list[str]:
    """Parameters that are not the same in all scenarios, in their order."""
    shared = common(scenarios)
    keys = dict.fromkeys(key for one in scenarios for key in one)
    return [key for key in keys if key not in shared]


def phrase(parameters: Values, keys: Iterable[str]) -> str:
    """Some parameters of a scenario, `vhost-user, 30 streams`."""
    words = [word(key, parameters.get(key)) for key in keys]
    return ", ".join(one for one in words if one)


def of_path(parameters: Values) -> str:
    """The path in words."""
    value = str(parameters.get("path", ""))
    return PATHS.get(value, value)


def flat(
    value: Any, name: str = "", switch: tuple[str, str] = ("off", "on")
) -> list[tuple[str, str]]:
    """A value of any shape as names and texts: `near tso`, `off`.

    Args:
        value: What was read back, or summed up.
        name: What the names begin with.
        switch: Words for false and true.
    """
    if isinstance(value, Mapping):
        pairs = [flat(one, f"{name} {key}".strip(), switch) for key, one in value.items()]
        return [pair for part in pairs for pair in part]
    if isinstance(value, list | tuple):
        return [(name, ", ".join(text for one in value for _, text in flat(one, "", switch)))]
    if isinstance(value, bool):
        return [(name, switch[value])]
    if value is None:
        return [(name, NOTHING)]
    return [(name, _plain(value))]


def offloads(conditions: Values) -> str:
    """The offload state that was read back, as short as it can be said; empty where it was not."""
    pairs = flat(conditions.get("offloads") or {})
    known = [(name, text) for name, text in pairs if text != NOTHING]
    if not all(text in ("on", "off") for _, text in known):
        return "; ".join(f"{name} {text}".strip() for name, text in known)
    lit = list(dict.fromkeys(name.rpartition(" ")[2] for name, text in known if text == "on"))
    if not lit:
        return "all off" if known else ""
    # The header of a tap only says what is unfinished.
    return f"all off ({HEADER} on)" if lit == [HEADER] else "on: " + ", ".join(lit)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _counted(text: str, noun: str) -> str:
    return f"{text} {noun}" if text == "1" else f"{text} {noun}s"


def _loss(value: Any) -> str:
    if isinstance(value, int | float):
        return f"{value:.1%} lost at most" if value else "none lost"
    return f"{value} lost at most"
