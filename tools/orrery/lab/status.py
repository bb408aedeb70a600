"""What runs, where, and whether it answers."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from orrery.state import LabState, Service

ANSWER_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Answer:
    """A service and whether it answers."""

    service: Service
    healthy: bool
    why: str = ""


def ask(state: LabState) -> list[Answer]:
    """Ask every service of a lab at once."""
    services = sorted(state.services.values(), key=lambda service: service.name)
    if not services:
        return []
    with ThreadPoolExecutor(max_workers=len(services)) as pool:
        return list(pool.map(_ask, services))


def show(lab_name: str, state: LabState, answers: Sequence[Answer], secrets: str = "") -> None:
    """Print the table; `secrets` is `uuid:key` or empty."""
    console = Console(highlight=False)
    table = Table(title=f"lab '{lab_name}'", title_justify="left")
    for column in ("service", "what", "address", "answers"):
        table.add_column(column, overflow="fold")
    for answer in answers:
        service = answer.service
        word = "yes" if answer.healthy else f"no: {answer.why}"
        table.add_row(service.name, service.kind, service.address, word)
    console.print(table)
    for name in sorted(state.facts):
        if name.endswith("_why"):
            console.print(f"{name.removesuffix('_why').replace('_', ' ')}: {state.facts[name]}")
    if secrets:
        console.print(f"credentials: {secrets}", soft_wrap=True)


def _ask(service: Service) -> Answer:
    health = service.health
    try:
        if health.startswith(("http://", "https://")):
            return _ask_http(service)
        if health.startswith("tcp:"):
            host, _, port = health.removeprefix("tcp:").rpartition(":")
            socket.create_connection((host, int(port)), ANSWER_TIMEOUT_S).close()
        elif health.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(ANSWER_TIMEOUT_S)
                probe.connect(health.removeprefix("unix:"))
        else:
            return Answer(service, False, "it has no address to ask")
    except PermissionError:
        return Answer(service, False, "only root may ask it: run the command with sudo")
    except (OSError, ValueError) as error:
        return Answer(service, False, str(error))
    return Answer(service, True)


def _ask_http(service: Service) -> Answer:
    parts = urlsplit(service.health)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/")
        status = connection.getresponse().status
    except http.client.HTTPException as error:
        return Answer(service, False, repr(error))
    finally:
        connection.close()
    if status >= 500:
        return Answer(service, False, f"HTTP {status}")
    return Answer(service, True)
