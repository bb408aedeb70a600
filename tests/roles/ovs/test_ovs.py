"""The role ovs, run on this host with real Open vSwitch and DPDK in a namespace of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery.network.namespace import Namespace
from orrery.state import StateFile
from tests.roles.ovs.peers import Peer, heard_by, ip
from tests.support.roles import RoleRun, run_role_on_this_host

pytestmark = pytest.mark.root

LAB = "t-ovs"
SUBNET = "10.161.204.0/24"
ADDRESS = "10.161.204.1/24"
SOCKET_MEM_MB = 128
# Twice what the switch takes: guests and testpmd of tests beside this one draw on the same pool.
PAGES = 160
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
LINK = Path("/etc/alternatives/ovs-vswitchd")
CHECKOUT = Path(__file__).resolve().parents[3]


def await_value(look: Callable[[], Any], what: str, timeout_s: float = 20) -> Any:
    end = time.monotonic() + timeout_s
    while not (value := look()):
        assert time.monotonic() < end, f"{what}: nothing came within {timeout_s:.0f} s"
        time.sleep(0.1)
    return value


class Lab:
    """The lab t-ovs with what the role needs, and the role run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = folder / "run"
        self.state = StateFile(folder / "state" / "state.json")
        self.database = f"unix:{self.run_dir}/ovs/db.sock"
        self.log = folder / "log" / "vswitchd" / "current"
        self.gone = False

    def fact(self, name: str, value: object) -> None:
        path = self.folder / "state" / "state.json"
        path.parent.mkdir(exist_ok=True)
        text = path.read_text() if path.exists() else "{}"
        state = {"schema": 1, "lab_name": LAB, **json.loads(text)}
        state["facts"] = {**state.get("facts", {}), name: value}
        path.write_text(json.dumps(state))

    def run(
        self, check: bool = False, expect_failure: bool = False, role: str = "ovs", **inputs: Any
    ) -> RoleRun:
        variables = {
            "lab_name": LAB,
            "lab_state_dir": str(self.folder / "state"),
            "lab_config_dir": str(self.folder / "etc"),
            "lab_log_dir": str(self.folder / "log"),
            "lab_run_dir": str(self.run_dir),
            "lab_python": str(CHECKOUT / ".venv/bin/python"),
            "lab_datapath_subnet": SUBNET,
            "ovs_socket_mem_mb": SOCKET_MEM_MB,
            **inputs,
        }
        return run_role_on_this_host(
            CHECKOUT, self.folder, role, variables, check=check, expect_failure=expect_failure
        )

    def vsctl(self, *words: str) -> str:
        argv = ["ovs-vsctl", f"--db={self.database}", "--timeout=10", *words]
        done = subprocess.run(argv, check=True, timeout=20, capture_output=True, text=True)
        return done.stdout.strip()

    def appctl(self, *words: str) -> str:
        """What ovs-vswitchd answers; empty when it does not."""
        argv = ["ovs-appctl", "--timeout=10", "-t", f"{self.run_dir}/ovs/vswitchd.ctl", *words]
        done = subprocess.run(argv, check=False, timeout=20, capture_output=True, text=True)
        return done.stdout

    def setting(self, key: str) -> str:
        return self.vsctl("--if-exists", "get", "Open_vSwitch", ".", f"other_config:{key}")

    def pid(self) -> int:
        return int(Path(f"/run/{LAB}-vswitchd/supervise/pid").read_text() or 0)

    def traces(self) -> list[str]:
        """What of the switch can be seen on this host."""
        places = [Path("/etc"), Path("/run"), Path("/run/dpdk"), Path("/etc/init.d")]
        places += Path("/etc").glob("rc?.d")
        named = [path for place in places for path in place.glob(f"*{LAB}-[ov]*")]
        folders = [self.run_dir / "ovs", self.run_dir / "vhost", self.folder / "etc" / "ovs"]
        folders += [self.folder / "state" / "data" / "ovs", Path("/run/dpdk") / LAB]
        return [str(path) for path in (*named, *folders) if path.exists()] + processes()


