from __future__ import annotations

import base64
import io
import zipfile
from typing import Any

import pytest

from tests.fakes.engine import Client, EngineServer

ACTIONS = "/api/v1/namespaces/_/actions"
MALFORMED = "The request content was malformed:\n"


def test_a_created_action_comes_back_complete(api: Client) -> None:
    reply = api.call(
        "PUT",
        f"{ACTIONS}/hello%20world",
        {
            "exec": {"kind": "python:3", "code": "def main(a): return a"},
            "parameters": [{"key": "name", "value": "x"}],
        },
    )
    assert reply.status == 200
    found = reply.json
    assert found.pop("updated") > 1_700_000_000_000
    assert found == {
        "namespace": "guest",
        "name": "hello world",
        "version": "0.0.1",
        "publish": False,
        "exec": {"kind": "python:3.11", "binary": False, "code": "def main(a): return a"},
        "parameters": [{"key": "name", "value": "x"}],
        "annotations": [
            {"key": "provide-api-key", "value": False},
            {"key": "exec", "value": "python:3.11"},
        ],
        "limits": {"concurrency": 1, "logs": 10, "memory": 256, "timeout": 60000},
    }
    again = api.call("GET", "/api/v1/namespaces/guest/actions/hello%20world").json
    again.pop("updated")
    assert again == found


def test_code_can_be_left_out(api: Client) -> None:
    api.put("no-code")
    found = api.call("GET", f"{ACTIONS}/no-code?code=false").json
    assert found["exec"] == {"kind": "python:3.11", "binary": False}
    assert api.call("GET", f"{ACTIONS}/no-code?code=true").json["exec"]["code"] == "source"


def test_an_existing_action_needs_overwrite(api: Client) -> None:
    body = {"exec": {"kind": "python:3", "code": "1"}}
    assert api.call("PUT", f"{ACTIONS}/once", body).status == 200
    reply = api.call("PUT", f"{ACTIONS}/once", body)
    assert (reply.status, reply.error) == (409, "resource already exists")
    updated = api.call("PUT", f"{ACTIONS}/once?overwrite=true", body)
    assert (updated.status, updated.json["version"]) == (200, "0.0.2")


def test_an_update_merges_into_what_is_there(server: EngineServer, api: Client) -> None:
    api.put(
        "merged",
        parameters=[{"key": "a", "value": 1}],
        limits={"memory": 512},
        annotations=[{"key": "x", "value": 1}],
    )
    body = {"limits": {"timeout": 1000}, "annotations": [{"key": "y", "value": 2}]}
    found = api.call("PUT", f"{ACTIONS}/merged?overwrite=true", body).json
    assert found["exec"]["code"] == "source"
    assert found["parameters"] == [{"key": "a", "value": 1}]
    assert found["limits"] == {"concurrency": 1, "logs": 10, "memory": 512, "timeout": 1000}
    assert {item["key"] for item in found["annotations"]} == {"provide-api-key", "exec", "x", "y"}
    body = {"parameters": [], "delAnnotations": ["x"]}
    found = api.call("PUT", f"{ACTIONS}/merged?overwrite=true", body).json
    assert (found["parameters"], found["version"]) == ([], "0.0.3")
    assert {item["key"] for item in found["annotations"]} == {"provide-api-key", "exec", "y"}
    assert server.invoker.forgotten.count("guest/merged") == 2


def test_a_deleted_action_is_returned_and_gone(server: EngineServer, api: Client) -> None:
    api.put("gone")
    reply = api.call("DELETE", f"{ACTIONS}/gone")
    assert (reply.status, reply.json["name"]) == (200, "gone")
    assert "guest/gone" in server.invoker.forgotten
    for method in ("GET", "DELETE", "POST"):
        reply = api.call(method, f"{ACTIONS}/gone")
        assert (reply.status, reply.error) == (404, "The requested resource does not exist.")


def test_actions_are_listed_without_code(api: Client) -> None:
    for name in ("list-1", "list-2", "list-3"):
        api.put(name)
    listed = api.call("GET", f"{ACTIONS}?limit=2").json
    assert [item["name"] for item in listed] == ["list-3", "list-2"]
    assert sorted(listed[0]) == [
        "annotations",
        "exec",
        "limits",
        "name",
        "namespace",
        "publish",
        "updated",
        "version",
    ]
    assert listed[0]["exec"] == {"binary": False}
    assert api.call("GET", f"{ACTIONS}/?limit=1&skip=1").json[0]["name"] == "list-2"
    total = api.call("GET", f"{ACTIONS}?count=true").json["actions"]
    assert total == len(api.call("GET", f"{ACTIONS}?limit=0").json)
    assert api.call("GET", f"{ACTIONS}?count=true&skip=1").json == {"actions": total - 1}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("limit=201", "limit' was malformed:\nThe value '201' is not in the range of 0 to 200 for"),
        ("limit=-1", "limit' was malformed:\nThe value '-1' is not in the range of 0 to 200 for"),
        ("limit=x", "limit' was malformed:\nThe value 'x' is not an integer for actions."),
        ("skip=-1", "skip' was malformed:\nThe value '-1' is not greater than or equal to 0 for"),
        ("skip=" + "9" * 30, "skip' was malformed:\nThe value '999"),
        ("count=maybe", "count' was malformed:\n'maybe' is not a valid Boolean value"),
    ],
)
def test_a_wrong_query_is_refused(query: str, reason: str, api: Client) -> None:
    reply = api.call("GET", f"{ACTIONS}?{query}")
    assert reply.status == 400
    assert reply.error.startswith(f"The query parameter '{reason}")


