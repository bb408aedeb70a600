from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from orrery.errors import ConfigurationError, HostError
from orrery.network import backends
from orrery.network.backends import Backend
from orrery.network.testpmd import engine, prepare, pvp, wiring
from orrery.network.testpmd.program import (
    Ports,
    Program,
    Testpmd,
    TestpmdError,
    forwarding_cpu,
    parse_counters,
    parse_links,
)
from orrery.network.testpmd.wiring import Ring
from orrery.state import LabState

# As testpmd of DPDK 22.11 prints them.
SUMMARY = """show port summary all
Number of available ports: 2
Port MAC Address       Name         Driver         Status   Link
0    D6:40:02:1C:A5:BD net_null0    net_null       up       10 Gbps
1    46:99:6F:B1:C1:86 net_null1    net_null       down     Unknown
testpmd> """
STATISTICS = """show port stats all

  ######################## NIC statistics for port 0  ########################
  RX-packets: 14540352   RX-missed: 0          RX-bytes:  872421120
  RX-errors: 0
  RX-nombuf:  0
  TX-packets: 14168256   TX-errors: 0          TX-bytes:  850095360

  Throughput (since last show)
  Rx-pps:     28241796          Rx-bps:  13556062080
  Tx-pps:     28241796          Tx-bps:  13556062080

  ######################## NIC statistics for port 1  ########################
  RX-packets: 32         RX-missed: 0          RX-bytes:  1920
  RX-errors: 0
  RX-nombuf:  0
  TX-packets: 0          TX-errors: 0          TX-bytes:  0

  Throughput (since last show)
  Rx-pps:           31          Rx-bps:            0
  Tx-pps:            0          Tx-bps:            0
testpmd> """
# Talks as testpmd does, in a shell.
FAKE = """#!/bin/sh
printf 'EAL: hello\\ntestpmd> '
while read -r line; do
  case "$line" in
    quit) echo Bye; exit 0 ;;
    die) echo 'EAL: Not enough memory available on socket 0'; exit 7 ;;
    hang) sleep 30 ;;
    event) printf 'said event\\ntestpmd> Port 0: link state change event\\n' ;;
    *) printf '%s\\nsaid %s\\ntestpmd> ' "$line" "$line" ;;
  esac
done
"""
PORTS = Ports(("net_null0", "net_null1"), cpu=3)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    path = tmp_path / "testpmd"
    path.write_text(FAKE, encoding="utf-8")
    path.chmod(0o755)
    return Program(path, tmp_path, (Path("/d/one.so"),), "22.11.11")


def test_links_and_counters_are_read_by_port() -> None:
    assert parse_links(SUMMARY) == {0: "up", 1: "down"}
    first, second = parse_counters(STATISTICS)
    assert (first.port, first.received, first.receive_rate) == (0, 14540352, 28241796)
    assert (second.port, second.received, second.receive_rate) == (1, 32, 31)
    assert parse_counters("Command not found\n") == []


def test_the_command_line_shares_one_file_of_memory_with_the_switch_only(program: Program) -> None:
    shared = [str(word) for word in PORTS.argv(program)]
    assert shared[:3] == [str(program.program), "-d", "/d/one.so"]
    assert {"--lcores=0@3,1@3", "--no-pci", "--in-memory", "--single-file-segments"} <= set(shared)
    alone = [str(word) for word in Ports(PORTS.devices, 3, huge=False).argv(program)]
    assert "--no-huge" in alone
    assert "--single-file-segments" not in alone


def test_more_queues_get_more_buffers_and_whole_huge_pages() -> None:
    more = Ports(PORTS.devices, 3, queues=8)
    assert more.buffers > PORTS.buffers
    assert more.memory_mb % 2 == 0
    # 2048 bytes, headroom and head of each buffer have to fit.
    assert more.buffers * 2500 < more.memory_mb * 2**20


def test_the_vectorized_path_is_asked_for_where_the_ring_has_it() -> None:
    assert "vectorized=1" in Ring(packed=True, mrg_rxbuf=False).options
    assert "vectorized" not in Ring(packed=True).options
    assert Ring(queues=2).options.startswith("queues=2,queue_size=256,packed_vq=0,mrg_rxbuf=1")


def test_the_forwarding_thread_avoids_pmds_and_then_the_rest_of_the_switch() -> None:
    facts = {"ovs": {"pmd_cpus": [1], "lcore_cpus": [0]}}
    assert forwarding_cpu(facts, {0, 1}) == 0
    assert forwarding_cpu(facts, {0, 1, 2, 3}) == 2
    assert forwarding_cpu(facts, {1}) == 1
    assert forwarding_cpu({}, {4, 5}) == 4


def test_commands_are_answered_up_to_the_prompt(program: Program) -> None:
    with Testpmd(program, PORTS, {}) as this:
        assert this.ask("stop") == "stop\nsaid stop\ntestpmd> "
        pid = this.pid
        this.let_run(0.05)
        assert this.runs()
    assert not this.runs()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_it_says_unasked_behind_its_prompt_keeps_nobody_waiting(program: Program) -> None:
    with Testpmd(program, PORTS, {}) as this:
        assert this.ask("event", timeout_s=5) == "said event\ntestpmd> "
        assert this.ask("stop", timeout_s=5).endswith("said stop\ntestpmd> ")


