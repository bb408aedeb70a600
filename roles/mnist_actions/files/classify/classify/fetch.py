"""Download a picture from a host that is allowed, and from nothing that hides behind its name.

The name is resolved once, the address is checked, and the connection goes to that very address;
redirects are refused. So the action is no proxy into the networks that its container reaches.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from classify.refusal import Code, Refusal

CHUNK = 64 * 1024
DEFAULT_PORTS = {"http": 80, "https": 443}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Allowed:
    """One allowed host.

    Attributes:
        host: Name or address, in lower case, without brackets.
        port: None stands for the scheme's own.
    """

    host: str
    port: int | None


def parse_allowed(text: str) -> tuple[Allowed, ...]:
    """Read `host[:port],host[:port]`; an IPv6 address stands in brackets."""
    found = []
    for entry in text.replace(",", " ").split():
        parts = urlsplit(f"//{entry}")
        if parts.hostname:
            found.append(Allowed(parts.hostname, parts.port))
    return tuple(found)


def fetch(url: str, allowed: Sequence[Allowed], *, max_bytes: int, deadline: float) -> bytes:
    """Download one URL.

    Args:
        url: What the caller gave.
        allowed: Hosts that may be asked.
        max_bytes: Largest accepted body.
        deadline: When it has to be complete, in time.monotonic() [s].

    Raises:
        Refusal: 400 for the URL or a redirect, 404, 413, 504.
    """
    parts, port = _checked(url, allowed)
    host = parts.hostname or ""
    address = _resolve(host, port, allowed)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kind = _Https if parts.scheme == "https" else _Http
    connection = kind(host, port, address, deadline)
    try:
        connection.request("GET", target, headers={"Accept": "image/*", "Connection": "close"})
        with connection.getresponse() as answer:
            _check_status(answer, host)
            return _body(answer, max_bytes)
    except TimeoutError:
        raise Refusal(Code.TIMEOUT, f"{host}:{port} did not answer in time") from None
    except (OSError, http.client.HTTPException) as error:
        why = str(error) or type(error).__name__
        raise Refusal(Code.TIMEOUT, f"{host}:{port} cannot be asked: {why}") from error
    finally:
        connection.hang_up()


def _checked(url: str, allowed: Sequence[Allowed]) -> tuple[SplitResult, int]:
    """Split the URL and look its host up in the list.

    Raises:
        Refusal: 400.
    """
    try:
        # Control characters and spaces would reach the request line; urlsplit drops some silently.
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("characters that have to be quoted")
        parts = urlsplit(url)
        explicit = parts.port
    except ValueError as error:
        raise Refusal(Code.BAD_REQUEST, f"not a valid URL: {error}") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise Refusal(Code.BAD_REQUEST, "the URL has to begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise Refusal(Code.BAD_REQUEST, "the URL may not hold a user name or password")
    usual = DEFAULT_PORTS[parts.scheme]
    port = usual if explicit is None else explicit
    if not any(
        entry.host == parts.hostname and port == (usual if entry.port is None else entry.port)
        for entry in allowed
    ):
        raise Refusal(Code.BAD_REQUEST, f"{parts.hostname}:{port} is not an allowed host")
    return parts, port


def _resolve(host: str, port: int, allowed: Sequence[Allowed]) -> str:
    """The one address to connect to.

    An address that was allowed as such is taken as it is. A name has to lead to a public address,
    or to one that is allowed as such, too.

    Raises:
        Refusal: 400 for a forbidden address, 504 where the name cannot be resolved.
    """
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refusal(Code.TIMEOUT, f"{host} cannot be resolved") from None
    text = str(entries[0][4][0])
    address = _plain(text)
    listed = {entry.host for entry in allowed}
    if str(address) not in listed and text not in listed and not address.is_global:
        raise Refusal(Code.BAD_REQUEST, f"{host} leads to an address that is not public")
    return text


def _plain(text: str) -> Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _check_status(answer: http.client.HTTPResponse, host: str) -> None:
    if 300 <= answer.status < 400:
        raise Refusal(Code.BAD_REQUEST, f"{host} redirects, and redirects are not followed")
    if answer.status >= 500:
        raise Refusal(Code.TIMEOUT, f"{host} failed with status {answer.status}")
    if answer.status != http.client.OK:
        raise Refusal(Code.NOT_FOUND, f"{host} has no such picture (status {answer.status})")


def _body(answer: http.client.HTTPResponse, max_bytes: int) -> bytes:
    too_large = Refusal(Code.TOO_LARGE, f"the picture is larger than {max_bytes} bytes")
    if answer.length is not None and answer.length > max_bytes:
        raise too_large
    content = bytearray()
    while chunk := answer.read(min(CHUNK, max_bytes + 1 - len(content))):
        content += chunk
        if len(content) > max_bytes:
            raise too_large
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return bytes(content)


class _Timed(io.RawIOBase):
    """Reads a socket against a deadline, so that no server can hold on by dripping bytes."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # what BufferedReader gives
        self._connection.settimeout(_left(self._deadline))
        return self._connection.recv_into(buffer)


class _Stream:
    """The part of a socket that http.client uses."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send everything before the deadline."""
        self._connection.settimeout(_left(self._deadline))
        self._connection.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What the answer is read from."""
        return io.BufferedReader(_Timed(self._connection, self._deadline))

    def close(self) -> None:
        """Leave it open: http.client says this before the body is read."""


class _Http(http.client.HTTPConnection):
    """A connection to an address that was resolved and checked before."""

    def __init__(self, host: str, port: int, address: str, deadline: float) -> None:
        super().__init__(host, port)
        self._address = address
        self._deadline = deadline
        self._connection: socket.socket | None = None

    def connect(self) -> None:
        """Connect to the checked address; `Host` still is the name."""
        plain = socket.create_connection((self._address, self.port), _left(self._deadline))
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secured = self._secure(plain)
        except BaseException:
            plain.close()
            raise
        self._connection = secured
        self.sock = _Stream(secured, self._deadline)

    def hang_up(self) -> None:
        """Close the connection, whatever state it is in."""
        self.close()
        if self._connection is not None:
            self._connection.close()

    def _secure(self, plain: socket.socket) -> socket.socket:
        return plain


class _Https(_Http):
    """The same with TLS; the certificate has to be that of the name."""

    default_port = 443

    def _secure(self, plain: socket.socket) -> socket.socket:
        plain.settimeout(_left(self._deadline))
        return ssl.create_default_context().wrap_socket(plain, server_hostname=self.host)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
