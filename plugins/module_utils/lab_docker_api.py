"""The few questions about a Docker engine that modules ask, over its socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


@contextlib.contextmanager
def _connection(path: str, timeout_s: float) -> Iterator[UnixConnection]:
    connection = UnixConnection(path, timeout_s)
    try:
        yield connection
    finally:
        connection.close()


def get(path: str, target: str, timeout_s: float = 5.0) -> Any:
    """The JSON answer to a GET.

    Raises:
        OSError: Nobody answers, or not with 200.
        ValueError: The answer is no JSON.
    """
    with _connection(path, timeout_s) as connection:
        try:
            connection.request("GET", target, headers={"Host": "docker"})
            answer = connection.getresponse()
            body = answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"{path}: {target}: {error!r}") from error
        if answer.status != 200:
            raise OSError(f"{path}: {target}: answered {answer.status}")
        return json.loads(body)


def look(path: str, timeout_s: float = 5.0) -> dict[str, Any]:
    """Whether an engine answers at a socket, and what it says of itself."""
    found: dict[str, Any] = {"socket": path, "usable": False, "version": "", "detail": ""}
    try:
        version = get(path, "/version", timeout_s)
        info = get(path, "/info", timeout_s)
    except FileNotFoundError:
        return {**found, "detail": "there is no socket"}
    except ConnectionRefusedError:
        return {**found, "detail": "nobody listens at the socket"}
    except PermissionError:
        return {**found, "detail": "the socket may not be opened by this user"}
    except (OSError, ValueError) as error:
        return {**found, "detail": str(error)}
    return {
        **found,
        "usable": True,
        "version": str(version.get("Version", "")),
        "storage_driver": str(info.get("Driver", "")),
        "root_dir": str(info.get("DockerRootDir", "")),
        "running": int(info.get("ContainersRunning") or 0),
    }
