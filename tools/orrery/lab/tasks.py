"""The tasks of `./lab` that concern the lab as a whole."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from orrery import params
from orrery.lab import completion as completion_script
from orrery.lab import gates, lifecycle
from orrery.lab import logs as log_files
from orrery.lab import status as lab_status
from orrery.lab.command import lab, lab_task, write_json
from orrery.lab.settings import CHECKOUT


@lab_task
def up(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    check: bool = False,
    diff: bool = False,
    only: str = "",
) -> None:
    """Set the lab up, then classify ten real digits."""
    settings = lab(inventory, extra).settings
    write_json(json, lifecycle.up(settings, check=check, diff=diff, only=only))


@lab_task
def down(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    purge: bool = False,
) -> None:
    """Remove all that up made (--purge: its packages, too)."""
    write_json(json, lifecycle.down(lab(inventory, extra).settings, purge=purge))


@lab_task
def verify(c: Any, inventory: str = "", extra: Sequence[str] = (), json: str = "") -> None:
    """Check again what up promised."""
    write_json(json, lifecycle.verify(lab(inventory, extra).settings))


@lab_task
def status(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    show_secrets: bool = False,
) -> None:
    """Show what runs and answers, ports, queues and the cores that poll them."""
    from orrery.guest import overview

    this = lab(inventory, extra)
    state = this.state()
    answers = lab_status.ask(state)
    secrets = this.credentials() if show_secrets else ""
    lab_status.show(this.settings.lab_name, state, answers, secrets)
    datapath = overview.look(state)
    overview.print_out(datapath)
    services = [
        {"name": a.service.name, "address": a.service.address, "healthy": a.healthy}
        for a in answers
    ]
    write_json(json, {"services": services, **datapath.as_mapping()})


@lab_task(positional=["name"])
def logs(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    name: str | None = None,
    lines: str = "100",
    follow: bool = False,
) -> None:
    """Print a service's log: ./lab logs engine."""
    count = params.integer("lines", lines, low=1, high=1_000_000)
    path = log_files.log_of(lab(inventory, extra).state(), name or "")
    text = log_files.last_lines(path, count)
    sys.stdout.writelines(text)
    sys.stdout.flush()
    write_json(json, {"log": str(path), "lines": [line.rstrip("\n") for line in text]})
    if follow:
        log_files.follow(path)


@lab_task
def test(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    fast: bool = False,
    disposable_host: bool = False,
    only: str = "",
    with_smoke: bool = False,
) -> None:
    """Run all gates and tests (--fast: without root, Docker)."""
    lab(inventory, extra)
    counts = gates.run(
        CHECKOUT, fast=fast, disposable=disposable_host, only=only, with_smoke=with_smoke
    )
    write_json(json, counts)


@lab_task
def smoke(c: Any, inventory: str = "", extra: Sequence[str] = (), json: str = "") -> None:
    """Make a lab inside a VM, use it, reboot it, take it down."""
    lab(inventory, extra)
    write_json(json, gates.smoke(CHECKOUT))


@lab_task(positional=["shell"])
def completion(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    shell: str | None = None,
) -> None:
    """Print shell completion: eval "$(./lab completion bash)"."""
    text = completion_script.script(shell or "")
    sys.stdout.write(text)
    write_json(json, {"shell": shell, "script": text})
