"""What `up` promises of a datapath on which no guest runs: ports, a memory pool, a clean log."""

from __future__ import annotations

from orrery.errors import VerifyError
from orrery.network.switch import Switch

PORT = "vh-verify"


def ports(switch: Switch, bridge: str) -> str:
    """Add a vhost-user port, look for its memory pool, and remove it; a sentence says what held.

    A port of vhost-user gets its pool when it is made, before any guest connects. Open vSwitch
    shows a port without one as any other, so it is asked for by name.

    Raises:
        VerifyError: The pool is not there, or the log holds errors.
        HostError: The switch does not answer or does not take the port.
    """
    switch.remove_port(PORT)
    socket = switch.vhost_dir / "verify.sock"
    options = {"vhost-server-path": str(socket)}
    switch.add_port(bridge, PORT, kind="dpdkvhostuserclient", options=options)
    try:
        pool = switch.appctl("netdev-dpdk/get-mempool-info", PORT)
        if "mempool <" not in pool:
            raise VerifyError(
                f"port {PORT} on {bridge} has no memory pool, so no packet can pass{switch.why()}"
            )
    finally:
        switch.remove_port(PORT)
    errors = switch.errors()
    if errors:
        raise VerifyError(f"Open vSwitch reported errors since it was started:\n{errors[0]}")
    return "vhost-user ports get their memory pool and the switch reports no error"
