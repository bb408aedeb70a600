"""The example of a fleet is a lab: two hypervisors and a function host, here as namespaces."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orrery import shell
from orrery.lab import converge
from orrery.network.namespace import Namespace
from tests.support import playbooks

pytestmark = pytest.mark.root

HOSTS = ("hypervisor-a", "hypervisor-b", "functions")
HYPERVISORS = {"hypervisor-a": "192.0.2.11", "hypervisor-b": "192.0.2.12"}
PREPARE = "playbooks/prepare-migration-target.yml"
PORT = 49160


def ansible(checkout: Path, playbook: str, *words: str | Path) -> shell.Completed:
    """As a user without `./lab` runs a playbook."""
    argv = [Path(sys.executable).parent / "ansible-playbook", playbook, *words]
    env = {"ANSIBLE_CONFIG": str(checkout / "ansible.cfg")}
    return shell.run(argv, timeout_s=280, cwd=checkout, env=env, check=False)


@dataclass
class Fleet:
    """Hypervisors on one network, and the options that lead to them.

    Attributes:
        said: What the last run printed, white space folded.
        changed: Tasks that changed something in it.
    """

    checkout: Path
    folder: Path
    options: list[str | Path]
    said: str = ""
    changed: int = 0

    def prepare(self, *words: str) -> int:
        """Run the playbook as `./lab` does; its exit code."""
        result, log = self.folder / "result.json", self.folder / "log"
        result.unlink(missing_ok=True)
        env = {**converge.MITOGEN, "ORRERY_RESULT_FILE": str(result)}
        argv = [self.checkout / PREPARE, *self.options, *words]
        code = playbooks.run(argv, log, cwd=self.checkout, env=env, timeout_s=280)
        self.said = " ".join(log.read_text(encoding="utf-8", errors="replace").split())
        self.changed = json.loads(result.read_text())["changed"] if result.exists() else 0
        return code


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
    assert ansible(checkout, PREPARE, "-i", inventory, "--syntax-check").returncode == 0
    done = ansible(checkout, PREPARE, "-i", inventory, "--list-hosts", "--tags", "migration")
    for part in done.stdout.split("\n  play #")[1:]:
        if part.partition(": ")[2].startswith(("Let guests come", "Try the way")):
            assert "hypervisor-a" in part
            assert "hypervisor-b" in part
            assert "functions" not in part


def test_three_hosts_are_checked_each_in_its_own_network(checkout: Path, fleet: Path) -> None:
    inventory = checkout / "inventory" / "fleet.example"
    words: list[str | Path] = ["-i", inventory, "-i", fleet, "-e", "lab_name=t-fleet"]
    done = ansible(checkout, "playbooks/check-host.yml", *words)
    said = done.stdout + done.stderr
    # Nothing but loopback is in these networks, so each host says what it does not reach.
    for host in HOSTS:
        assert host in said, said
    assert "package mirror: not reachable" in said, said


@pytest.fixture
def wired(checkout: Path, fleet: Path, tmp_path: Path) -> Iterator[Fleet]:
    """The fleet on one network, with the example's addresses; services go again."""
    if shutil.which("nft") is None:
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "nftables"]
        shell.run(install, timeout_s=200)
    switch = Namespace("t-functions")
    switch.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0")
    switch.ip("address", "add", "192.0.2.21/24", "dev", "br0")
    switch.ip("link", "set", "br0", "up")
    hosts = {}
    for host, address in HYPERVISORS.items():
        end = f"to-{host[-1]}"
        peer = ["peer", "name", "eth0", "netns", f"t-{host}"]
        switch.ip("link", "add", end, "type", "veth", *peer)
        switch.ip("link", "set", end, "master", "br0", "up")
        there = Namespace(f"t-{host}")
        there.ip("address", "add", f"{address}/24", "dev", "eth0")
        there.ip("link", "set", "eth0", "up")
        folder = tmp_path / host
        hosts[host] = {
            # Both have one file system here, so that each is a lab of its own.
            "lab_name": f"t-fleet-{host[-1]}",
            "lab_state_dir": str(folder / "state"),
            "lab_config_dir": str(folder / "etc"),
            "lab_log_dir": str(folder / "log"),
            "migration_target_bridge": "",
        }
    names = tmp_path / "labs.yml"
    names.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    example = checkout / "inventory" / "fleet.example"
    # What up makes for guests is tested elsewhere, and these networks reach no mirror.
    words: list[str | Path] = ["-i", example, "-i", fleet, "-i", names, "--tags", "migration"]
    words += ["--skip-tags", "always"]
    made = Fleet(checkout, tmp_path, words)
    yield made
    assert made.prepare("-e", "migration_target_state=absent") == 0, made.said
    assert not list(Path("/etc/init.d").glob("t-fleet-*"))


def nft(host: str, *words: str) -> str:
    return shell.run(Namespace(f"t-{host}").argv("nft", *words), timeout_s=20).stdout


def reaches(host: str, address: str) -> bool:
    """Whether a connection from a host to a listener at an address comes about."""
    with Namespace(f"t-{host}").entered():
        client = socket.socket()
    with client:
        client.settimeout(1.5)
        return client.connect_ex((address, PORT)) == 0


def test_two_hypervisors_let_each_other_in_and_nobody_else(wired: Fleet) -> None:
    assert wired.prepare("--check") == 0, wired.said
    assert nft("hypervisor-b", "list", "ruleset") == ""

    first = ansible(wired.checkout, PREPARE, *wired.options)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "ip saddr 192.0.2.11 accept" in nft("hypervisor-b", "list", "ruleset")
    assert "ip saddr 192.0.2.12 accept" in nft("hypervisor-a", "list", "ruleset")
    with Namespace("t-hypervisor-b").entered():
        listener = socket.create_server(("192.0.2.12", PORT))
    with listener:
        assert reaches("hypervisor-a", "192.0.2.12")
        assert reaches("hypervisor-b", "192.0.2.12")
        assert not reaches("functions", "192.0.2.12")

    assert wired.prepare() == 0, wired.said
    assert wired.changed == 0


def test_a_filter_of_the_hosts_own_is_named_with_what_lets_guests_through(wired: Fleet) -> None:
    nft("hypervisor-b", "add table inet theirs")
    closed = "{ type filter hook input priority 0; policy drop; }"
    nft("hypervisor-b", f"add chain inet theirs in {closed}")
    nft("hypervisor-b", "add rule inet theirs in ct state established,related accept")
    assert wired.prepare() != 0
    assert "hypervisor-b lets nothing in from hypervisor-a" in wired.said
    assert "table inet theirs, chain in drops what comes in (its policy is drop)" in wired.said
    allow = "insert rule inet theirs in ip saddr { 192.0.2.11 } "
    allow += "tcp dport { 10809, 49152-49215 } accept"
    assert f"nft '{allow}'" in wired.said

    # What is told is enough.
    nft("hypervisor-b", allow)
    assert wired.prepare() == 0, wired.said
    theirs = nft("hypervisor-b", "list table inet theirs")
    assert wired.prepare("-e", "migration_target_state=absent") == 0, wired.said
    assert nft("hypervisor-b", "list ruleset") == theirs
