"""One file over HTTP into a partial file, resumed where a server allows it."""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from orrery.errors import HostError

CHUNK = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class DownloadError(HostError):
    """A file could not be downloaded."""


@dataclass(frozen=True)
class Network:
    """How the outside is reached.

    Attributes:
        proxy: URL of an HTTP proxy; empty leaves it to the environment (`https_proxy`...).
        ca_bundle: File of certificates to trust besides the system's; empty for none.
    """

    proxy: str = ""
    ca_bundle: str = ""


@dataclass(frozen=True)
class Limits:
    """When a download is given up.

    Attributes:
        max_bytes: Largest accepted file [bytes].
        idle_s: Longest silence of the server [s].
        total_s: Longest time in all [s].
        attempts: How often a broken connection is taken up again.
    """

    max_bytes: int
    idle_s: float = 30.0
    total_s: float = 600.0
    attempts: int = 3


def fetch(url: str, partial: Path, *, limits: Limits, network: Network) -> bool:
    """Download a URL into `partial`, going on where an earlier download stopped.

    A server that does not know ranges, or whose file is shorter than what is there, makes the
    download begin anew.

    Returns:
        Whether bytes of an earlier download are part of the file.

    Raises:
        DownloadError: It failed; what arrived stays in `partial` for the next time, except where
            it exceeds the limit.
    """
    site = opener(network)
    deadline = time.monotonic() + limits.total_s
    resumed = False
    for attempt in range(1, limits.attempts + 1):
        have = partial.stat().st_size if partial.exists() else 0
        try:
            resumed = _attempt(site, url, partial, limits, deadline)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                partial.unlink()
                continue
            raise DownloadError(f"{url}: HTTP status {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            grown = partial.exists() and partial.stat().st_size > have
            if attempt == limits.attempts or not grown:
                raise DownloadError(f"{url}: {_reason(error)}") from error
        else:
            return resumed
    raise DownloadError(f"{url}: the server refuses every range of the file")


def opener(network: Network) -> urllib.request.OpenerDirector:
    """What opens URLs by these settings.

    Raises:
        DownloadError: The file of certificates is none.
    """
    context = ssl.create_default_context()
    if network.ca_bundle:
        try:
            context.load_verify_locations(network.ca_bundle)
        except (OSError, ssl.SSLError) as error:
            raise DownloadError(f"{network.ca_bundle}: not a file of certificates") from error
    proxies = {"http": network.proxy, "https": network.proxy} if network.proxy else None
    return urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
    )


def _attempt(
    site: urllib.request.OpenerDirector,
    url: str,
    partial: Path,
    limits: Limits,
    deadline: float,
) -> bool:
    have = partial.stat().st_size if partial.exists() else 0
    # The URL is http or https: callers ask nothing else of this module.
    request = urllib.request.Request(url, headers={"User-Agent": "orrery"})  # noqa: S310
    if have:
        request.add_header("Range", f"bytes={have}-")
    with site.open(request, timeout=limits.idle_s) as answer:
        resumed = bool(have) and _continues(answer, have)
        written = have if resumed else 0
        length = answer.headers.get("Content-Length", "")
        expected = written + int(length) if length.isdigit() else None
        if expected is not None and expected > limits.max_bytes:
            raise DownloadError(f"{url}: {expected} bytes, at most {limits.max_bytes} expected")
        with partial.open("ab" if resumed else "wb") as sink:
            while chunk := answer.read(CHUNK):
                written += len(chunk)
                if written > limits.max_bytes:
                    partial.unlink()
                    raise DownloadError(f"{url}: more than {limits.max_bytes} bytes")
                sink.write(chunk)
                if time.monotonic() > deadline:
                    raise DownloadError(f"{url}: not complete after {limits.total_s:g} s")
        if expected is not None and written < expected:
            raise http.client.IncompleteRead(b"", expected - written)
    return resumed


def _continues(answer: http.client.HTTPResponse, have: int) -> bool:
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    partial = answer.status == http.client.PARTIAL_CONTENT
    return partial and found is not None and int(found[1]) == have


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection broke off, {error.expected} bytes were missing"
    return str(error) or type(error).__name__