def processes() -> list[str]:
    """Programs that run and belong to the lab."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            marks = (folder / "environ").read_bytes().split(b"\0")
            if f"ORRERY_LAB={LAB}".encode() in marks:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


class UsersSwitch:
    """An Open vSwitch that stands for the user's: other folders, other namespace, no DPDK."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.namespace = Namespace(f"{LAB}-user")
        self.programs: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self.folder.mkdir()
        self.namespace.make()
        database, remote = self.folder / "conf.db", f"unix:{self.folder}/db.sock"
        subprocess.run(["ovsdb-tool", "create", database, SCHEMA], check=True, timeout=20)
        self._start("ovsdb-server", database, f"--remote=p{remote}")
        await_value(lambda: (self.folder / "db.sock").exists(), "the user's database")
        self._start("/usr/lib/openvswitch-switch/ovs-vswitchd", remote)
        self.vsctl("add-br", "br-user", "--", "set", "Bridge", "br-user", "datapath_type=netdev")

    def _start(self, *words: str | Path) -> None:
        argv = self.namespace.argv(*words, "-vsyslog:off", "-vconsole:off", "-vfile:off")
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        env = {**os.environ, **dict.fromkeys(names, str(self.folder))}
        number = len(self.programs)
        argv.append(f"--unixctl={self.folder}/{number}.ctl")
        self.programs.append(subprocess.Popen(argv, env=env))

    def vsctl(self, *words: str) -> str:
        argv = ["ovs-vsctl", f"--db=unix:{self.folder}/db.sock", "--timeout=10", *words]
        done = subprocess.run(argv, check=True, timeout=20, capture_output=True, text=True)
        return done.stdout

    def seen(self) -> dict[str, object]:
        """What would differ if somebody touched it."""
        return {
            "running": [(one.pid, one.poll()) for one in self.programs],
            "switch": self.vsctl("show"),
            "settings": self.vsctl("get", "Open_vSwitch", ".", "other_config"),
            "program": LINK.readlink(),
            "links": sorted(self.namespace.links()),
        }

    def stop(self) -> None:
        for program in reversed(self.programs):
            program.terminate()
            program.wait(timeout=10)
        self.namespace.remove()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The lab before the role was run, with huge pages and a namespace on record."""
    if Path("/run/systemd/system").is_dir():
        pytest.skip("not here: systemd is process 1, and ./lab up itself runs the other branch")
    with tempfile.TemporaryDirectory(prefix=f"{LAB}-") as name:
        lab = Lab(Path(name))
        lab.folder.chmod(0o755)
        network = {"namespace": LAB, "lan_bridge": "br-lan", "lan_address": "10.161.205.1/24"}
        lab.fact("network", network)
        try:
            lab.run(role="hugepages", hugepages_count=PAGES)
            yield lab
        finally:
            again = lab.run(ovs_state="absent")
            lab.run(role="hugepages", hugepages_state="absent")
            Namespace(LAB).remove()
        if lab.gone:
            assert again.changed == 0, again.changed_tasks


@pytest.fixture(scope="module")
def users_switch(lab: Lab) -> Iterator[UsersSwitch]:
    switch = UsersSwitch(lab.folder / "user")
    try:
        switch.start()
        yield switch
    finally:
        switch.stop()


@pytest.fixture(scope="module")
def users_before(users_switch: UsersSwitch) -> dict[str, object]:
    return users_switch.seen()


@pytest.fixture(scope="module")
def bare(lab: Lab, users_before: dict[str, object]) -> RoleRun:
    """What check mode says before anything is there."""
    run = lab.run(check=True)
    assert lab.traces() == []
    return run


@pytest.fixture(scope="module")
def first(lab: Lab, bare: RoleRun) -> RoleRun:
    """The first run of the role, which finds a database of an older version."""
    schema = json.loads(SCHEMA.read_text())
    del schema["tables"]["Bridge"]["columns"]["rstp_status"]
    old = lab.folder / "old.ovsschema"
    old.write_text(json.dumps({**schema, "version": "8.0.0"}))
    database = lab.folder / "state" / "data" / "ovs" / "conf.db"
    database.parent.mkdir(parents=True)
    subprocess.run(["ovsdb-tool", "create", database, old], check=True, timeout=20)
    return lab.run()


@pytest.fixture(scope="module")
def peers(lab: Lab, first: RoleRun) -> Iterator[dict[str, Peer]]:
    """Peers a, b, c, d in VLANs, u below a tunnel, v above it; e and g are for others."""
    found = {name: Peer(LAB, name) for name in "abcduveg"}
    try:
        for peer in found.values():
            peer.make()
        yield found
    finally:
        for peer in found.values():
            peer.remove()


def test_check_mode_on_a_bare_host_tells_what_would_come(bare: RoleRun) -> None:
    assert bare.changed >= 4, bare.changed_tasks
    assert "PMD polls on" in bare.text


def test_the_first_run_starts_a_switch_with_dpdk_and_says_which_cpus_poll(
    lab: Lab, first: RoleRun
) -> None:
    facts = lab.state.read().facts["ovs"]
    assert f"{facts['why']} (pmd-cpu-mask {lab.setting('pmd-cpu-mask')[1:-1]}" in first.text
    assert lab.vsctl("get", "Open_vSwitch", ".", "dpdk_initialized") == "true"
    assert lab.vsctl("get", "Bridge", "br-ovs", "datapath_type") == "netdev"
    assert lab.setting("dpdk-extra") == f'"--no-pci --file-prefix={LAB}"'
    assert lab.setting("dpdk-socket-mem") == f'"{SOCKET_MEM_MB}"'
    assert facts["bridge"] == "br-ovs"
    assert facts["addresses"] == {"br-ovs": ADDRESS}
    services = lab.state.read().services
    assert services["ovsdb"].health == lab.database
    assert services["vswitchd"].log == str(lab.log)
    assert "|00001|ovs_numa|" in lab.log.read_text()
    assert lab.vsctl("get", "Open_vSwitch", ".", "db_version") != '"8.0.0"'
    if (os.cpu_count() or 1) < 4:
        assert lab.setting("pmd-maxsleep") + lab.setting("pmd-sleep-max") == '"100"'


def test_a_second_run_changes_nothing_and_check_mode_agrees(lab: Lab, first: RoleRun) -> None:
    pid = lab.pid()
    again = lab.run()
    assert again.changed == 0, again.changed_tasks
    checked = lab.run(check=True)
    assert checked.changed == 0, checked.changed_tasks
    assert lab.pid() == pid


def data(peers: dict[str, Peer]) -> list[dict[str, Any]]:
    remote, local = "10.161.204.2", "10.161.204.1"
    tunnel = {"remote_ip": remote, "local_ip": local, "key": 100}
    tags = {"a": 100, "b": 100, "c": 200, "d": 200}
    tagged = [{"name": peers[name].port, "tag": tag} for name, tag in tags.items()]
    return [
        {"name": "br-ovs", "address": ADDRESS, "ports": [*tagged, {"name": peers["u"].port}]},
        {
            "name": "br-vx",
            "ports": [
                {"name": peers["v"].port},
                {"name": "vx1", "type": "vxlan", "options": tunnel},
            ],
        },
    ]


def test_vlans_and_tunnels_come_from_data_and_keep_apart_what_they_should(
    lab: Lab, peers: dict[str, Peer]
) -> None:
    pid = lab.pid()
    space = peers["u"].namespace.name
    ip("-n", space, "addr", "add", "10.161.204.2/24", "dev", "eth0")
    for device, number in (("vx0", "100"), ("vx9", "101")):
        # A checksum that the kernel leaves to hardware is wrong for a switch outside the kernel.
        words = ["type", "vxlan", "id", number, "remote", "10.161.204.1", "noudpcsum"]
        ip("-n", space, "link", "add", device, *words, "dstport", "4789", "dev", "eth0")
        ip("-n", space, "link", "set", device, "up")
    made = lab.run(ovs_bridges=data(peers), ovs_other_config={"max-idle": 30000})
    assert "run | Make the bridges" in " ".join(made.changed_tasks)
    assert lab.setting("max-idle") == '"30000"'
    assert lab.pid() == pid, "bridges and max-idle are no reason to start anew"
    await_value(lambda: ADDRESS.partition("/")[0] in addresses("br-ovs"), "address of br-ovs")

    with contextlib.ExitStack() as stack:
        # For a test that fails: what the datapath does with the frames.
        stack.callback(lambda: print(lab.appctl("dpctl/dump-flows", "netdev@ovs-netdev")))
        wires = {name: stack.enter_context(peers[name].open()) for name in "abcdv"}
        a, b, c, d, v = (wires[name] for name in "abcdv")
        assert heard_by(a, [b, c, d, v], 0, b"from a") == [True, False, False, False]
        assert heard_by(d, [c, a, b, v], 0, b"from d") == [True, False, False, False]
        far = stack.enter_context(peers["u"].open("vx0"))
        other = stack.enter_context(peers["u"].open("vx9"))
        assert heard_by(v, [far, other, a, c], 0, b"from v") == [True, False, False, False]
        assert heard_by(far, [v, a, c], 0, b"from u") == [True, False, False]


def addresses(interface: str) -> set[str]:
    link = Namespace(LAB).links().get(interface) or {}
    return {str(entry["local"]) for entry in link.get("addr_info", ())}


def test_what_is_described_no_longer_goes_and_what_others_made_stays(
    lab: Lab, peers: dict[str, Peer]
) -> None:
    """Also: a setting that is read at the start only starts the switch anew."""
    hand, guest = peers["e"].port, peers["g"].port
    mark = ["--", "set", "Interface", guest, "external_ids:orrery_guest=g1"]
    lab.vsctl("--may-exist", "add-port", "br-ovs", hand)
    lab.vsctl("--may-exist", "add-port", "br-ovs", guest, *mark)
    pid = lab.pid()
    lab.run(ovs_userspace_tso=True)
    assert lab.vsctl("list-br") == "br-ovs"
    assert lab.vsctl("list-ports", "br-ovs").split() == [hand, guest]
    assert lab.setting("userspace-tso-enable") == '"true"'
    assert lab.setting("max-idle") == '"30000"', "what the role does not know stays"
    assert lab.pid() != pid
    await_value(lambda: ADDRESS.partition("/")[0] in addresses("br-ovs"), "address of br-ovs")


def test_a_killed_switch_comes_back_with_dpdk_bridges_and_addresses(
    lab: Lab, first: RoleRun
) -> None:
    pid = lab.pid()
    os.kill(pid, signal.SIGKILL)
    await_value(lambda: lab.appctl("version") and lab.pid() not in (0, pid), "another process")
    lab.vsctl("wait-until", "Open_vSwitch", ".", "cur_cfg>=0", "dpdk_initialized=true")
    assert lab.vsctl("list-br") == "br-ovs"
    await_value(lambda: ADDRESS.partition("/")[0] in addresses("br-ovs"), "address of br-ovs")


def test_after_a_boot_the_switch_waits_for_its_database_and_all_is_as_before(
    lab: Lab, first: RoleRun
) -> None:
    lab.run()
    for name in ("vswitchd", "ovsdb"):
        subprocess.run([f"/etc/init.d/{LAB}-{name}", "stop"], check=True, timeout=30)
        shutil.rmtree(f"/run/{LAB}-{name}")
    shutil.rmtree(lab.run_dir / "ovs")
    shutil.rmtree(lab.run_dir / "vhost")
    Namespace(LAB).remove()
    told = lab.log.read_text().count("database connection failed")
    subprocess.run([f"/etc/init.d/{LAB}-vswitchd", "start"], check=True, timeout=20)
    await_value(lambda: any("ovs-vsctl" in one for one in processes()), "the switch's start")
    subprocess.run([f"/etc/init.d/{LAB}-ovsdb", "start"], check=True, timeout=20)
    await_value(lambda: "br-ovs" in lab.appctl("dpif/show"), "the bridge")
    await_value(lambda: ADDRESS.partition("/")[0] in addresses("br-ovs"), "its address")
    assert lab.log.read_text().count("database connection failed") == told
    assert (lab.run_dir / "vhost").is_dir()
    again = lab.run()
    assert again.changed == 0, again.changed_tasks


def test_a_bridge_of_that_name_with_another_datapath_is_refused(lab: Lab, first: RoleRun) -> None:
    bridges = [{"name": "br-ovs", "address": ADDRESS, "datapath_type": "system"}]
    run = lab.run(ovs_bridges=bridges, expect_failure=True)
    assert "bridge br-ovs is there with the datapath netdev, system is needed" in run.text
    assert "set ovs_replace_bridges=true to make it anew without them" in run.text
    assert lab.vsctl("get", "Bridge", "br-ovs", "datapath_type") == "netdev"


def test_rejects_more_memory_than_the_lab_has(lab: Lab, first: RoleRun) -> None:
    run = lab.run(ovs_socket_mem_mb=4096, expect_failure=True)
    has_mb = 2 * PAGES
    assert f"ovs_socket_mem_mb is 4096 on 1 NUMA node, and the lab has {has_mb} MB" in run.text
    assert "Lower ovs_socket_mem_mb or raise hugepages_count." in run.text


def test_dpdk_that_does_not_start_is_told_with_its_reason(lab: Lab, first: RoleRun) -> None:
    """The record says that there are pages, and somebody else took them."""
    pages = lab.state.read().facts["hugepages"]
    lab.fact("hugepages", {**pages, "count": 1_000_000})
    run = lab.run(ovs_socket_mem_mb=900_000, expect_failure=True)
    lab.fact("hugepages", pages)
    assert "DPDK did not start: EAL: " in run.text
    assert "EAL: Not enough memory available on socket 0!" in run.text
    assert "Requested: 900000MB" in run.text
    assert "Raise hugepages_count, lower ovs_socket_mem_mb, or stop who uses" in run.text
    assert lab.run().failed is False
    assert lab.vsctl("get", "Open_vSwitch", ".", "dpdk_initialized") == "true"


def test_absent_leaves_nothing_and_a_users_switch_was_never_touched(
    lab: Lab,
    first: RoleRun,
    users_switch: UsersSwitch,
    users_before: dict[str, object],
) -> None:
    lab.run(ovs_state="absent")
    lab.gone = True
    await_value(lambda: not processes(), "the end of the lab's processes")
    assert lab.traces() == []
    state = lab.state.read()
    assert "ovs" not in state.facts
    assert not state.services
    assert [path.name for path in (lab.run_dir / "hugepages").iterdir()] == []
    assert users_switch.seen() == users_before
