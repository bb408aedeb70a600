"""What ratios say, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orrery.measure import quantities
from orrery.measure.record import Ratio, Record
from orrery.report import words

MOST_SENTENCES = 5
"""More are no summary; the table of ratios has all."""

_PLACES = {
    "guest-guest": "between guests",
    "guest-host": "between guest and host",
    "guest-peer": "between a guest and a machine on the LAN",
    "pvp": "through a forwarding guest",
}
# Backends whose packets pass the same Open vSwitch with DPDK.
_ONE_SWITCH = (
    {"vhost-user", "virtio-net-ovs", "engine-vhost-user", "engine-af-packet-ovs"},
    {"virtio-net", "vhost-net", "engine-bridge"},
)
# What A does with something of B's, by traffic and metric.
_DOES = {
    ("tcp", "throughput"): ("moves", "the TCP bytes"),
    ("udp", "rate"): ("moves", "the {frame}UDP packets"),
    ("udp", "throughput"): ("moves", "the {frame}UDP bits"),
    ("latency", "p50"): ("takes", "the round-trip time (p50)"),
    ("ping", "avg"): ("takes", "the average round-trip time of ping"),
    ("netperf", "transactions"): ("answers", "the transactions"),
    ("rfc2544", "throughput"): ("carries", "the {frame}packets after RFC 2544"),
    ("forward", "rate"): ("forwards", "the {frame}packets"),
}
_MACHINES = {"host_cpu": "the host's", "near_cpu": "the near side's", "far_cpu": "the far side's"}
_TIMES = ("latency", "ping")


@dataclass(frozen=True)
class Finding:
    """One ratio and what it says.

    Attributes:
        a: What is measured, in words.
        b: Its reference.
        kind: What was sent, and where.
        about: What else the two have in common, in words.
        offloads: `equal`, `unequal` or `not read back`.
        better: Whether larger or smaller is better.
        verdict: What the interval shows, in few words.
        ground: On what they are compared, as a sentence begins; may be empty.
        said: The rest of the sentence.
    """

    ratio: Ratio
    a: str
    b: str
    kind: str
    about: str
    offloads: str
    better: str
    verdict: str
    ground: str
    said: str

    @property
    def known(self) -> bool:
        """Whether offloads were read back."""
        return self.ratio.equal_offloads is not None

    @property
    def sentence(self) -> str:
        """All of it."""
        text = f"{self.ground} {self.said}".strip()
        # A name keeps its small letter.
        named = text.startswith((self.a, self.b))
        return text if named else text[0].upper() + text[1:]


def findings(record: Record) -> tuple[Finding, ...]:
    """What each ratio of a record says, in their order."""
    return tuple(_finding(record, ratio) for ratio in record.ratios)


def answer(record: Record, found: Sequence[Finding]) -> str:
    """The paragraph that a reader takes home."""
    if not found:
        return "This record compares nothing: it has figures and no ratios."
    shown = sum(one.ratio.shown for one in found)
    chosen: list[str] = []
    ground = ""
    for one in _headlines(record, found):
        again = one.ground and one.ground == ground
        chosen.append(f"There, {one.said}" if again else one.sentence)
        ground = one.ground
    if len(found) == 1:
        return chosen[0]
    counted = f"Of {len(found)} ratios, {shown} show a difference"
    unequal = sum(one.ratio.equal_offloads is False for one in found)
    verb = "compares" if unequal == 1 else "compare"
    tail = f", and {unequal} {verb} unequal offloads." if unequal else "."
    return " ".join([*chosen, counted + tail])


def headline(record: Record, found: Sequence[Finding]) -> str:
    """The first sentence of the answer."""
    return _headlines(record, found)[0].sentence


def smaller_is_better(traffic: str, metric: str) -> bool:
    """Whether a metric is a cost: time, processor time, loss."""
    return traffic in _TIMES or metric.endswith("_cpu") or metric == "loss"


def label(parameters: Mapping[str, Any], others: Mapping[str, Any], name: str) -> str:
    """One side of a ratio: its backend, and what the other side does not have."""
    if not parameters:
        return name
    keys = [key for key in words.varying([parameters, others]) if key != "backend"]
    with_ = [text for key in keys if (text := words.word(key, parameters.get(key)))]
    backend = str(parameters.get("backend", name))
    return f"{backend} with {' and '.join(with_)}" if with_ else backend


def _finding(record: Record, ratio: Ratio) -> Finding:
    a, b = record.scenarios.get(ratio.a, {}), record.scenarios.get(ratio.b, {})
    names = label(a, b, ratio.a), label(b, a, ratio.b)
    shared = words.common([a, b])
    if "backend" in shared:
        names = (names[0], names[1].removeprefix(f"{shared['backend']} "))
    hidden = ("path", "traffic", "seconds", "backend", "offloads")
    keys = [key for key in shared if key not in hidden and (key, shared[key]) != ("queues", 1)]
    traffic = str(shared.get("traffic", ""))
    kind = [words.TRAFFIC.get(traffic, traffic), words.of_path(shared)]
    return Finding(
        ratio=ratio,
        a=names[0],
        b=names[1],
        kind=", ".join(filter(None, kind)) or "figures",
        about=", ".join(filter(None, [ratio.metric, words.phrase(shared, keys)])),
        offloads={True: "equal", False: "unequal", None: "not read back"}[ratio.equal_offloads],
        better="smaller" if smaller_is_better(traffic, ratio.metric) else "larger",
        verdict="difference shown" if ratio.shown else "no difference shown",
        ground=_ground(ratio, a, b),
        said=_said(ratio, names, shared),
    )


def _said(ratio: Ratio, names: tuple[str, str], shared: Mapping[str, Any]) -> str:
    does, what = _does(str(shared.get("traffic", "")), ratio.metric)
    what = what.replace("{frame}", f"{_frame(shared['frame'])} " if "frame" in shared else "")
    place = _PLACES.get(str(shared.get("path", "")), "")
    told = [k for k in ("streams", "direction", "overlay") if shared.get(k, 1) != 1]
    where = ", ".join(filter(None, [place, words.phrase(shared, told)]))
    value, low, high = quantities.ratios(ratio.ratio, ratio.low, ratio.high)
    interval = f"95 % interval {low} to {high}"
    one, other = names
    if ratio.shown:
        said = f"{one} {does} {value} times {what} of {other} {where}".rstrip()
        return f"{said} ({interval})."
    said = f"no difference shown between {one} and {other} in {what} {where}".rstrip()
    why = "" if ratio.low <= 1.0 <= ratio.high or not ratio.why else f"; {ratio.why}"
    return f"{said} (ratio {value}, {interval}{why})."


def _ground(ratio: Ratio, a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """On what ground two sides are compared."""
    one, other = str(a.get("backend", "")), str(b.get("backend", ""))
    offloads = {True: "with equal offloads", False: "with unequal offloads", None: ""}
    said = offloads[ratio.equal_offloads]
    if not one or not other or one == other:
        return f"{said}," if said else ""
    same = any(one in group and other in group for group in _ONE_SWITCH)
    return f"on {'the same switch' if same else 'different switches'} {said}".strip()


def _does(traffic: str, metric: str) -> tuple[str, str]:
    if (traffic, metric) in _DOES:
        return _DOES[traffic, metric]
    if traffic == "latency":
        return "takes", f"the round-trip time ({metric})"
    if metric in _MACHINES:
        unit = "packet" if traffic == "udp" else "bit"
        return "takes", f"{_MACHINES[metric]} processor time for each {unit}"
    return "has", f"the {metric}"


def _frame(value: Any) -> str:
    return "IMIX" if value == "imix" else f"{value}-byte"


def _headlines(record: Record, found: Sequence[Finding]) -> list[Finding]:
    """For each kind of traffic the fairest comparison; at the end one that is not fair."""
    chosen: list[Finding] = []
    unfair: list[Finding] = []
    kinds: dict[str, list[Finding]] = {}
    for one in found:
        traffic = str(record.scenarios.get(one.ratio.a, {}).get("traffic", one.ratio.metric))
        kinds.setdefault(traffic, []).append(one)
    for candidates in kinds.values():
        primary = candidates[0].ratio.metric
        main = [one for one in candidates if one.ratio.metric == primary]
        fair = [one for one in main if one.ratio.equal_offloads]
        same = [one for one in fair if one.ground.startswith("on the same switch")]
        chosen.append((same or fair or main)[0])
        unfair += [one for one in main if one.ratio.equal_offloads is False]
    rest = [one for one in unfair if one not in chosen][:1]
    return [*chosen[: MOST_SENTENCES - len(rest)], *rest]
