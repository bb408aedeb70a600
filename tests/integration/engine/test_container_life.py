"""From the first call to the removal: cold, warm, paused, woken, removed; blackbox images too."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.integration.engine.engine_process import IMAGE, EngineProcess, warm
from tests.support.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.docker]

COUNTS = "n = 0\ndef main(args):\n global n\n n += 1\n print('run', n)\n return {'n': n}"


def counted(engine: EngineProcess, name: str, *, is_warm: bool, n: int) -> None:
    reply = engine.invoke(name)
    assert reply.status == 200, engine.said()
    assert reply.body["response"]["result"] == {"n": n}
    assert warm(reply) is is_warm
    lines = engine.logs_of(reply.body["activationId"], f"stdout: run {n}")
    assert len(lines) == 1


def test_a_container_is_cold_warm_paused_woken_and_forgotten(engine: EngineProcess) -> None:
    engine.create("counts", COUNTS)
    counted(engine, "counts", is_warm=False, n=1)
    counted(engine, "counts", is_warm=True, n=2)
    mine = "label=orrery.action=guest/counts"
    until(lambda: engine.containers(mine, "status=paused"), "a paused container")
    counted(engine, "counts", is_warm=True, n=3)
    engine.create("counts", COUNTS)
    until(lambda: not engine.containers(mine), "the end of the old revision's container")
    counted(engine, "counts", is_warm=False, n=1)


def test_an_idle_container_is_removed(short_lived_engine: EngineProcess) -> None:
    short_lived_engine.create("idles", COUNTS)
    counted(short_lived_engine, "idles", is_warm=False, n=1)
    until(lambda: not short_lived_engine.containers(), "the removal of the idle container")
    counted(short_lived_engine, "idles", is_warm=False, n=1)


def test_a_container_has_no_more_than_it_needs(engine: EngineProcess) -> None:
    engine.create("bounded", COUNTS)
    counted(engine, "bounded", is_warm=False, n=1)
    name = engine.containers("label=orrery.action=guest/bounded")[0]
    found = json.loads(engine.docker.docker("inspect", name))[0]
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["PidsLimit"] == 48
    assert host["LogConfig"]["Type"] == "none"
    assert host["Memory"] == host["MemorySwap"] == 128 * 1024 * 1024
    assert host["PortBindings"] in ({}, None)


def test_a_blackbox_image_runs_code_and_keeps_its_log(engine: EngineProcess) -> None:
    executable = {"kind": "blackbox", "image": IMAGE, "code": COUNTS}
    engine.create("black", None, exec_=executable)
    counted(engine, "black", is_warm=False, n=1)
    counted(engine, "black", is_warm=True, n=2)


def test_an_image_that_cannot_be_had_is_a_developer_error(engine: EngineProcess) -> None:
    image = "127.0.0.1:1/nobody/nothing:1"
    engine.create("missing", None, exec_={"kind": "blackbox", "image": image})
    reply = engine.invoke("missing")
    assert reply.status == 502
    assert reply.error == f"Failed to pull container image '{image}'."


def test_a_taken_port_is_said_in_a_sentence(engine: EngineProcess) -> None:
    engine.create("stays", COUNTS)
    counted(engine, "stays", is_warm=False, n=1)
    argv = [sys.executable, "-m", "orrery.engine", "--config", str(engine.config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert f"port {engine.port} of 127.0.0.1 is taken by another process" in done.stderr
    counted(engine, "stays", is_warm=True, n=2)
