"""Offloads of an interface: read back, switched off for a fair comparison, and put back.

An offload lets one side hand on what it has not finished: a segment larger than the MTU, a packet
without its checksum. A path with them does other work than a path without.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from orrery import shell
from orrery.errors import GuestError, HostError
from orrery.network.namespace import Namespace
from orrery.network.places import GuestPlace
from orrery.network.scenario import Offloads

ETHTOOL_TIMEOUT_S = 20.0
GUEST_NIC = "eth0"
_FEATURE = re.compile(r"^\s*([\w-]+): (on|off)(.*)$", re.MULTILINE)
_VNET_HDR = "vnet_hdr"

# Lines of `ethtool -k` by ours, and the words that `ethtool -K` takes; what depends comes last.
_FEATURES = {
    "tx_checksum": {"tx-checksumming": "tx"},
    "gso": {"generic-segmentation-offload": "gso"},
    "tso": {"tcp-segmentation-offload": "tso"},
    "gro": {"generic-receive-offload": "gro"},
    # virtio_net has the same under another name, from Linux 5.19 on.
    "lro": {"large-receive-offload": "lro", "rx-gro-hw": "rx-gro-hw"},
}
# A line that sums up others never says that it is fixed.
_PARTS = {
    "tx-checksumming": re.compile(r"tx-checksum-"),
    "tcp-segmentation-offload": re.compile(r"tx-tcp.*-segmentation"),
    "scatter-gather": re.compile(r"tx-scatter-gather"),
}
# Segmentation needs scattered buffers, and these need checksums: they come and go together.
_SCATTER = ("scatter-gather", "sg")


@dataclass(frozen=True)
class OffloadState:
    """What is on.

    Attributes:
        tso: The device cuts segments of TCP.
        gso: The kernel cuts them, right before the device.
        tx_checksum: The device computes checksums.
        gro: The kernel joins segments that came in.
        lro: The device does.
        vnet_hdr: Whether a tap takes unfinished segments and checksums; None where there is no tap.
    """

    tso: bool
    gso: bool
    tx_checksum: bool
    gro: bool
    lro: bool
    vnet_hdr: bool | None = None

    def as_mapping(self) -> dict[str, bool | None]:
        """For a record."""
        return asdict(self)


def equal(one: OffloadState, other: OffloadState) -> bool:
    """Whether two paths hand on the same unfinished work.

    The header of a tap only says what is unfinished. Where neither side leaves anything unfinished
    it does not count.
    """
    if not (one.tso or one.tx_checksum or other.tso or other.tx_checksum):
        one, other = replace(one, vnet_hdr=None), replace(other, vnet_hdr=None)
    return one == other


@dataclass(frozen=True)
class Interface:
    """An interface whose offloads can be asked for.

    Attributes:
        name: As `ethtool` where it is knows it.
        where: For people.
        ask: Runs a program there; what it printed.
        vnet_hdr: Of the tap behind it, None where there is none.
    """

    name: str
    where: str
    ask: Callable[[Sequence[str]], str]
    vnet_hdr: bool | None = None

    @classmethod
    def of_guest(cls, place: GuestPlace, *, vnet_hdr: bool | None = None) -> Interface:
        """A guest's measured interface.

        Args:
            place: The guest.
            vnet_hdr: Of its tap (`tap_vnet_hdr`), None where it has none.
        """

        def ask(argv: Sequence[str]) -> str:
            return place.run(argv, ETHTOOL_TIMEOUT_S).stdout

        return cls(GUEST_NIC, place.name, ask, vnet_hdr)

    @classmethod
    def of_host(cls, namespace: Namespace, name: str) -> Interface:
        """An interface of the lab's namespace: a bridge, an internal port, a veth."""

        def ask(argv: Sequence[str]) -> str:
            return shell.run(namespace.argv(*argv), timeout_s=ETHTOOL_TIMEOUT_S).stdout

        return cls(name, "the lab's namespace", ask)

    def read(self) -> OffloadState:
        """What is on now.

        Raises:
            GuestError, HostError: ethtool fails, is missing, or prints something else.
        """
        state = _state(self._features(), self.vnet_hdr)
        if state is None:
            raise HostError(f"{self.name} in {self.where}: ethtool -k says nothing of offloads")
        return state

    def set(self, wanted: OffloadState) -> OffloadState:
        """Have offloads as wanted, as far as the device can; what is on then.

        A device that lacks one has it off, and one that cannot do without has it on: what comes
        back tells.

        Raises:
            GuestError, HostError: ethtool fails.
        """
        words = _words(self._features(), wanted)
        if words:
            self.ask(["ethtool", "-K", self.name, *words])
        return self.read()

    def _features(self) -> dict[str, tuple[bool, bool]]:
        return parse_features(self.ask(["ethtool", "-k", self.name]))