@pytest.mark.parametrize("name", ["-a", "a$", "%0A", "a%20", "%C3%A9"])
def test_an_illegal_name_is_refused(name: str, api: Client) -> None:
    for method in ("GET", "PUT", "POST", "DELETE"):
        reply = api.call(method, f"{ACTIONS}/{name}")
        assert reply.status == 400
        assert reply.error == "The name of the entity contains illegal characters."


def test_a_name_that_is_too_long_says_so(api: Client) -> None:
    reply = api.call("PUT", f"{ACTIONS}/{'x' * 300}")
    assert (reply.status, reply.error) == (400, "Entity name longer than allowed: 300 > 256.")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "exec undefined"),
        ([], f"{MALFORMED}Object expected"),
        ({"exec": {"kind": "cobol", "code": "x"}}, f"{MALFORMED}The specified runtime 'cobol' is"),
        ({"exec": {"kind": "sequence"}}, f"{MALFORMED}actions of kind 'sequence' are not"),
        (
            {"exec": {"kind": "python:3", "code": "x"}, "limits": {"memory": 64}},
            f"{MALFORMED}requirement failed: memory 64 MB below allowed threshold of 128 MB",
        ),
        (
            {"exec": {"kind": "python:3", "code": "x"}, "limits": {"concurrency": 10}},
            f"{MALFORMED}requirement failed: concurrency 10 exceeds allowed threshold of 1",
        ),
    ],
)
def test_a_body_that_does_not_fit_is_refused(body: Any, text: str, api: Client) -> None:
    reply = api.call("PUT", f"{ACTIONS}/never", body)
    assert reply.status == 400
    assert reply.error.startswith(text)
    assert api.call("GET", f"{ACTIONS}/never").status == 404


def test_a_zip_that_leaves_its_folder_is_refused(api: Client) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("__main__.py", "")
        file.writestr("../../etc/passwd", "")
    reply = api.put("slip", base64.b64encode(buffer.getvalue()).decode())
    assert reply.status == 400
    assert reply.error == (
        f"{MALFORMED}the zip file has an entry outside its own folder: '../../etc/passwd'. "
        "Entries must be relative paths without '..'"
    )


def test_binary_code_that_is_no_zip_is_refused(api: Client) -> None:
    reply = api.put("nozip", base64.b64encode(b"\x7fELF" * 30).decode())
    assert reply.status == 400
    assert reply.error.startswith(
        f"{MALFORMED}the action's code looks like base64 but is not a zip"
    )


def test_a_good_zip_is_stored_as_it_came(server: EngineServer, api: Client) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("__main__.py", "def main(a): return a")
    code = base64.b64encode(buffer.getvalue()).decode()
    assert api.put("zipped", code).json["exec"] == {
        "kind": "python:3.11",
        "binary": True,
        "code": code,
    }
    assert api.invoke("zipped").status == 200
    executable = server.invoker.jobs[-1].action.executable
    assert (executable.code, executable.binary, executable.native) == (code, True, True)


def test_a_blackbox_needs_no_code(server: EngineServer, api: Client) -> None:
    body = {"exec": {"kind": "blackbox", "image": "lab/classify:1"}}
    found = api.call("PUT", f"{ACTIONS}/box", body).json
    assert found["exec"] == {"kind": "blackbox", "image": "lab/classify:1", "binary": False}
    assert api.invoke("box").status == 200
    executable = server.invoker.jobs[-1].action.executable
    assert (executable.image, executable.code, executable.native) == ("lab/classify:1", None, False)


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_there_are_no_packages_yet(method: str, api: Client) -> None:
    reply = api.call(method, f"{ACTIONS}/pkg/inside")
    assert (reply.status, reply.error) == (404, "The requested resource does not exist.")


def test_actions_of_a_package_are_not_listed_yet(api: Client) -> None:
    reply = api.call("GET", f"{ACTIONS}/pkg/")
    assert (reply.status, reply.error) == (404, "The requested resource does not exist.")
