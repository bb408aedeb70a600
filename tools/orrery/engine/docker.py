"""The Docker Engine API, as much of it as the engine needs, over its unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

# The newest version whose requests we write; every Docker since 20.10 (1.41) has what we use, and
# Docker 29 refuses those below 1.44.
NEWEST_API = (1, 47)
CALL_TIMEOUT_S = 60.0
PAUSE_TIMEOUT_S = 10.0
PULL_TIMEOUT_S = 600.0


class DockerError(Exception):
    """Docker refused; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class DockerUnreachableError(DockerError):
    """Docker did not answer: it is stopped, restarting or stuck."""

    def __init__(self, message: str) -> None:
        super().__init__(0, message)


@dataclass(frozen=True)
class ContainerSpec:
    """A container to create.

    Attributes:
        memory_mb: Limit of memory, swap included [MB].
        cpu_shares: Relative weight of processor time.
        tmpfs: Writable folders, each at most `tmpfs_mb` [MB].
        read_only: Whether everything else is read-only.
    """

    image: str
    network: str
    memory_mb: int
    cpu_shares: int
    pids: int
    nofile: int
    tmpfs_mb: int
    tmpfs: tuple[str, ...] = ("/tmp",)  # noqa: S108 - inside the container
    read_only: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The JSON that Docker's create call takes."""
        size = self.memory_mb * 1024 * 1024
        # exec: a zipped action may bring shared libraries.
        options = f"rw,exec,nosuid,nodev,mode=1777,size={self.tmpfs_mb}m"
        return {
            "Image": self.image,
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            "Labels": dict(self.labels),
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": False,
            "HostConfig": {
                "NetworkMode": self.network,
                "Memory": size,
                "MemorySwap": size,
                "CpuShares": self.cpu_shares,
                "PidsLimit": self.pids,
                "Ulimits": [{"Name": "nofile", "Soft": self.nofile, "Hard": self.nofile}],
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
                "ReadonlyRootfs": self.read_only,
                "Tmpfs": dict.fromkeys(self.tmpfs, options),
                "LogConfig": {"Type": "none"},
                "Init": True,
                "RestartPolicy": {"Name": "no"},
            },
        }


@dataclass(frozen=True)
class ContainerState:
    """What Docker says of one container."""

    running: bool
    oom_killed: bool
    address: str