def test_its_end_is_an_error_with_its_last_words(program: Program) -> None:
    with Testpmd(program, PORTS, {}) as this, pytest.raises(TestpmdError) as caught:
        this.ask("die")
    assert "testpmd ended with exit code 7" in str(caught.value)
    assert "Huge pages may be missing" in str(caught.value)
    assert "Not enough memory available" in str(caught.value)


def test_silence_is_an_error_and_it_is_ended_all_the_same(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orrery.network.testpmd.program.QUIT_TIMEOUT_S", 0.2)
    began = time.monotonic()
    with (
        Testpmd(program, PORTS, {}) as this,
        pytest.raises(TestpmdError, match=r"does not answer within 0.3 s"),
    ):
        this.ask("hang", timeout_s=0.3)
    assert not this.runs()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("link", "bridge"),
    [
        ("br-eng-lx", "br-eng-lx"),
        ("eng-af0", "br-eng-af"),
        ("eng-af21t", "br-eng-af2"),
        # A guest behind a tap; it is no guest on vhost-user with something behind its name.
        ("br-eng-pvpt", "br-eng-pvpt"),
        ("eng-0", ""),
        ("tap-eng-0", ""),
        ("br-lan", ""),
    ],
)
def test_an_interface_of_the_engine_tells_whose_it_is(link: str, bridge: str) -> None:
    assert wiring.bridge_of(link) == bridge


def test_a_lab_without_testpmd_skips_the_engine_with_the_reason() -> None:
    state = LabState("t", facts={"testpmd_why": "no mirror answers"})
    reason = engine.missing(state, Backend.ENGINE_BRIDGE, "64")
    assert reason == "the lab has no dpdk-testpmd: no mirror answers"
    assert "run ./lab up" in backends.missing(Backend.ENGINE_BRIDGE, LabState("t"))
    assert "not imix" in engine.missing(state, Backend.ENGINE_BRIDGE, "imix")


def test_a_backend_of_guests_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the engine is none of backend virtio-net"):
        engine.Engine(LabState("t"), Backend.VIRTIO_NET)


def test_a_missing_driver_is_named(tmp_path: Path) -> None:
    (tmp_path / "pmds-23.0").mkdir()
    with pytest.raises(HostError, match=r"pmds-23.0/librte_bus_vdev.so.23 is not there"):
        prepare.drivers("23", tmp_path)
    for name in prepare.NEEDED_DRIVERS:
        (tmp_path / "pmds-23.0" / f"librte_{name}.so.23").touch()
    assert len(prepare.drivers("23", tmp_path)) == len(prepare.NEEDED_DRIVERS)


def test_a_program_that_does_not_start_is_told(tmp_path: Path) -> None:
    path = tmp_path / "testpmd"
    path.write_text("#!/bin/sh\necho 'libpcap.so: cannot open' >&2; exit 127\n", encoding="utf-8")
    path.chmod(0o755)
    with pytest.raises(HostError, match=r"does not start: libpcap.so: cannot open"):
        prepare.prove(Program(path, tmp_path, (), "22.11.11"))
    path.write_text("#!/bin/sh\necho \"RTE Version: 'DPDK 21.11.1'\"; echo Bye\n", encoding="utf-8")
    with pytest.raises(HostError, match=r"runs with DPDK 21.11.1, and the lab has 22.11.11"):
        prepare.prove(Program(path, tmp_path, (), "22.11.11"))


def test_a_guest_gets_one_copy_of_each_library_and_the_hosts_loader(
    program: Program, tmp_path: Path
) -> None:
    shutil.copy(shutil.which("env") or "/usr/bin/env", program.program)
    driver = tmp_path / "libc.so.6"
    driver.write_bytes(program.program.read_bytes())
    archive = pvp.overlay(program, [driver])
    assert archive.count(b"dpdk/libc.so.6\0") == 1
    assert b"dpdk/ld-linux-x86-64.so.2\0" in archive
    words = pvp.guest_argv("testpmd", [driver], "0000:00:01.0")
    assert words[:3] == ["/dpdk/ld-linux-x86-64.so.2", "--library-path", "/dpdk"]
    assert words[words.index("-d") + 1] == "/dpdk/libc.so.6"
    assert words[words.index("-a") + 1] == "0000:00:01.0"


def test_packets_through_a_guest_need_the_switch_and_a_driver(tmp_path: Path) -> None:
    image = tmp_path / "initrd"
    image.write_bytes(b"lib/modules/ext4.ko")
    state = LabState("t", facts={"ovs": {}, "testpmd": {}, "guest_image": {"initrd": str(image)}})
    image.rename(tmp_path / "away")
    assert "cannot be read" in pvp.missing(state, Backend.VHOST_USER, "64")
    (tmp_path / "away").rename(image)
    reason = pvp.missing(state, Backend.VIRTIO_NET, "64")
    assert reason == "the generator is a port of the switch: take vhost-user or virtio-net-ovs"
    assert "is without uio_pci_generic" in pvp.missing(state, Backend.VHOST_USER, "64")
    image.write_bytes(b"kernel/drivers/uio/uio_pci_generic.ko")
    assert pvp.missing(state, Backend.VHOST_USER, "64") == ""
    with pytest.raises(ConfigurationError, match="path pvp, backend vhost-user: queues is 2"):
        pvp.Pvp(state, Backend.VHOST_USER, queues=2)
