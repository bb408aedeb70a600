"""A network namespace of the lab's own, with bridges and taps in it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery import shell
from orrery.errors import HostError

IP_TIMEOUT_S = 20.0
NAMESPACES = Path("/run/netns")
TUN = Path("/dev/net/tun")

# linux/sched.h, linux/if_tun.h
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_MULTI_QUEUE = 0x0100
_IFF_TUN_EXCL = 0x8000
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000


@dataclass(frozen=True)
class Namespace:
    """A network namespace by its name, as `ip netns` knows it."""

    name: str

    @property
    def path(self) -> Path:
        """File that stands for it."""
        return NAMESPACES / self.name

    def exists(self) -> bool:
        """Whether it is there; a file that is left from before a reboot does not count."""
        return self.path.exists() and self.path.stat().st_dev != self.path.parent.stat().st_dev

    def make(self) -> bool:
        """Have it, with its loopback up; whether it was missing."""
        if self.exists():
            return False
        if self.path.exists():
            self.path.unlink()
        shell.run(["ip", "netns", "add", self.name], timeout_s=IP_TIMEOUT_S)
        self.ip("link", "set", "lo", "up")
        return True

    def remove(self) -> bool:
        """Be without it; whether it was there. What is in it goes along."""
        if not self.exists():
            self.path.unlink(missing_ok=True)
            return False
        shell.run(["ip", "netns", "delete", self.name], timeout_s=IP_TIMEOUT_S)
        return True

    def ip(self, *words: str, check: bool = True) -> shell.Completed:
        """Run `ip` in it."""
        return shell.run(["ip", "-n", self.name, *words], timeout_s=IP_TIMEOUT_S, check=check)

    def argv(self, *words: str | Path) -> list[str | Path]:
        """The command line that runs a program in it."""
        return ["ip", "netns", "exec", self.name, *words]

    def links(self) -> dict[str, dict[str, Any]]:
        """Its interfaces by name, as `ip -j -d address` describes them."""
        done = self.ip("-j", "-d", "address")
        entries = json.loads(done.stdout or "[]")
        return {entry["ifname"]: entry for entry in entries if "ifname" in entry}

    def have_bridge(self, name: str, address: str, mark: str) -> bool:
        """Have a Linux bridge with one IPv4 address, up; whether something was to be done.

        Args:
            name: Of the bridge.
            address: With prefix length.
            mark: Alias of a bridge that is made here, as `ip link` shows it.

        Raises:
            HostError: An interface of that name is no bridge.
        """
        link = self.links().get(name)
        if link is None:
            # A first address learnt late would keep guests waiting, so no forwarding delay.
            self.ip("link", "add", name, "type", "bridge", "forward_delay", "0", "stp_state", "0")
            self.ip("link", "set", name, "alias", mark)
        elif (link.get("linkinfo") or {}).get("info_kind") != "bridge":
            raise HostError(
                f"{name} in the namespace {self.name} is no bridge. Remove it: "
                f"ip -n {self.name} link delete {name}"
            )
        stale = self._other_addresses(link or {}, address)
        for other in stale:
            self.ip("address", "delete", other, "dev", name)
        return self.have_address(name, address) or link is None or bool(stale)

    def has_mark(self, mark: str) -> bool:
        """Whether a bridge in it has a mark: what a broken off start has left is no stranger's."""
        return self.exists() and any(link.get("ifalias") == mark for link in self.links().values())

    def have_address(self, name: str, address: str) -> bool:
        """Have an interface up, with this address; whether something was missing."""
        link = self.links().get(name) or {}
        there = {f"{entry['local']}/{entry['prefixlen']}" for entry in link.get("addr_info", ())}
        missing = address not in there
        if missing:
            self.ip("address", "add", address, "dev", name)
        if "UP" not in link.get("flags", ()):
            self.ip("link", "set", name, "up")
            missing = True
        return missing

    @staticmethod
    def _other_addresses(link: dict[str, Any], address: str) -> list[str]:
        """IPv4 addresses that an interface has from an earlier setting."""
        return [
            found
            for entry in link.get("addr_info", ())
            if entry["family"] == "inet"
            and (found := f"{entry['local']}/{entry['prefixlen']}") != address
        ]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be in it with this thread for a moment.

        Raises:
            HostError: It is not there, or we are not root.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                there = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise HostError(
                    f"network namespace {self.name}: {error.strerror}. Run ./lab up."
                ) from error
            try:
                _setns(libc, there, self.name)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _setns(libc, before, "the one before")
        finally:
            os.close(before)

    def open_tap(self, name: str, *, queues: int, vnet_hdr: bool) -> list[int]:
        """Make a tap that lives as long as the descriptors, one of them for each queue pair.

        Raises:
            HostError: There is no /dev/net/tun, or the name is taken.
        """
        flags = _IFF_TAP | _IFF_NO_PI
        flags |= _IFF_VNET_HDR if vnet_hdr else 0
        flags |= _IFF_MULTI_QUEUE if queues > 1 else 0
        descriptors: list[int] = []
        try:
            with self.entered():
                for _ in range(queues):
                    descriptors.append(os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
                    # The first one makes it: one that is there already is somebody else's.
                    first = 0 if len(descriptors) > 1 else _IFF_TUN_EXCL
                    request = struct.pack("16sH22x", name.encode(), flags | first)
                    fcntl.ioctl(descriptors[-1], _TUNSETIFF, request)
        except OSError as error:
            _close(descriptors)
            why = error.strerror
            if error.errno == errno.EBUSY:
                why = (
                    f"an interface of that name is there already. Stop what has it, or remove it: "
                    f"ip -n {self.name} link delete {name}"
                )
            raise HostError(f"tap {name} cannot be made through {TUN}: {why}") from error
        except BaseException:
            _close(descriptors)
            raise
        return descriptors


def _setns(libc: ctypes.CDLL, descriptor: int, name: str) -> None:
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise HostError(f"network namespace {name} cannot be entered: {reason}")


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
