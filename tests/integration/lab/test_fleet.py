"""The example of a fleet is a lab: two hypervisors and a function host, here as namespaces."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orrery import shell

pytestmark = pytest.mark.root

HOSTS = ("hypervisor-a", "hypervisor-b", "functions")


def ansible(checkout: Path, playbook: str, *words: str | Path) -> shell.Completed:
    argv = [Path(sys.executable).parent / "ansible-playbook", playbook, *words]
    env = {"ANSIBLE_CONFIG": str(checkout / "ansible.cfg")}
    return shell.run(argv, timeout_s=280, cwd=checkout, env=env, check=False)


@pytest.fixture
def fleet(checkout: Path, tmp_path: Path) -> Iterator[Path]:
    """The example, with each host in a namespace of its own on this machine."""
    made = []
    try:
        for host in HOSTS:
            shell.run(["ip", "netns", "add", f"t-{host}"], timeout_s=20)
            made.append(host)
            shell.run(["ip", "-n", f"t-{host}", "link", "set", "lo", "up"], timeout_s=20)
            python = tmp_path / f"python-{host}"
            python.write_text(f'#!/bin/sh\nexec ip netns exec t-{host} {sys.executable} "$@"\n')
            python.chmod(0o755)
        here = {
            host: {
                "ansible_connection": "local",
                "ansible_user": "root",
                "ansible_become": False,
                "ansible_python_interpreter": str(tmp_path / f"python-{host}"),
            }
            for host in HOSTS
        }
        also = tmp_path / "here.yml"
        also.write_text(json.dumps({"all": {"hosts": here}}), encoding="utf-8")
        yield also
    finally:
        for host in made:
            shell.run(["ip", "netns", "del", f"t-{host}"], timeout_s=20)


def test_every_play_finds_the_hosts_that_it_is_for(checkout: Path) -> None:
    inventory = checkout / "inventory" / "fleet.example"
    assert ansible(checkout, "site.yml", "-i", inventory, "--syntax-check").returncode == 0
    done = ansible(checkout, "site.yml", "-i", inventory, "--list-hosts")
    assert done.returncode == 0, done.stderr
    plays = {}
    for part in done.stdout.split("\n  play #")[1:]:
        head, _, rest = part.partition("\n")
        name = head.partition(": ")[2].partition("\t")[0]
        plays[name] = {line.strip() for line in rest.splitlines() if line.startswith("      ")}
    assert plays["Deploy the datapath"] == {"hypervisor-a", "hypervisor-b"}
    assert plays["Deploy the functions"] == {"functions"}
    assert plays["Check the host"] == set(HOSTS)
    assert plays["Prepare what the hosts will get"] == {"localhost"}
    assert plays["Provision the VM"] == set()


def test_three_hosts_are_checked_each_in_its_own_network(checkout: Path, fleet: Path) -> None:
    inventory = checkout / "inventory" / "fleet.example"
    words: list[str | Path] = ["-i", inventory, "-i", fleet, "-e", "lab_name=t-fleet"]
    done = ansible(checkout, "playbooks/check-host.yml", *words)
    said = done.stdout + done.stderr
    # Nothing but loopback is in these networks, so each host says what it does not reach.
    for host in HOSTS:
        assert host in said, said
    assert "package mirror: not reachable" in said, said
