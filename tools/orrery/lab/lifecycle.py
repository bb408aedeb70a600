"""Bring a lab up, check it, take it down."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from rich.console import Console

from orrery.errors import UsageError
from orrery.lab import converge
from orrery.lab.settings import Settings
from orrery.state import LabState

PARTS = ("serverless", "virtualisation")


def up(settings: Settings, *, check: bool, diff: bool, only: str) -> dict[str, Any]:
    """Set the lab up; returns `changed`, `failed` and `seconds`.

    Raises:
        UsageError: `only` names a part that does not exist.
        OrreryError: The class follows from the role that failed.
    """
    options = ["--check"] if check else []
    options += ["--diff"] if diff else []
    if only:
        if only not in PARTS:
            raise UsageError(f"--only takes one of {', '.join(PARTS)}, not '{only}'")
        options += ["--tags", f"host,{only}"]
    if check and settings.in_vm and not _vm_is_known(settings):
        print("The VM is not there yet: only what would be done on this machine can be shown.")
        options += ["--limit", "vm_hosts"]
    began = time.monotonic()
    with converge.exclusively(settings, "up"):
        result = converge.playbook(settings, "site.yml", *options)
    seconds = round(time.monotonic() - began, 1)
    if not check:
        _summarise(settings, result.changed, seconds)
    return {"changed": result.changed, "failed": result.failed, "seconds": seconds}


def verify(settings: Settings) -> dict[str, Any]:
    """Check again what `up` promised; returns `changed`, `failed` and `seconds`.

    Raises:
        VerifyError: Something does not hold.
        ConfigurationError: There is no such lab.
    """
    settings.state()
    result = converge.playbook(settings, "playbooks/verify-lab.yml")
    Console(highlight=False).print(f"lab '{settings.lab_name}': everything holds")
    return {"changed": result.changed, "failed": result.failed, "seconds": result.seconds}


def prepare(settings: Settings, *, absent: bool) -> dict[str, Any]:
    """Prepare the hypervisors to receive guests, or take that back; returns as `verify` does.

    Raises:
        OrreryError: The class follows from the role that failed.
    """
    state = "absent" if absent else "present"
    options = ["-e", json.dumps({"migration_target_state": state})]
    with converge.exclusively(settings, "drill.prepare"):
        result = converge.playbook(settings, "playbooks/prepare-migration-target.yml", *options)
    said = "no longer receive guests" if absent else "can receive guests"
    Console(highlight=False).print(f"hypervisors of lab '{settings.lab_name}' {said}")
    return {"changed": result.changed, "failed": result.failed, "seconds": result.seconds}


def down(settings: Settings, *, purge: bool) -> dict[str, Any]:
    """Remove what `up` made; with `purge` the packages, too.

    Raises:
        OrreryError: The class follows from the role that failed.
    """
    console = Console(highlight=False)
    if not settings.state_file.exists():
        console.print(f"lab '{settings.lab_name}' is not on this host: nothing to remove")
        return {"changed": 0, "failed": 0, "seconds": 0.0}
    options = ["-e", json.dumps({"lab_purge": purge})]
    with converge.exclusively(settings, "down"):
        result = converge.playbook(settings, "playbooks/teardown-lab.yml", *options)
    if settings.state_file.exists():
        packages = settings.state().packages
        console.print(
            f"lab '{settings.lab_name}' is gone; {len(packages)} packages that up installed stay. "
            "./lab down --purge removes them."
        )
    else:
        console.print(f"lab '{settings.lab_name}' is gone without a trace")
    return {"changed": result.changed, "failed": result.failed, "seconds": result.seconds}


def _vm_is_known(settings: Settings) -> bool:
    return settings.state_file.exists() and "vm" in settings.state().facts


def _summarise(settings: Settings, changed: int, seconds: float) -> None:
    state = settings.state()
    console = Console(highlight=False)
    console.print(f"\nlab '{settings.lab_name}' is up ({changed} changed, {seconds:.0f} s)")
    for service in sorted(state.services.values(), key=lambda entry: entry.name):
        console.print(f"  {service.name:<10} {service.address:<42} {service.kind}")
    for name in ("verified_guests", "verified_digits"):
        if name in state.facts:
            console.print(f"  {state.facts[name]}")
    console.print("\nTry:  " + "\n      ".join(_tries(settings, state)))


def _tries(settings: Settings, state: LabState) -> list[str]:
    """Commands that a user may want next, as they have to be typed."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    where = f" -i {os.path.relpath(settings.inventory)}" if settings.in_vm else ""
    tries = []
    if "files_url" in state.facts:
        url = f"{state.facts['files_url']}/mnist/digits/7.png"
        tries.append(f"{sudo}./lab mnist.classify{where} --url {url}")
    if settings.in_vm:
        tries += [f"{sudo}./lab ssh        {sudo}./lab console"]
    elif "ovs" in state.facts:
        tries += [f"{sudo}./lab guest.start a --queues 2", f"{sudo}./lab bench"]
    fast = [] if settings.in_vm else ["./lab test --fast"]
    return [*tries, "        ".join([f"./lab status{where}", *fast, f"./lab down{where}"])]