OFF = OffloadState(tso=False, gso=False, tx_checksum=False, gro=False, lro=False)


@contextlib.contextmanager
def settled(
    offloads: Offloads, interfaces: Sequence[Interface]
) -> Iterator[Mapping[str, OffloadState]]:
    """Have the offloads of a scenario on all interfaces of its path; afterwards as they were.

    Yields:
        What was read back, by interface: `eth0 in guest a`.

    Raises:
        HostError: One cannot be switched off.
        GuestError: A guest does not answer.
    """
    with contextlib.ExitStack() as stack:
        found = {}
        for one in interfaces:
            before = now = one.read()
            if offloads is Offloads.NONE and before != replace(OFF, vnet_hdr=before.vnet_hdr):
                # Whatever happens from now on; a guest that is gone has nothing to restore.
                stack.callback(_restore, one, before)
                now = one.set(OFF)
                _require_off(one, now)
            found[f"{one.name} in {one.where}"] = now
        yield found


def tap_vnet_hdr(namespace: Namespace, name: str) -> bool | None:
    """Whether a tap of the namespace has the header; None where there is no such tap."""
    link = namespace.links().get(name) or {}
    about = (link.get("linkinfo") or {}).get("info_data") or {}
    return bool(about[_VNET_HDR]) if _VNET_HDR in about else None


def parse_features(text: str) -> dict[str, tuple[bool, bool]]:
    """What `ethtool -k` prints: by feature whether it is on, and whether it can be changed."""
    found = {
        name: (value == "on", "[fixed]" not in rest) for name, value, rest in _FEATURE.findall(text)
    }
    for name, part in _PARTS.items():
        if name in found:
            parts = [changeable for one, (_, changeable) in found.items() if part.match(one)]
            found[name] = (found[name][0], any(parts))
    return found


def _state(features: Mapping[str, tuple[bool, bool]], vnet_hdr: bool | None) -> OffloadState | None:
    if "tx-checksumming" not in features:
        return None
    nothing = (False, False)
    on = {
        ours: any(features.get(name, nothing)[0] for name in names)
        for ours, names in _FEATURES.items()
    }
    return OffloadState(**on, vnet_hdr=vnet_hdr)


def _words(features: Mapping[str, tuple[bool, bool]], wanted: OffloadState) -> list[str]:
    """What `ethtool -K` has to be told; only what can be changed and differs."""
    words: list[str] = []
    for ours, names in _FEATURES.items():
        want = bool(getattr(wanted, ours))
        for name, word in names.items():
            on, changeable = features.get(name, (False, False))
            # A feature that was dropped with another one is off, and comes back with it.
            if changeable and on != want:
                words += [word, "on" if want else "off"]
    scatter, changeable = features.get(_SCATTER[0], (False, False))
    if (wanted.tso or wanted.gso) and changeable and not scatter:
        words += [_SCATTER[1], "on"]
    return words


def _restore(one: Interface, before: OffloadState) -> None:
    """Put offloads back; a guest that has died meanwhile needs none."""
    with contextlib.suppress(GuestError):
        one.set(before)


def _require_off(one: Interface, now: OffloadState) -> None:
    left = [name for name, on in now.as_mapping().items() if on and name != _VNET_HDR]
    if left:
        raise HostError(
            f"{one.name} in {one.where}: {', '.join(left)} cannot be switched off, so that the "
            "offloads of the two sides would not be equal. Use offloads: native."
        )
