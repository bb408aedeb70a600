from __future__ import annotations

import base64
import io
import struct
import zipfile
from typing import Any

import pytest

from orrery.engine.config import ActionLimitRange
from orrery.engine.entities import actions, archive, limits, parameters
from orrery.engine.entities.actions import Action, ActionName
from orrery.engine.entities.execs import is_binary, parse_exec
from orrery.engine.entities.runtimes import Runtimes
from orrery.engine.errors import BadRequestError, MalformedError, TooLargeError

RUNTIMES = Runtimes({"python:3.11": "lab/python"}, "python:3.11")
RANGE = ActionLimitRange()
MALFORMED = "The request content was malformed:\n"


def zipped(*names: str, content: bytes = b"x") -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, content)
    return base64.b64encode(buffer.getvalue()).decode()


def put(**fields: Any) -> actions.ActionPut:
    return actions.parse_put(fields, RUNTIMES)


def make(**fields: Any) -> Action:
    fields.setdefault("exec", {"kind": "python:3", "code": "source"})
    name = ActionName("guest", "", "a")
    return actions.create(name, put(**fields), RANGE, now_ms=5, revision="r1")


def update(old: Action, **fields: Any) -> Action:
    return actions.update(old, put(**fields), RANGE, now_ms=9, revision="r2")


@pytest.mark.parametrize("kind", ["python:3", "python:default", "python", "python:3.11"])
def test_short_kinds_mean_the_default(kind: str) -> None:
    assert RUNTIMES.resolve(kind) == "python:3.11"


def test_another_python_runs_in_the_same_image_under_its_name() -> None:
    assert RUNTIMES.resolve("python:3.9") == "python:3.9"
    assert RUNTIMES.image("python:3.9") == "lab/python"


@pytest.mark.parametrize("kind", ["nodejs:20", "python:2", "python:x", "go"])
def test_an_unknown_kind_names_those_there_are(kind: str) -> None:
    with pytest.raises(MalformedError) as caught:
        RUNTIMES.resolve(kind)
    assert caught.value.message == (
        f"{MALFORMED}The specified runtime '{kind}' is not supported by this platform. "
        "Valid values are: 'python:3', 'python:3.11', 'python:default', 'blackbox'."
    )


@pytest.mark.parametrize(
    ("code", "binary"),
    [("abcd", True), ("ab==", True), ("abc", False), ("def main(x): pass", False), ("a=bc", False)],
)
def test_length_and_characters_decide_what_is_binary(code: str, binary: bool) -> None:
    assert is_binary(code) is binary


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "no valid json object passed for 'exec'"),
        ({}, "'kind' must be a string defined in 'exec'"),
        ({"kind": 1}, "'kind' must be a string defined in 'exec'"),
        (
            {"kind": "sequence", "components": []},
            "actions of kind 'sequence' are not supported by this platform yet",
        ),
        ({"kind": "python:3"}, "'code' must be a string defined in 'exec' for 'python:3.11'"),
        (
            {"kind": "python:3", "code": "\ud800"},
            "'code' must be a string defined in 'exec' for 'python:3.11'",
        ),
        ({"kind": "python:3", "code": "x", "main": 1}, "if defined, 'main' must be a string"),
        ({"kind": "blackbox"}, "'image' must be a string defined in 'exec' for 'blackbox'"),
        ({"kind": "blackbox", "image": "-v /:/x"}, "'-v /:/x' is not the name of a Docker image"),
        ({"kind": "blackbox", "image": "Big/Image"}, "'Big/Image' is not the name"),
        (
            {"kind": "python:3", "code": "abcd"},
            "the action's code looks like base64 but is not a zip file",
        ),
    ],
)
def test_a_wrong_exec_is_refused_with_a_reason(value: Any, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_exec(value, RUNTIMES)
    assert caught.value.message.startswith(MALFORMED + reason)


@pytest.mark.parametrize(
    "image", ["img", "ns/img:tag", "reg.example:5000/a/b_c:1.0", "a@sha256:" + "0" * 64]
)
def test_images_are_taken_with_registry_tag_and_digest(image: str) -> None:
    found = parse_exec({"kind": "blackbox", "image": image}, RUNTIMES)
    made = found.executable(RUNTIMES)
    assert (made.kind, made.image, made.code, made.native) == ("blackbox", image, None, False)


def test_a_managed_kind_gets_its_image_and_main() -> None:
    made = parse_exec({"kind": "python", "code": "x=1", "main": "go"}, RUNTIMES)
    executable = made.executable(RUNTIMES)
    assert (executable.image, executable.main, executable.native) == ("lab/python", "go", True)


def test_code_over_48_megabytes_is_too_large() -> None:
    size = 48 * 1024 * 1024
    with pytest.raises(TooLargeError) as caught:
        parse_exec({"kind": "python", "code": "#" * (size + 1)}, RUNTIMES)
    assert caught.value.message == f"exec larger than allowed: {size + 1} > {size} bytes."


def test_a_good_zip_is_taken() -> None:
    found = parse_exec({"kind": "python", "code": zipped("__main__.py", "a/b.py")}, RUNTIMES)
    assert found.binary


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "..\\x", "C:/x", "a/.."])
def test_a_zip_that_reaches_out_of_its_folder_is_refused(name: str) -> None:
    with pytest.raises(MalformedError) as caught:
        archive.check_zip(zipped("__main__.py", name))
    assert "the zip file has an entry outside its own folder" in caught.value.message
    assert "relative paths without '..'" in caught.value.message


