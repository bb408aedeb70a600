"""Actions that hang, fork, fill memory, disk and log: each harms itself and nobody else.

Every test ends with an innocent action that has to run as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engine.engine_process import EngineProcess

pytestmark = [pytest.mark.root, pytest.mark.docker]

DEVELOPER_LINE = "The action did not initialize or run as expected. Log data might be missing."


@pytest.fixture(autouse=True)
def _works_afterwards(engine: EngineProcess) -> Iterator[None]:
    yield
    engine.create("innocent", "def main(args): return {'fine': args}")
    reply = engine.invoke("innocent", {"n": 1})
    assert reply.status == 200, engine.said()
    assert reply.body["response"]["result"] == {"fine": {"n": 1}}


def test_an_action_that_never_answers_is_ended_at_its_time_limit(engine: EngineProcess) -> None:
    engine.create(
        "hangs",
        "import time\ndef main(args):\n print('before')\n while True: time.sleep(1)",
        timeout=1000,
    )
    reply = engine.invoke("hangs")
    assert reply.status == 502
    assert reply.error == "The action exceeded its time limits of 1000 milliseconds."
    assert {"key": "timeout", "value": True} in reply.body["annotations"]
    lines = engine.logs_of(reply.body["activationId"], DEVELOPER_LINE)
    assert lines[0].endswith(" stdout: before")


def test_an_action_that_hangs_while_loading_is_ended_too(engine: EngineProcess) -> None:
    engine.create("loads", "import time\ntime.sleep(1000)", timeout=1000)
    reply = engine.invoke("loads")
    assert reply.status == 502
    assert reply.error == (
        "The action exceeded its time limits of 1000 milliseconds during initialization."
    )


def test_an_action_that_forks_without_end_meets_the_limit_of_processes(
    engine: EngineProcess,
) -> None:
    code = "import os, signal\ndef main(args):\n n = 0\n try:\n  while True:\n"
    code += "   if os.fork() == 0: signal.pause()\n   n += 1\n"
    code += " except OSError as error: return {'n': n, 'why': str(error)}"
    engine.create("forks", code, memory=256)
    reply = engine.invoke("forks")
    assert reply.status == 200, reply
    result = reply.body["response"]["result"]
    assert 30 < result["n"] < 48
    assert "Resource temporarily unavailable" in result["why"]


def test_an_action_that_fills_its_memory_is_told_so(engine: EngineProcess) -> None:
    code = "def main(args):\n held = []\n while True: held.append(bytearray(8_000_000))"
    engine.create("eats", code)
    reply = engine.invoke("eats")
    assert reply.status == 502
    assert reply.error == "The action exhausted its memory and was aborted."


def test_an_action_that_fills_its_disk_gets_an_error_and_lives(engine: EngineProcess) -> None:
    code = "def main(args):\n with open(args['path'], 'wb') as f:\n"
    code += "  while True: f.write(bytes(1_000_000))"
    engine.create("writes", code)
    reply = engine.invoke("writes", {"path": "/tmp/full"})
    assert reply.status == 502
    assert reply.error == "[Errno 28] No space left on device"
    reply = engine.invoke("writes", {"path": "/var/full"})
    assert reply.error == "[Errno 30] Read-only file system: '/var/full'"


def test_an_action_that_floods_its_log_fills_neither_disk_nor_memory(
    engine: EngineProcess,
) -> None:
    code = "import os\ndef main(args):\n"
    code += " for _ in range(600): os.write(1, b'flood of text, line after line\\n' * 4000)\n"
    code += " return {'done': True}"
    engine.create("floods", code, logs=1)
    reply = engine.invoke("floods")
    assert reply.status == 200, reply
    lines = engine.logs_of(reply.body["activationId"], "Logs were truncated")
    assert lines[-1].endswith(
        "stderr: Logs were truncated because the total bytes size exceeds the limit of "
        "1048576 bytes."
    )
    assert sum(len(line) + 1 for line in lines[:-1]) <= 1024 * 1024
    assert engine.process is not None
    status = Path(f"/proc/{engine.process.pid}/status").read_text(encoding="utf-8")
    peak_kb = next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)
    assert peak_kb < 250 * 1024


def test_an_action_that_ends_its_process_is_a_developer_error(engine: EngineProcess) -> None:
    engine.create("exits", "import os\ndef main(args):\n print('bye')\n os._exit(1)")
    reply = engine.invoke("exits")
    assert reply.status == 502
    assert reply.error == ("The action did not produce a valid response and exited unexpectedly.")
    lines = engine.logs_of(reply.body["activationId"], DEVELOPER_LINE)
    assert lines[0].endswith(" stdout: bye")


def test_a_response_over_the_limit_is_cut(engine: EngineProcess) -> None:
    engine.create("talks", "def main(args): return {'x': 'y' * 2_000_000}")
    reply = engine.invoke("talks")
    assert reply.status == 502
    assert reply.error.startswith(
        "The action produced a response that exceeded the allowed length: "
        "2000009 > 1048576 bytes. The truncated response was: "
    )
