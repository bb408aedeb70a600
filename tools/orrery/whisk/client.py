"""A client for any OpenWhisk: REST API v1 over aiohttp, with errors that a person can act on."""

from __future__ import annotations

import base64
import io
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from orrery.errors import ConfigurationError, FunctionError
from orrery.whisk import answers
from orrery.whisk.answers import Reply

MAX_BODY = 72 * 1024 * 1024
"""An action's code is at most 48 MB, 64 MB as base64; nothing else is as large [bytes]."""

LARGE_BODY = 256 * 1024
CONNECT_TIMEOUT_S = 10.0
ACTIVATION_ID = "x-openwhisk-activation-id"
LOCAL = ("localhost", "127.", "[::1]")


@dataclass(frozen=True)
class InvokeResult:
    """What came back from an invocation.

    Attributes:
        status_code: 200 success, 202 still running or not waited for, 502 the action's own error,
            500 the platform's.
        body: The activation record, the bare result (`result=True`), or `{"activationId"}`.
    """

    status_code: int
    activation_id: str | None
    body: Any

    @property
    def ok(self) -> bool:
        """Whether the action ran and succeeded."""
        return self.status_code == 200


class WhiskClient:
    """Talks to one OpenWhisk as one user; an asynchronous context manager.

    Args:
        apihost: URL or host[:port]. Without a scheme https is meant, as with `wsk`; http for
            loopback.
        auth: `uuid:key`.
        ca_file: Certificates to trust besides the system's.
        timeout_s: Bound of every request [s]; a blocking invocation may wait for 60.
        connections: Most connections at a time.
        namespace: `_` is the user's own.

    Raises:
        ConfigurationError: The address, the credentials or the certificate file cannot be used.
    """

    def __init__(
        self,
        apihost: str,
        auth: str,
        *,
        ca_file: Path | str | None = None,
        timeout_s: float = 70.0,
        connections: int = 100,
        namespace: str = "_",
    ) -> None:
        self.base = base_url(apihost)
        self.namespace = namespace
        self._timeout_s = timeout_s
        self._connections = connections
        self._headers = {"Authorization": basic(auth), "Accept": "application/json"}
        self._tls = _tls(self.base, ca_file)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session; the first request connects."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_TIMEOUT_S),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Reply:
        """Send one request and return whatever is answered, errors included.

        Args:
            method: `GET`, `PUT`, ...
            path: From the root of the host; already quoted.
            query: Added to the path.
            body: JSON value to send.
            data: Raw body instead of `body`.
            headers: Added to the usual ones; None removes one.

        Raises:
            FunctionError: No answer, none in time, or one that is too large.
        """
        if self._session is None:
            raise FunctionError("the client is used outside of `async with`")
        sent = {**self._headers, **(headers or {})}
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        target = URL(self.base + path, encoded=True)
        try:
            async with self._session.request(
                method,
                target.update_query(query) if query else target,
                data=_payload(data),
                headers={key: value for key, value in sent.items() if value is not None},
                allow_redirects=False,
            ) as response:
                raw = await _bounded(response)
                return Reply(response.status, dict(response.headers), raw, answers.decode(raw))
        except TimeoutError:
            raise FunctionError(answers.late(self.base, method, path, self._timeout_s)) from None
        except aiohttp.ClientError as error:
            raise answers.unreachable(self.base, error) from error

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """Send one request and return its JSON body; `options` are those of `request`.

        Raises:
            FunctionError: The host refused; `answers.WhiskError` holds its status.
            ConfigurationError: The credentials are not accepted.
        """
        reply = await self.request(method, path, **options)
        if not 200 <= reply.status < 300:
            raise answers.refusal(self.base, method, path, reply)
        return reply.body

    async def info(self) -> dict[str, Any]:
        """The info document of the host: limits and runtimes. Needs no credentials."""
        return answers.mapping(await self.call("GET", "/"), self.base)

    async def limits(self) -> dict[str, Any]:
        """The user's own limits (`invocationsPerMinute`, `concurrentInvocations`, ...)."""
        return answers.mapping(await self.call("GET", f"{self._space()}/limits"), self.base)

    async def put_action(
        self,
        name: str,
        *,
        kind: str | None = None,
        code: str | None = None,
        image: str | None = None,
        main: str | None = None,
        binary: bool | None = None,
        limits: Mapping[str, int] | None = None,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        annotations: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Create or update an action; what is None is not sent and so keeps its value.

        Args:
            name: As for `action_path`.
            kind: `python:3.11`, ...; `blackbox` where only an image is given.
            code: Source text, or base64 of a zip.
            image: Docker image of a blackbox.
            main: Name of the function to call.
            binary: Whether `code` is base64.
            limits: `timeout` [ms], `memory` [MB], `logs` [MB], `concurrency`.
            parameters: Mapping, or the API's list of `{"key", "value", "init"?}`.
            annotations: Merged by key with those that are there.
            overwrite: Whether an existing action is updated; it is an error otherwise.

        Returns:
            The entity as stored.
        """
        kind = "blackbox" if image is not None and kind is None else kind
        parts = {"kind": kind, "code": code, "image": image, "main": main, "binary": binary}
        entity = {
            "exec": {key: value for key, value in parts.items() if value is not None} or None,
            "limits": None if limits is None else dict(limits),
            "parameters": None if parameters is None else key_values(parameters),
            "annotations": None if annotations is None else key_values(annotations),
        }
        body = {key: value for key, value in entity.items() if value is not None}
        query = {"overwrite": "true" if overwrite else "false"}
        stored = await self.call("PUT", self.action_path(name), query=query, body=body)
        return answers.mapping(stored, self.base)

    async def get_action(self, name: str, *, code: bool = True) -> dict[str, Any]:
        """The action as stored; without its code where `code` is False."""
        query = None if code else {"code": "false"}
        found = await self.call("GET", self.action_path(name), query=query)
        return answers.mapping(found, self.base)

    async def delete_action(self, name: str) -> dict[str, Any]:
        """Delete an action and return what it was."""
        return answers.mapping(await self.call("DELETE", self.action_path(name)), self.base)

    async def list_actions(self, *, limit: int = 30, skip: int = 0) -> list[dict[str, Any]]:
        """The namespace's actions, `limit` at most (0 means 200)."""
        query = {"limit": str(limit), "skip": str(skip)}
        return answers.items(await self.call("GET", f"{self._space()}/actions", query=query))

    async def invoke(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        blocking: bool = True,
        result: bool = False,
        timeout_ms: int | None = None,
    ) -> InvokeResult:
        """Invoke an action; the action's own failure is a result, not an exception.

        Args:
            name: As for `action_path`.
            params: Arguments of the action.
            blocking: Whether to wait for the result.
            result: Return the bare result instead of the activation record.
            timeout_ms: How long to wait for it [ms], 60,000 at most; then 202 comes back.

        Raises:
            FunctionError: The host did not take the invocation.
            ConfigurationError: The credentials are not accepted.
        """
        path = self.action_path(name)
        query = {"blocking": "true" if blocking else "false"}
        if result:
            query["result"] = "true"
        if timeout_ms is not None:
            query["timeout"] = str(timeout_ms)
        reply = await self.request("POST", path, query=query, body=dict(params or {}))
        found = reply.header(ACTIVATION_ID) or answers.activation_id(reply.body)
        if reply.status in {200, 202} or (reply.status in {500, 502} and found):
            return InvokeResult(reply.status, found, reply.body)
        raise answers.refusal(self.base, "POST", path, reply)

    async def activation(self, activation: str) -> dict[str, Any]:
        """The record of one activation."""
        return answers.mapping(await self.call("GET", self._activation(activation)), self.base)

    async def activation_logs(self, activation: str) -> list[str]:
        """The log lines of one activation."""
        found = await self.call("GET", self._activation(activation) + "/logs")
        return [str(line) for line in answers.mapping(found, self.base).get("logs") or []]

    async def activations(
        self,
        *,
        name: str | None = None,
        limit: int = 30,
        skip: int = 0,
        since: int | None = None,
        upto: int | None = None,
        docs: bool = False,
    ) -> list[dict[str, Any]]:
        """The newest activations first, between two times [ms]; full records with `docs`."""
        query = {"limit": str(limit), "skip": str(skip), "docs": "true" if docs else "false"}
        extra = {"name": name, "since": since, "upto": upto}
        query.update({key: str(value) for key, value in extra.items() if value is not None})
        return answers.items(await self.call("GET", f"{self._space()}/activations", query=query))

    def action_path(self, name: str) -> str:
        """Quoted path of `name`, `package/name` or `/namespace/[package/]name`."""
        space = self.namespace
        if name.startswith("/"):
            space, _, name = name[1:].partition("/")
        words = "/".join(quote(word, safe="") for word in name.split("/"))
        return f"{self._space(space)}/actions/{words}"

    def _space(self, namespace: str | None = None) -> str:
        return f"/api/v1/namespaces/{quote(namespace or self.namespace, safe='')}"

    def _activation(self, activation: str) -> str:
        return f"{self._space()}/activations/{quote(activation, safe='')}"


def base_url(apihost: str) -> str:
    """The URL of an API host, without a trailing slash.

    Raises:
        ConfigurationError: It is none.
    """
    text = apihost.strip().rstrip("/")
    if "://" not in text:
        text = f"{'http' if text.startswith(LOCAL) else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.path or parts.query or parts.fragment:
        raise ConfigurationError(
            f"'{apihost}' is no API host. http://127.0.0.1:3233 is one: scheme, host and port."
        )
    return text


def basic(auth: str) -> str:
    """The Authorization header of `uuid:key`.

    Raises:
        ConfigurationError: It is not of that form.
    """
    user, found, key = auth.partition(":")
    if not (found and user and key and auth.isascii() and auth.isprintable()):
        raise ConfigurationError("credentials have the form uuid:key")
    return "Basic " + base64.b64encode(auth.encode()).decode()


def key_values(values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The API's list of `{"key", "value"}`, from a mapping or from such a list."""
    if isinstance(values, Mapping):
        return [{"key": key, "value": value} for key, value in values.items()]
    return [dict(value) for value in values]


def _tls(base: str, ca_file: Path | str | None) -> ssl.SSLContext | bool:
    if not base.startswith("https://"):
        return True
    context = ssl.create_default_context()
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"{ca_file}: cannot be read as certificates: {error}") from error
    return context


def _payload(data: bytes | None) -> bytes | io.BytesIO | None:
    """A large body is sent in pieces, so that other requests go on meanwhile."""
    return data if data is None or len(data) <= LARGE_BODY else io.BytesIO(data)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            raise FunctionError(
                f"{response.url.origin()}: an answer above {MAX_BODY} bytes was dropped"
            )
        chunks.append(chunk)
    return b"".join(chunks)
