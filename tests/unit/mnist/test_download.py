from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from orrery.mnist.download import DownloadError, Limits, Network, fetch
from tests.unit.mnist.conftest import Server

CONTENT = bytes(range(256)) * 40
LIMITS = Limits(max_bytes=len(CONTENT), idle_s=20, attempts=3)


def get(server: Server, partial: Path, limits: Limits = LIMITS) -> bool:
    return fetch(f"{server.url}/file", partial, limits=limits, network=Network())


def breaks_off_once(after: int) -> Callable[[BaseHTTPRequestHandler, list[int]], None]:
    def handler(request: BaseHTTPRequestHandler, served: list[int]) -> None:
        asked = request.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        end = len(CONTENT) if served else after
        served.append(start)
        request.send_response(206 if asked else 200)
        span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        request.send_header("Content-Range", span)
        request.send_header("Content-Length", str(len(CONTENT) - start))
        request.end_headers()
        request.wfile.write(CONTENT[start:end])

    return handler


def test_a_file_is_downloaded_whole(server: Server, tmp_path: Path) -> None:
    server.serve({"/file": CONTENT})
    assert get(server, tmp_path / "part") is False
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_partial_file_is_resumed_where_it_ends(server: Server, tmp_path: Path) -> None:
    server.serve({"/file": CONTENT})
    (tmp_path / "part").write_bytes(CONTENT[:1000])
    assert get(server, tmp_path / "part") is True
    assert server.ranges == ["bytes=1000-"]
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_server_without_ranges_makes_the_download_begin_anew(
    server: Server, tmp_path: Path
) -> None:
    server.serve({"/file": CONTENT}, ranges=False)
    (tmp_path / "part").write_bytes(b"something else")
    assert get(server, tmp_path / "part") is False
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_is_discarded(server: Server, tmp_path: Path) -> None:
    server.serve({"/file": CONTENT})
    (tmp_path / "part").write_bytes(CONTENT + b"more")
    assert get(server, tmp_path / "part") is False
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_connection_that_breaks_off_is_taken_up_again(server: Server, tmp_path: Path) -> None:
    served: list[int] = []
    answer = breaks_off_once(3000)
    server.handler = lambda request: answer(request, served)
    assert get(server, tmp_path / "part") is True
    assert served == [0, 3000]
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_what_arrived_stays_when_the_server_is_gone(server: Server, tmp_path: Path) -> None:
    answer = breaks_off_once(3000)
    server.handler = lambda request: answer(request, [])
    limits = Limits(max_bytes=len(CONTENT), attempts=1)
    with pytest.raises(DownloadError, match="the connection broke off, 7240 bytes were missing"):
        get(server, tmp_path / "part", limits)
    assert (tmp_path / "part").read_bytes() == CONTENT[:3000]


def test_a_file_above_the_limit_is_refused_before_it_is_read(
    server: Server, tmp_path: Path
) -> None:
    server.serve({"/file": CONTENT})
    with pytest.raises(DownloadError, match="10240 bytes, at most 100 expected"):
        get(server, tmp_path / "part", Limits(max_bytes=100))


def test_a_body_without_a_length_is_bounded(server: Server, tmp_path: Path) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(CONTENT)

    server.handler = endless
    with pytest.raises(DownloadError, match="more than 100 bytes"):
        get(server, tmp_path / "part", Limits(max_bytes=100))
    assert not (tmp_path / "part").exists()


def test_a_missing_file_is_named_with_its_status(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="/file: HTTP status 404"):
        get(server, tmp_path / "part")


def test_nobody_at_the_address_is_an_error_with_the_reason(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="Connection refused"):
        fetch("http://127.0.0.1:9/x", tmp_path / "p", limits=LIMITS, network=Network())


def test_a_proxy_is_asked_instead_of_the_host(server: Server, tmp_path: Path) -> None:
    server.serve({"http://mirror.invalid/file": CONTENT})
    network = Network(proxy=server.url)
    fetch("http://mirror.invalid/file", tmp_path / "part", limits=LIMITS, network=network)
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_ca_bundle_that_is_none_is_named(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("no certificate", encoding="utf-8")
    with pytest.raises(DownloadError, match=f"{bundle}: not a file of certificates"):
        fetch("https://x/", tmp_path / "p", limits=LIMITS, network=Network(ca_bundle=str(bundle)))
