#!/usr/bin/python
"""One Docker bridge network of a lab, checked against what the host already routes."""

from __future__ import annotations

DOCUMENTATION = """
module: lab_network
short_description: One Docker bridge network of a lab
description:
  - Makes, checks or removes a bridge network with a fixed subnet and a named bridge interface.
  - Refuses a subnet that overlaps a route or a Docker network of the host.
options:
  docker_socket: {type: path, required: true, description: Socket of the Docker daemon.}
  lab_name: {type: str, required: true, description: Lab that the network belongs to.}
  name: {type: str, required: true, description: Name of the network.}
  subnet: {type: str, required: true, description: IPv4 subnet in CIDR notation.}
  gateway: {type: str, required: true, description: Address of the host in it.}
  bridge: {type: str, required: true, description: Name of the bridge interface.}
  variable: {type: str, default: lab_function_subnet, description: Variable named in messages.}
  state: {type: str, choices: [present, absent], default: present, description: What is wanted.}
"""

import ipaddress
import struct
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lab_docker import LAB_LABEL, Docker, DockerError

BRIDGE_OPTION = "com.docker.network.bridge.name"
LONGEST_INTERFACE_NAME = 15  # the kernel's IFNAMSIZ without the closing zero


class RefusedError(Exception):
    """The network cannot be made; the text says why and what to set."""


def routes(table: str) -> list[tuple[str, ipaddress.IPv4Network]]:
    """Interface and destination of every IPv4 route, without default routes.

    Args:
        table: Content of /proc/net/route.
    """
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        address = ipaddress.IPv4Address(struct.pack("<L", int(fields[1], 16)))
        mask = ipaddress.IPv4Address(struct.pack("<L", int(fields[7], 16)))
        network = ipaddress.IPv4Network(f"{address}/{mask}", strict=False)
        if network.prefixlen > 0:
            found.append((fields[0], network))
    return found


def subnets(description: dict[str, Any]) -> list[ipaddress.IPv4Network]:
    """IPv4 subnets of a described Docker network."""
    found = []
    for pool in (description.get("IPAM") or {}).get("Config") or []:
        try:
            found.append(ipaddress.IPv4Network(pool.get("Subnet", ""), strict=False))
        except ValueError:
            continue  # an IPv6 pool cannot clash with ours
    return found


def wanted_network(arguments: dict[str, Any]) -> ipaddress.IPv4Network:
    """The subnet as a network, after checks that need no host.

    Raises:
        RefusedError: Subnet, gateway or interface name cannot be used.
    """
    variable = arguments["variable"]
    try:
        network = ipaddress.IPv4Network(arguments["subnet"])
        gateway = ipaddress.IPv4Address(arguments["gateway"])
    except ValueError as error:
        raise RefusedError(
            f"{arguments['name']}: {error}. Set {variable} to a subnet like 10.161.33.0/24 "
            "and its gateway to the first address in it."
        ) from error
    if gateway not in network or gateway in (network[0], network[-1]):
        raise RefusedError(
            f"{arguments['name']}: gateway {gateway} is no host address in {network}. "
            f"Set {variable} and its gateway together."
        )
    if len(arguments["bridge"]) > LONGEST_INTERFACE_NAME:
        raise RefusedError(
            f"bridge interface '{arguments['bridge']}' has {len(arguments['bridge'])} characters, "
            f"{LONGEST_INTERFACE_NAME} are the kernel's limit. Set a shorter lab_name."
        )
    return network


def refuse_clash(
    arguments: dict[str, Any],
    network: ipaddress.IPv4Network,
    others: list[dict[str, Any]],
    table: str,
) -> None:
    """Make sure that nobody else uses addresses of the subnet.

    Raises:
        RefusedError: A Docker network or a route overlaps it.
    """
    users = [
        (f"the Docker network '{other['Name']}'", taken)
        for other in others
        for taken in subnets(other)
    ]
    users += [
        (f"the route of interface '{interface}'", taken)
        for interface, taken in routes(table)
        if interface != arguments["bridge"]
    ]
    for user, taken in users:
        if network.overlaps(taken):
            raise RefusedError(
                f"subnet {network} of {arguments['name']} overlaps {taken}, {user}. "
                f"Set {arguments['variable']} to a subnet that this host does not use."
            )


