"""The Ansible module, and the comparison behind it."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from orrery import shell
from orrery.errors import ConfigurationError
from orrery.whisk import desired
from orrery.whisk.answers import UnreachableError
from orrery.whisk.client import WhiskClient
from orrery.whisk.desired import Desired
from tests.unit.whisk.engine_in_process import AUTH, Engine

CODE = "def main(args):\n    return {'secret-in-code': 1}\n"
MODULES = Path(__file__).resolve().parents[3] / "plugins" / "modules"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("whisk_action", MODULES / "whisk_action.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def params(engine: Engine, tmp_path: Path, module: ModuleType) -> dict[str, Any]:
    """Arguments as Ansible hands them over: every option, defaults filled in."""
    (tmp_path / "credentials").write_text(AUTH)
    empty = {name: option.get("default") for name, option in module.ARGUMENTS.items()}
    return {
        **empty,
        "apihost": engine.url,
        "credentials": str(tmp_path / "credentials"),
        "name": "deployed",
        "kind": "python:default",
        "code": CODE,
    }


def test_an_action_is_created_changed_and_deleted_once_each(
    module: ModuleType, params: dict[str, Any]
) -> None:
    def apply(*, dry: bool = False, **changes: Any) -> dict[str, Any]:
        result: dict[str, Any] = asyncio.run(module.apply({**params, **changes}, dry=dry))
        return result

    foreseen = apply(dry=True)
    made = apply()
    assert (foreseen["changed"], made["changed"], made["version"]) == (True, True, "0.0.1")
    assert made["action"]["kind"] == "python:3.11"
    again = apply()
    assert (again["changed"], "diff" in again, again["version"]) == (False, False, "0.0.1")
    assert not apply(kind="python:3")["changed"]
    limits = apply(limits={"timeout": 5000, "memory": None}, parameters={"x": [1]}, final=True)
    assert limits["changed"]
    assert limits["action"]["limits"]["timeout"] == 5000
    assert limits["action"]["limits"]["memory"] == 256
    assert limits["action"]["parameters"] == {"x": [1]}
    assert limits["action"]["annotations"]["final"] is True
    assert not apply()["changed"]
    assert not apply(code=None, kind=None)["changed"]
    assert apply(dry=True, state="absent")["changed"]
    assert apply(state="absent")["changed"]
    assert not apply(state="absent")["changed"]


def test_the_diff_shows_a_digest_instead_of_the_code(
    module: ModuleType, params: dict[str, Any]
) -> None:
    diff = asyncio.run(module.apply(params, dry=True))["diff"]
    assert diff["before"] == ""
    assert "secret-in-code" not in json.dumps(diff)
    assert json.loads(diff["after"])["code"].startswith("sha256:")


def test_a_changed_line_of_code_is_a_change(module: ModuleType, params: dict[str, Any]) -> None:
    named = {**params, "name": "coded"}
    asyncio.run(module.apply(named, dry=False))
    assert asyncio.run(module.apply({**named, "code": CODE + "# x\n"}, dry=False))["changed"]
    asyncio.run(module.apply({**named, "state": "absent"}, dry=False))


def test_a_zip_is_sent_as_base64(
    module: ModuleType, params: dict[str, Any], tmp_path: Path, engine: Engine
) -> None:
    data = desired.ZIP + bytes(range(256))
    (tmp_path / "code.zip").write_bytes(data)
    named = {**params, "name": "zipped", "code": None, "code_file": str(tmp_path / "code.zip")}
    goal = module.wanted(named)
    assert (goal.code, goal.binary) == (base64.b64encode(data).decode(), True)


def test_in_check_mode_a_host_that_is_not_there_yet_counts_as_bare(
    module: ModuleType, params: dict[str, Any], free_port: int
) -> None:
    bare = {**params, "apihost": f"http://127.0.0.1:{free_port}", "credentials": "/none/at/all"}
    assert asyncio.run(module.apply(bare, dry=True))["changed"]
    down = {**bare, "credentials": params["credentials"]}
    assert asyncio.run(module.apply(down, dry=True))["changed"]
    assert not asyncio.run(module.apply({**down, "state": "absent"}, dry=True))["changed"]
    with pytest.raises(UnreachableError):
        asyncio.run(module.apply(down, dry=False))
    with pytest.raises(ConfigurationError, match="/none/at/all: there are no credentials"):
        asyncio.run(module.apply(bare, dry=False))


def test_the_module_runs_as_a_program_the_way_ansible_starts_it(
    params: dict[str, Any], tmp_path: Path
) -> None:
    chosen = {key: params[key] for key in ("apihost", "credentials", "kind", "code")}
    given = {**chosen, "name": "by-ansible", "limits": {"memory": 128}}
    arguments = tmp_path / "arguments.json"
    arguments.write_text(
        json.dumps({"ANSIBLE_MODULE_ARGS": {**given, "_ansible_check_mode": True}})
    )
    done = shell.run([sys.executable, MODULES / "whisk_action.py", arguments], timeout_s=120)
    result = json.loads(done.stdout)
    assert result["changed"] is True
    assert result["action"]["limits"] == {"memory": 128}
    assert "secret-in-code" not in json.dumps(result["diff"])


def test_an_interpreter_without_orrery_is_told_what_to_set(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailedError(Exception):
        pass

    class Module:
        def __init__(self, **_: Any) -> None:
            self.params: dict[str, Any] = {}

        def fail_json(self, msg: str) -> None:
            raise FailedError(msg)

    monkeypatch.setattr(module, "AnsibleModule", Module)
    monkeypatch.setattr(module, "MISSING", "No module named 'orrery'")
    with pytest.raises(FailedError) as error:
        module.main()
    assert str(error.value).startswith("whisk_action: No module named 'orrery'. ")
    assert str(error.value).endswith("Set ansible_python_interpreter to the lab's own environment.")


@pytest.mark.parametrize(
    ("wanted", "stored", "same"),
    [
        ("python:3.11", "python:3.11", True),
        ("python:3", "python:3.11", True),
        ("python:default", "python:3.11", True),
        ("python:3.1", "python:3.11", False),
        ("nodejs:default", "python:3.11", False),
        ("blackbox", "blackbox", True),
        ("python:3.11", None, False),
    ],
)
def test_an_alias_means_any_version_of_its_family(
    wanted: str, stored: str | None, same: bool
) -> None:
    assert desired.same_kind(wanted, stored) is same


def test_an_action_needs_something_to_run() -> None:
    with pytest.raises(ConfigurationError, match="code needs a kind such as python:3.11"):
        desired.check(Desired("x", code="y"), exists=True)
    with pytest.raises(ConfigurationError, match="so code, code_file or image is needed"):
        desired.check(Desired("x"), exists=False)
    desired.check(Desired("x"), exists=True)


def test_an_image_alone_makes_a_blackbox() -> None:
    goal = Desired("x", image="img:1", limits={"memory": 512})
    after = desired.after(goal, {})
    assert (after["kind"], after["image"], after["code"]) == ("blackbox", "img:1", None)
    stored = {"exec": {"kind": "blackbox", "image": "img:1"}, "limits": {"memory": 512, "logs": 1}}
    before = desired.view(stored)
    assert desired.after(goal, before) == before


def test_code_that_is_neither_text_nor_zip_is_refused() -> None:
    assert desired.code_of("x = 'ä'".encode()) == ("x = 'ä'", False)
    with pytest.raises(ConfigurationError, match="the code is neither UTF-8 text nor a zip"):
        desired.code_of(b"\xff\xfe\x00")


def test_init_parameters_are_told_from_arguments() -> None:
    stored = {"parameters": [{"key": "A", "value": 1, "init": True}, {"key": "b", "value": 2}]}
    assert desired.view(stored)["parameters"] == {"A": {"value": 1, "init": True}, "b": 2}


def test_the_client_sends_what_is_desired(engine: Engine) -> None:
    async def go() -> dict[str, Any]:
        async with WhiskClient(engine.url, engine.auth) as whisk:
            goal = Desired("sent", kind="python:3.11", code=CODE, annotations={"a": 1}, final=False)
            made = await whisk.put_action(goal.name, **goal.arguments())
            await whisk.delete_action(goal.name)
            return made

    annotations = {item["key"]: item["value"] for item in asyncio.run(go())["annotations"]}
    assert (annotations["a"], annotations["final"]) == (1, False)