def test_a_blackbox_may_have_binary_code_that_is_no_zip_but_no_bad_zip() -> None:
    value = {"kind": "blackbox", "image": "x", "code": "abcd"}
    assert parse_exec(value, RUNTIMES).binary
    with pytest.raises(MalformedError, match="outside its own folder"):
        parse_exec({**value, "code": zipped("../x")}, RUNTIMES)


def test_a_zip_bomb_is_refused() -> None:
    data = bytearray(base64.b64decode(zipped("a")))
    struct.pack_into("<L", data, data.index(b"PK\1\2") + 24, 3_000_000_000)
    with pytest.raises(MalformedError, match="unpacks to 3000000000 bytes, 536870912 are allowed"):
        archive.check_zip(base64.b64encode(data).decode())


def test_a_zip_with_too_large_a_directory_is_refused_before_it_is_read() -> None:
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 5, 5, 2**31, 0, 0)
    with pytest.raises(MalformedError, match="too many entries, 20000 are allowed"):
        archive.check_zip(base64.b64encode(b"PK\3\4" + end).decode())


def test_a_zip_with_a_broken_directory_is_refused() -> None:
    data = base64.b64decode(zipped("a", "b")).replace(b"PK\1\2", b"PK\1\7")
    with pytest.raises(MalformedError, match="the action's zip file cannot be read: "):
        archive.check_zip(base64.b64encode(data).decode())


def test_limits_not_named_are_the_standard_ones() -> None:
    found = limits.merge(limits.standard(RANGE), {"memory": 512}, RANGE)
    assert found.to_json() == {"concurrency": 1, "logs": 10, "memory": 512, "timeout": 60000}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"memory": 64}, "requirement failed: memory 64 MB below allowed threshold of 128 MB"),
        ({"memory": 1024}, "requirement failed: memory 1024 MB exceeds allowed threshold of 512"),
        ({"timeout": 99}, "requirement failed: duration 99 milliseconds below allowed threshold"),
        ({"timeout": 300_001}, "requirement failed: duration 300001 milliseconds exceeds"),
        ({"logs": 11}, "requirement failed: logs 11 MB exceeds allowed threshold of 10 MB"),
        ({"logs": -1}, "requirement failed: logs -1 MB below allowed threshold of 0 MB"),
        ({"concurrency": 10}, "requirement failed: concurrency 10 exceeds allowed threshold of 1"),
        ({"memory": "256"}, "memory limit must be a whole number"),
        ({"memory": True}, "memory limit must be a whole number"),
        ({"timeout": 100.5}, "timeout limit must be a whole number"),
        ([], "no valid json object passed for 'limits'"),
    ],
)
def test_a_limit_out_of_its_range_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        limits.merge(limits.standard(RANGE), value, RANGE)
    assert caught.value.message.startswith(MALFORMED + reason)


@pytest.mark.parametrize(
    "value", [{}, "x", [1], [{"value": 1}], [{"key": ""}], [{"key": 1}], [{"key": "a", "init": 1}]]
)
def test_parameters_that_are_none_are_malformed(value: Any) -> None:
    with pytest.raises(MalformedError, match="parameters malformed!"):
        parameters.parse_parameters(value)


def test_the_later_of_two_parameters_wins_and_null_is_a_value() -> None:
    found = parameters.parse_parameters(
        [{"key": "a", "value": 1}, {"key": "b"}, {"key": "a", "value": 2}]
    )
    assert [item.to_json() for item in found] == [
        {"key": "a", "value": 2},
        {"key": "b", "value": None},
    ]


def test_parameters_over_a_megabyte_are_too_large() -> None:
    with pytest.raises(TooLargeError) as caught:
        parameters.parse_parameters([{"key": "a", "value": "x" * 1024 * 1024}])
    assert caught.value.message == "parameters larger than allowed: 1048579 > 1048576 bytes."


