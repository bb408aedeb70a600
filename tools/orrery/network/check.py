"""What `up` promises of a datapath on which no guest runs: a port, its memory, a clean log."""

from __future__ import annotations

from orrery.errors import VerifyError
from orrery.network.switch import Switch

PORT = "verify-null"
DEVICE = "net_null0,no-rx=1"
"""DPDK's device without hardware, which receives nothing by itself."""


def ports(switch: Switch, bridge: str) -> str:
    """Add a port of DPDK, look whether it gets memory for packets, and remove it.

    A port of vhost-user gets its pool only when a guest connects, and Open vSwitch 3.1 ends when it
    is asked for the pool of a port without one; so the port is one that needs no guest.

    Returns:
        A sentence that says what held.

    Raises:
        VerifyError: The port does not work, there is no pool, or the log holds errors.
        HostError: The switch does not answer or does not take the port.
    """
    switch.remove_port(PORT)
    switch.add_port(bridge, PORT, kind="dpdk", options={"dpdk-devargs": f'"{DEVICE}"'})
    try:
        link = switch.link(PORT)
        pools = switch.appctl("netdev-dpdk/get-mempool-info")
        if link != "up" or "mempool <" not in pools:
            raise VerifyError(
                f"port {PORT} on {bridge} is {link or 'without a link'}, with "
                f"{'a' if 'mempool <' in pools else 'no'} memory pool: no packet can pass"
                f"{switch.why()}"
            )
    finally:
        switch.remove_port(PORT)
    errors = switch.errors()
    if errors:
        raise VerifyError(f"Open vSwitch reported errors since it was started:\n{errors[0]}")
    return "ports of DPDK get their memory pool and the switch reports no error"
