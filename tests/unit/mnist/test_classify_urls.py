"""Pictures by URL: allowed hosts only, one address, no redirects, bounded in size and time."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from types import ModuleType
from typing import Any

import pytest

from orrery.mnist import images
from orrery.mnist.data import Examples
from tests.unit.mnist.conftest import Server

Main = Callable[[dict[str, Any]], dict[str, Any]]
ALLOWED = "CLASSIFY_ALLOWED_HOSTS"


@pytest.fixture
def files(server: Server, examples: Examples, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, allowed, with the first ten images."""
    monkeypatch.setenv(ALLOWED, f"127.0.0.1:{server.port}")
    server.serve({f"/{index}.png": images.picture(examples, index) for index in range(10)})
    return server


def refused(answer: dict[str, Any], code: int, message: str) -> None:
    assert set(answer) == {"code", "res", "message"}
    assert (answer["code"], answer["res"]) == (code, None)
    assert message in answer["message"]


def resolve_to(monkeypatch: pytest.MonkeyPatch, name: str, *addresses: str) -> list[str]:
    """Make a name lead to an address, the next time to the next one."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def fake(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != name:
            return real(host, port, *args, **kwargs)
        asked.append(host)
        return real(addresses[min(len(asked), len(addresses)) - 1], port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    return asked


def test_a_picture_by_its_url_is_classified(main: Main, files: Server) -> None:
    answer = main({"url": f"{files.url}/0.png"})
    assert (answer["code"], answer["res"]) == (200, 7)
    assert answer["measurement"]["download_ms"] > 0


def test_a_batch_of_urls_is_classified(main: Main, files: Server) -> None:
    answer = main({"urls": [f"{files.url}/{index}.png" for index in range(10)]})
    assert answer["res"] == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_a_missing_picture_is_404_and_a_batch_names_the_entry(main: Main, files: Server) -> None:
    refused(main({"url": f"{files.url}/none"}), 404, "127.0.0.1 has no such picture (status 404)")
    batch = [f"{files.url}/0.png", f"{files.url}/none"]
    refused(main({"urls": batch}), 404, "entry 1: 127.0.0.1 has no such picture")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/0.png",
        "http://127.0.0.2:{port}/0.png",
        "http://localhost:{port}/0.png",
        "http://2130706433:{port}/0.png",
        "http://0x7f.1:{port}/0.png",
        "http://[::ffff:127.0.0.1]:{port}/0.png",
        "http://0:{port}/0.png",
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1.:{port}/0.png",
        "http://127.0.0.1/0.png",
        "https://127.0.0.1/0.png",
        "http://evil.invalid#127.0.0.1:{port}/",
        "http://evil.invalid?@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}.evil.invalid/",
    ],
)
def test_other_hosts_and_ports_are_400_and_never_asked(main: Main, files: Server, url: str) -> None:
    answer = main({"url": url.format(port=files.port)})
    assert (answer["code"], answer["res"]) == (400, None)
    assert files.paths == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/passwd", "has to begin with http:// or https://"),
        ("gopher://127.0.0.1:{port}/x", "has to begin with http:// or https://"),
        ("//127.0.0.1:{port}/0.png", "has to begin with http:// or https://"),
        ("http:///0.png", "has to begin with http:// or https://"),
        ("", "has to begin with http:// or https://"),
        ("http://u:p@127.0.0.1:{port}/0.png", "may not hold a user name or password"),
        ("http://127.0.0.1:{port}/0.png HTTP/1.1\r\nHost: x", "have to be quoted"),
        ("http://127.0.0.1:{port}/0.png\nx", "have to be quoted"),
        ("http://127.0.0.1:{port}/ä.png", "have to be quoted"),
        ("http://127.0.0.1:99999/", "not a valid URL"),
        ("http://[::1/", "not a valid URL"),
    ],
)
def test_urls_of_another_form_are_400(main: Main, files: Server, url: str, message: str) -> None:
    refused(main({"url": url.format(port=files.port)}), 400, message)
    assert files.paths == []


def test_a_caller_cannot_allow_a_host(main: Main, files: Server) -> None:
    for name in ("allowed_hosts", ALLOWED):
        url = "http://127.0.0.1:9/"
        refused(main({"url": url, name: "127.0.0.1:9"}), 400, "127.0.0.1:9 is not an allowed host")


def test_nothing_is_allowed_by_default(
    main: Main, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ALLOWED, raising=False)
    refused(main({"url": f"{server.url}/0.png"}), 400, "is not an allowed host")


def test_a_redirect_is_400_and_not_followed(main: Main, files: Server) -> None:
    def redirect(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", f"{files.url}/0.png")
        request.end_headers()

    files.handler = redirect
    refused(main({"url": f"{files.url}/r"}), 400, "redirects, and redirects are not followed")
    assert files.paths == ["/r"]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.161.33.1", "169.254.169.254", "0.0.0.0", "::1"]
)
def test_a_name_that_leads_into_the_hosts_networks_is_400(
    main: Main, server: Server, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv(ALLOWED, f"files.example:{server.port}")
    resolve_to(monkeypatch, "files.example", address)
    url = f"http://files.example:{server.port}/0.png"
    refused(main({"url": url}), 400, "files.example leads to an address that is not public")
    assert server.paths == []


def test_a_name_is_resolved_once_and_that_address_is_used(
    main: Main, files: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ALLOWED, f"files.example:{files.port}, 127.0.0.1:{files.port}")
    asked = resolve_to(monkeypatch, "files.example", "127.0.0.1", "127.0.0.9")
    assert main({"url": f"http://files.example:{files.port}/0.png"})["res"] == 7
    assert asked == ["files.example"]


def test_a_name_that_does_not_resolve_is_504(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror("unknown")

    monkeypatch.setenv(ALLOWED, "files.example")
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    refused(main({"url": "http://files.example/"}), 504, "files.example cannot be resolved")


def test_a_body_with_a_length_above_the_limit_is_413(main: Main, files: Server) -> None:
    def huge(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "9000000000")
        request.end_headers()

    files.handler = huge
    refused(main({"url": f"{files.url}/x"}), 413, "larger than 8388608 bytes")


def test_a_body_without_end_is_413(main: Main, files: Server) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not files.release.is_set():
            request.wfile.write(bytes(1_000_000))

    files.handler = endless
    refused(main({"url": f"{files.url}/x"}), 413, "larger than 8388608 bytes")


def test_a_server_that_is_silent_or_drips_is_504(
    main: Main, action: ModuleType, files: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action, "FETCH_BUDGET_S", 0.3)
    files.handler = lambda _request: files.release.wait(60)
    refused(main({"url": f"{files.url}/x"}), 504, "did not answer in time")

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not files.release.wait(0.02):
            request.wfile.write(b"x")

    files.handler = drip
    refused(main({"url": f"{files.url}/x"}), 504, "did not answer in time")


def test_nobody_at_the_address_and_a_broken_answer_are_504(
    main: Main, files: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.handler = lambda request: request.wfile.write(b"nonsense\r\n\r\n")
    refused(main({"url": f"{files.url}/x"}), 504, "cannot be asked")

    def short(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "100")
        request.end_headers()
        request.wfile.write(b"short")

    files.handler = short
    refused(main({"url": f"{files.url}/x"}), 504, "cannot be asked")
    files.handler = lambda request: request.send_error(500)
    refused(main({"url": f"{files.url}/x"}), 504, "failed with status 500")
    monkeypatch.setenv(ALLOWED, "127.0.0.1:9")
    refused(main({"url": "http://127.0.0.1:9/"}), 504, "127.0.0.1:9 cannot be asked")


def test_what_is_downloaded_and_is_no_picture_is_415(main: Main, files: Server) -> None:
    files.serve({"/page": b"<html></html>"})
    refused(main({"url": f"{files.url}/page"}), 415, "not a picture")