def test_init_parameters_become_environment_and_no_arguments() -> None:
    values = {"TEXT": "t", "NUMBER": 1.5, "NULL": None, "LIST": [1, "é"]}
    action = make(
        parameters=[
            *({"key": key, "value": value, "init": True} for key, value in values.items()),
            {"key": "plain", "value": 1},
        ]
    )
    revision = action.to_revision(RUNTIMES)
    assert revision.init_env == {"TEXT": "t", "NUMBER": "1.5", "NULL": "", "LIST": '[1,"é"]'}
    assert action.arguments({"own": 2}) == {"plain": 1, "own": 2}
    assert action.to_json()["parameters"][0] == {"key": "TEXT", "value": "t", "init": True}


def test_an_init_parameter_has_to_fit_an_environment() -> None:
    with pytest.raises(MalformedError, match="cannot be an environment variable"):
        parameters.parse_parameters([{"key": "a=b", "value": 1, "init": True}])


def test_final_parameters_with_a_value_are_fixed() -> None:
    action = make(
        parameters=[{"key": "a", "value": 1}, {"key": "open", "value": None}],
        annotations=[{"key": "final", "value": True}],
    )
    assert action.arguments({"open": 3}) == {"a": 1, "open": 3}
    with pytest.raises(BadRequestError) as caught:
        action.arguments({"a": 2})
    assert caught.value.message == (
        "Request defines parameters that are not allowed (e.g., reserved properties)."
    )


@pytest.mark.parametrize(
    ("value", "wants"), [(False, False), (0, False), (True, True), ("y", True)]
)
def test_the_api_key_is_given_where_the_annotation_says_so(value: Any, wants: bool) -> None:
    assert make(annotations=[{"key": "provide-api-key", "value": value}]).wants_api_key() is wants


def test_a_new_action_gets_no_api_key_and_names_its_kind() -> None:
    action = make()
    assert not action.wants_api_key()
    assert action.annotations == {"provide-api-key": False, "exec": "python:3.11"}
    dropped = update(action, delAnnotations=["provide-api-key"])
    assert dropped.wants_api_key()


def test_an_action_without_exec_cannot_be_made() -> None:
    with pytest.raises(BadRequestError) as caught:
        actions.create(ActionName("g", "", "a"), put(), RANGE, now_ms=1, revision="r")
    assert caught.value.message == "exec undefined"


def test_an_update_keeps_what_it_does_not_name() -> None:
    old = make(
        parameters=[{"key": "a", "value": 1}],
        limits={"memory": 512},
        annotations=[{"key": "x", "value": 1}],
        publish=True,
    )
    new = update(old)
    assert new.version == "0.0.2"
    assert new.revision == "r2"
    assert (new.exec, new.parameters, new.limits) == (old.exec, old.parameters, old.limits)
    assert (new.annotations, new.publish) == (old.annotations, True)


def test_an_update_replaces_parameters_and_merges_limits_and_annotations() -> None:
    old = make(
        parameters=[{"key": "a", "value": 1}],
        limits={"memory": 512},
        annotations=[{"key": "x", "value": 1}, {"key": "y", "value": 2}],
    )
    new = update(
        old,
        parameters=[{"key": "b", "value": 2}],
        limits={"timeout": 1000},
        annotations=[{"key": "y", "value": 3}],
        delAnnotations=["x"],
        version="2.0.0",
    )
    assert [item.key for item in new.parameters] == ["b"]
    assert (new.limits.memory, new.limits.timeout) == (512, 1000)
    assert new.annotations == {"provide-api-key": False, "exec": "python:3.11", "y": 3}
    assert new.version == "2.0.0"
    assert update(new, parameters=[]).parameters == ()


def test_a_new_exec_changes_the_kind_annotation() -> None:
    new = update(make(), exec={"kind": "blackbox", "image": "x"})
    assert new.annotations["exec"] == "blackbox"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"version": "1"}, "bad semantic version '1'"),
        ({"version": 1}, "bad semantic version 1"),
        ({"publish": "yes"}, "'publish' must be true or false"),
        ({"delAnnotations": "x"}, "'delAnnotations' must be a list of strings"),
        ({"annotations": {}}, "annotations malformed!"),
    ],
)
def test_other_wrong_fields_are_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        put(**fields)
    assert caught.value.message.startswith(MALFORMED + reason)


def test_fields_that_are_null_count_as_absent() -> None:
    assert update(make(publish=True), publish=None, version=None, limits=None).publish
