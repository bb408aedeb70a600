"""Whether a service answers, and whether the answer is its own."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import urllib.parse
from dataclasses import dataclass

from ansible.module_utils import lab_docker_api, lab_processes

ANSWER_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Endpoint:
    """What must answer: `tcp:host:port`, `http://host:port/path`, `unix:/path`, `docker:/path`."""

    text: str
    kind: str
    host: str = ""
    port: int = 0
    path: str = ""


def parse(text: str) -> Endpoint:
    """Read the notation.

    Raises:
        ValueError: It is another one.
    """
    for kind in ("unix", "docker"):
        if text.startswith(f"{kind}:/"):
            return Endpoint(text, kind, path=text.removeprefix(f"{kind}:"))
    if text.startswith("tcp:"):
        host, _, port = text.removeprefix("tcp:").rpartition(":")
        if host and port.isdigit():
            return Endpoint(text, "tcp", host=host, port=int(port))
    if text.startswith("http://"):
        url = urllib.parse.urlsplit(text)
        if url.hostname:
            path = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
            return Endpoint(text, "http", host=url.hostname, port=url.port or 80, path=path)
    needed = "tcp:host:port, http://host:port/path, unix:/path or docker:/path"
    raise ValueError(f"{text!r}: {needed} is needed")


def answers(endpoint: Endpoint) -> str:
    """Empty when the endpoint answers, otherwise why not."""
    try:
        if endpoint.kind == "docker":
            # The socket is there long before the engine takes requests.
            lab_docker_api.get(endpoint.path, "/version", ANSWER_TIMEOUT_S)
        elif endpoint.kind == "unix":
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(ANSWER_TIMEOUT_S)
                client.connect(endpoint.path)
        elif endpoint.kind == "tcp":
            address = (endpoint.host, endpoint.port)
            socket.create_connection(address, timeout=ANSWER_TIMEOUT_S).close()
        else:
            return http_answers(endpoint)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return f"{endpoint.text} does not answer: {reason}"
    return ""


def http_answers(endpoint: Endpoint) -> str:
    """Empty when a GET is answered with less than 500, otherwise why not."""
    client = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=ANSWER_TIMEOUT_S)
    with contextlib.closing(client):
        try:
            client.request("GET", endpoint.path)
            status = client.getresponse().status
        except http.client.HTTPException as error:
            return f"{endpoint.text} does not answer: {error!r}"
    return "" if status < 500 else f"{endpoint.text} answers {status}"


def foreign_holder(endpoint: Endpoint, pid: int, service: str) -> str:
    """Who listens at an endpoint of this host in place of the service; empty when nobody does."""
    try:
        ipaddress.ip_address(endpoint.host)
    except ValueError:
        return ""
    listening = lab_processes.listeners()
    mine = [one for one in listening if lab_processes.collides(one, endpoint.host, endpoint.port)]
    held_by = lab_processes.holders({one.inode for one in mine})
    found = [holder for inodes in held_by.values() for holder in inodes]
    for holder in found:
        if pid in lab_processes.ancestry(holder) or lab_processes.unit_of(holder) == service:
            return ""
    if not found:
        return ""
    return (
        f"{endpoint.host}:{endpoint.port} is held by pid {found[0]} "
        f"({lab_processes.command(found[0])[:80]}), not by this service. "
        "Stop it, or choose another port (lab_port_base)"
    )