class Docker:
    """A client of one daemon; outlives restarts of the daemon."""

    def __init__(self, socket_path: Path) -> None:
        self._socket = socket_path
        self._session: aiohttp.ClientSession | None = None
        self._version: str | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def create(self, name: str, spec: ContainerSpec) -> None:
        """Create a container, without starting it."""
        await self._call("POST", "/containers/create", body=spec.body(), params={"name": name})

    async def start(self, name: str) -> None:
        """Start a created container."""
        await self._call("POST", f"/containers/{name}/start")

    async def inspect(self, name: str) -> ContainerState:
        """Ask for state and address; the address is empty while there is none."""
        found = await self._call("GET", f"/containers/{name}/json")
        networks = found.get("NetworkSettings", {}).get("Networks") or {}
        addresses = [entry.get("IPAddress") for entry in networks.values()]
        state = found.get("State", {})
        return ContainerState(
            running=bool(state.get("Running")),
            oom_killed=bool(state.get("OOMKilled")),
            address=next((address for address in addresses if address), ""),
        )

    async def pause(self, name: str) -> None:
        """Freeze every process of a container."""
        await self._call("POST", f"/containers/{name}/pause", timeout_s=PAUSE_TIMEOUT_S)

    async def unpause(self, name: str) -> None:
        """Let a frozen container go on."""
        await self._call("POST", f"/containers/{name}/unpause", timeout_s=PAUSE_TIMEOUT_S)

    async def kill(self, name: str) -> None:
        """SIGKILL a container; one that does not run is fine."""
        try:
            await self._call("POST", f"/containers/{name}/kill", timeout_s=PAUSE_TIMEOUT_S)
        except DockerUnreachableError:
            raise
        except DockerError as error:
            if error.status not in (404, 409):
                raise

    async def remove(self, name: str) -> None:
        """Kill and remove a container with its anonymous volumes; a missing one is fine."""
        try:
            params = {"force": "1", "v": "1"}
            await self._call("DELETE", f"/containers/{name}", params=params)
        except DockerUnreachableError:
            raise
        except DockerError as error:
            if error.status == 404:
                return
            if error.status == 409 and "already in progress" in str(error):
                return
            raise

    async def labelled(self, *labels: str) -> dict[str, Mapping[str, str]]:
        """All containers, running or not, with all of these labels: id to its labels."""
        filters = json.dumps({"label": list(labels)})
        found = await self._call("GET", "/containers/json", params={"all": "1", "filters": filters})
        return {entry["Id"]: entry.get("Labels") or {} for entry in found}

    async def pull(self, image: str) -> None:
        """Pull an image.

        Raises:
            DockerError: It cannot be had; the message says why.
        """
        name, tag = split_image(image)
        params = {"fromImage": name, "tag": tag}
        url = await self._url("/images/create")
        try:
            async with self._open().post(
                url, params=params, timeout=aiohttp.ClientTimeout(total=PULL_TIMEOUT_S)
            ) as response:
                text = await response.text()
                if response.status >= 400:
                    raise DockerError(response.status, _message(text))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise DockerUnreachableError(_describe(error)) from error
        # Docker answers 200 before it knows; an error comes as the last line of progress.
        if '"errorDetail"' in text:
            raise DockerError(500, _message(text.strip().rpartition("\n")[2]))

    async def attach(self, name: str) -> aiohttp.ClientResponse:
        """The multiplexed stream of stdout and stderr; the caller closes it."""
        url = await self._url(f"/containers/{name}/attach")
        params = {"stream": "1", "stdout": "1", "stderr": "1"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CALL_TIMEOUT_S)
        try:
            response = await self._open().post(url, params=params, timeout=timeout)
            if response.status >= 400:
                text = await response.text()
                response.release()
                raise DockerError(response.status, _message(text))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise DockerUnreachableError(_describe(error)) from error
        return response

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # A restarted daemon must not meet connections of its predecessor: none are kept.
            connector = aiohttp.UnixConnector(str(self._socket), limit=0, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session

    async def _url(self, path: str) -> str:
        if self._version is None:
            found = await self._send("GET", "http://docker/version")
            self._version = negotiate(found["ApiVersion"], found.get("MinAPIVersion", "1.12"))
        return f"http://docker/v{self._version}{path}"

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Any:
        url = await self._url(path)
        return await self._send(method, url, body=body, params=params, timeout_s=timeout_s)

    async def _send(
        self,
        method: str,
        url: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Any:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._open().request(
                method, url, json=body, params=params, timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise DockerError(response.status, _message(await response.text()))
                if response.content_type == "application/json":
                    return await response.json()
                await response.read()
                return None
        except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise DockerUnreachableError(_describe(error)) from error


def negotiate(newest: str, oldest: str) -> str:
    """The API version to speak with a daemon that speaks `oldest` to `newest`."""
    theirs = _numbers(newest)
    ours = max(min(theirs, NEWEST_API), _numbers(oldest))
    return f"{ours[0]}.{ours[1]}"


def split_image(image: str) -> tuple[str, str]:
    """An image reference as repository and tag (or digest); no tag means `latest`."""
    name, at, digest = image.partition("@")
    if at:
        return name, digest
    head, colon, tag = image.rpartition(":")
    if colon and "/" not in tag:
        return head, tag
    return image, "latest"


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)


def _message(text: str) -> str:
    try:
        found = json.loads(text)
        return str(found.get("message") or found.get("error") or text)
    except (ValueError, AttributeError):
        return text.strip()


def _describe(error: BaseException) -> str:
    return f"Docker does not answer: {str(error) or type(error).__name__}"