def as_wanted(description: dict[str, Any], arguments: dict[str, Any]) -> bool:
    """Whether a described network is the one asked for."""
    pools = (description.get("IPAM") or {}).get("Config") or []
    return (
        description.get("Driver") == "bridge"
        and len(pools) == 1
        and pools[0].get("Subnet") == arguments["subnet"]
        and pools[0].get("Gateway") == arguments["gateway"]
        and (description.get("Options") or {}).get(BRIDGE_OPTION) == arguments["bridge"]
    )


def remove(docker: Docker, description: dict[str, Any]) -> None:
    """Remove a network of this lab.

    Raises:
        RefusedError: Containers are still attached.
    """
    name = description["Name"]
    attached = sorted(one["Name"] for one in (description.get("Containers") or {}).values())
    if attached:
        raise RefusedError(
            f"network {name} is in use by {', '.join(attached)}. Stop these containers first."
        )
    docker.call("network", "rm", name)


def create(docker: Docker, arguments: dict[str, Any]) -> None:
    """Make the network as asked for."""
    docker.call(
        "network",
        "create",
        "--driver=bridge",
        f"--subnet={arguments['subnet']}",
        f"--gateway={arguments['gateway']}",
        f"--opt={BRIDGE_OPTION}={arguments['bridge']}",
        f"--label={LAB_LABEL}={arguments['lab_name']}",
        arguments["name"],
    )


def apply(docker: Docker, arguments: dict[str, Any], check: bool) -> bool:
    """Bring the network to the wanted state and say whether anything changed.

    Raises:
        RefusedError: It cannot be, for a reason the user can act on.
    """
    present = arguments["state"] == "present"
    network = wanted_network(arguments) if present else None
    if not docker.usable:
        # Without an engine there are no networks of it: a lab of guests alone is taken down, too.
        if check or not present:
            return present
        raise RefusedError(
            f"no Docker daemon at {arguments['docker_socket']}. The role docker starts one."
        )
    names = docker.call("network", "ls", "--format", "{{.Name}}").split()
    described = docker.inspect("network", *names)
    own = next((one for one in described if one["Name"] == arguments["name"]), None)
    if own and (own.get("Labels") or {}).get(LAB_LABEL) != arguments["lab_name"]:
        if not present:
            return False
        raise RefusedError(
            f"a Docker network '{arguments['name']}' exists that is not of lab "
            f"'{arguments['lab_name']}'. Remove it or set another lab_name."
        )
    if network is None:
        if own and not check:
            remove(docker, own)
        return own is not None
    if own and as_wanted(own, arguments):
        return False
    others = [one for one in described if one is not own]
    refuse_clash(arguments, network, others, Path("/proc/net/route").read_text(encoding="ascii"))
    if not check:
        if own:
            remove(docker, own)
        create(docker, arguments)
    return True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "docker_socket": {"type": "path", "required": True},
            "lab_name": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "subnet": {"type": "str", "required": True},
            "gateway": {"type": "str", "required": True},
            "bridge": {"type": "str", "required": True},
            "variable": {"type": "str", "default": "lab_function_subnet"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    docker = Docker(module.params["docker_socket"])
    try:
        changed = apply(docker, module.params, module.check_mode)
    except (RefusedError, DockerError) as error:
        module.fail_json(msg=str(error))
    name, state = module.params["name"], module.params["state"]
    before = {True: {"present": "absent", "absent": "present"}[state], False: state}[changed]
    module.exit_json(
        changed=changed,
        diff={"before": f"network {name}: {before}\n", "after": f"network {name}: {state}\n"},
    )


if __name__ == "__main__":
    main()
