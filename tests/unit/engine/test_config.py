from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orrery.engine import config
from orrery.errors import ConfigurationError
from tests.fakes.engine import KEY, UUID, document

TOML = f"""
lab_name = "t"
listen = ["127.0.0.1:3233", "10.1.2.3:3233"]
database = "/var/lib/t/engine.db"
docker_socket = "/var/run/docker.sock"
network = "t-functions"
container_prefix = "t"
api_host = "http://10.1.2.3:3233/"
pool_memory_mb = 2048
default_kind = "python:3.11"
[runtimes]
"python:3.11" = "t/python"
[container_limits]
pids = 100
[[users]]
namespace = "guest"
uuid = "{UUID}"
key = "{KEY}"
"""


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "engine.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    found = config.load(write(tmp_path, TOML))
    assert found.listen == (("127.0.0.1", 3233), ("10.1.2.3", 3233))
    assert found.api_host == "http://10.1.2.3:3233"
    assert (found.idle_timeout_s, found.pause_grace_s) == (600, 10)
    assert found.activations_keep == 200_000
    assert found.container_limits.pids == 100
    assert found.container_limits.nofile == 1024
    assert found.users[0].subject == "guest"
    assert found.users[0].invocations_per_minute == 60
    assert found.users[0].concurrent_invocations == 30


def test_keys_of_users_are_not_shown(tmp_path: Path) -> None:
    assert KEY not in repr(config.load(write(tmp_path, TOML)))


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, TOML, 0o640)
    with pytest.raises(ConfigurationError) as caught:
        config.load(path)
    assert str(caught.value) == (
        f"{path}: mode 0640 found, 0600 needed: it holds keys. Run: chmod 0600 {path}"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"engine\.toml: cannot be read: .*No such file"):
        config.load(tmp_path / "engine.toml")


def test_broken_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"engine\.toml: not valid TOML: "):
        config.load(write(tmp_path, "lab_name = "))


def change(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found.update({key: value})


def user(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found["users"][0].update({key: value})


WRONG = {
    "lab_name: nothing found, a text needed": lambda found: found.pop("lab_name"),
    "lab_name: 7 found, a text that is not empty needed": change("lab_name", 7),
    "database: 'engine.db' found, an absolute path needed": change("database", "engine.db"),
    "listen: 'localhost' found, a list of addresses": change("listen", "localhost"),
    "listen: '127.0.0.1:0' found": change("listen", ["127.0.0.1:0"]),
    "listen: 'example:80' found": change("listen", ["example:80"]),
    "listen: '0.0.0.0:3233' found, a loopback address or one of the lab's own networks needed": (
        change("listen", ["0.0.0.0:3233"])
    ),
    "api_host: '10.0.0.1' found, a URL with http:// or https:// needed": change(
        "api_host", "10.0.0.1"
    ),
    "pool_memory_mb: True found, a whole number >= 128 needed": change("pool_memory_mb", True),
    "pool_memory_mb: 64 found, a whole number >= 128 needed": change("pool_memory_mb", 64),
    "max_parallel_starts: 0 found, a number from 1 to 64 needed": change("max_parallel_starts", 0),
    "idle_timeout_s: 'x' found, a number >= 1 needed": change("idle_timeout_s", "x"),
    "pause_grace_s: nan found, a number >= 0 needed": change("pause_grace_s", float("nan")),
    "runtimes: nothing found, at least one kind": change("runtimes", {}),
    "runtimes.python: an unusable kind found": change("runtimes", {"python": "image"}),
    "runtimes.python:3: 1 found, the name of a Docker image needed": change(
        "runtimes", {"python:3": 1}
    ),
    "default_kind: 'python:2' found, one of python:3.11 needed": change("default_kind", "python:2"),
    "container_limits: [] found, a table needed": change("container_limits", []),
    "container_limits.pids: 1 found": change("container_limits", {"pids": 1}),
    "container_limits.pid: an unknown key found": change("container_limits", {"pid": 100}),
    "users: nothing usable found, at least one [[users]] needed": change("users", []),
    "users[1].namespace: 'a/b' found": user("namespace", "a/b"),
    "users[1].uuid: something else found, a UUID of 36 characters needed": user("uuid", "x"),
    "users[1].key: 5 characters found, at least 32 needed": user("key", "short"),
    "users[2].uuid: the uuid of an earlier user found": lambda found: found["users"][1].update(
        uuid=UUID
    ),
    "users[1].limit: an unknown key found": user("limit", 1),
    "action_limits.memory_std_mb: 1024 found, a number from 128 to 512 needed": change(
        "action_limits", {"memory_std_mb": 1024}
    ),
    "colour: an unknown key found": change("colour", "red"),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_value_names_file_key_found_and_needed(message: str, tmp_path: Path) -> None:
    values = document(tmp_path)
    WRONG[message](values)
    with pytest.raises(ConfigurationError) as caught:
        config.parse(values, "engine.toml")
    assert str(caught.value).startswith(f"engine.toml: {message}")
    assert KEY not in str(caught.value)
