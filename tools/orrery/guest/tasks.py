"""`./lab guest.*`: guests of the lab, by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from orrery import params, shell
from orrery.errors import GuestError, HostError, UsageError
from orrery.lab.command import Lab, lab, lab_task, write_json
from orrery.measure.scenario import Scenario
from orrery.network.backends import GUEST_BACKENDS, PATHS, QUEUE_PAIRS, Backend
from orrery.ssh import Login

NO_BACKEND = "none"
ALL = "all"
ON_SWITCH = [backend for backend in GUEST_BACKENDS if PATHS[backend].on_switch]
DEFAULT_WORK = "4000"
DEFAULT_MEMORY_MB = 256
SSH_ALIAS = "orrery-guest"
"""Name of the guests' host key in `known_hosts`."""


def _say(text: str) -> None:
    Console(highlight=False).print(text, soft_wrap=True, markup=False)


@lab_task(positional=["name"])
def start(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    name: str | None = None,
    backend: str = Backend.VHOST_USER.value,
    queues: str = "1",
    cpus: str = "2",
    memory: str = "",
    memory_backing: str = "memfd",
    vlan: str = "",
    accel: str = "",
    image: str = "",
) -> None:
    """Start a guest: ./lab guest.start a --backend vhost-user --queues 4 --image debian-12."""
    from orrery.guest import choose, disk
    from orrery.guest.machine import Backing

    if name == ALL:
        raise UsageError(f"guest name '{ALL}' stands for all guests: choose another")
    kind = params.choice("backend", backend, [*GUEST_BACKENDS, NO_BACKEND])
    guests = lab(inventory, extra).guests()
    default_mb = disk.DEFAULT_MEMORY_MB if image else DEFAULT_MEMORY_MB
    found = disk.find(guests.state, image) if image else None
    if found is not None and found.note:
        _say(found.note)
    wish = choose.wish(
        guests,
        name or "",
        backend=None if kind == NO_BACKEND else Backend(kind),
        accel=params.choice("accel", accel, ["auto", "kvm", "tcg"]) if accel else "",
        queues=int(params.choice("queues", queues, map(str, QUEUE_PAIRS))),
        cpus=params.integer("cpus", cpus, low=1, high=64),
        memory_mb=params.integer("memory", memory or str(default_mb), low=128, high=1 << 20),
        backing=Backing(params.choice("memory-backing", memory_backing, list(Backing))),
        vlan=params.integer("vlan", vlan, low=1, high=4094) if vlan else None,
        image=found.image if found is not None else None,
    )
    entry = guests.start(wish)
    where = f"{entry.backend}, {entry.address}, " if entry.backend else ""
    _say(
        f"guest {entry.name} is ready after {entry.boot_s:.1f} s ({where}{entry.accel}). "
        f"Next: ./lab guest.ssh {entry.name}"
    )
    write_json(json, asdict(entry))


@lab_task(name="list")
def list_(c: Any, inventory: str = "", extra: Sequence[str] = (), json: str = "") -> None:
    """List the guests of the lab."""
    from orrery.guest import show
    from orrery.guest.registry import Registry

    this = lab(inventory, extra)
    entries = Registry(this.state().lab_name).entries()
    show.guests(this.settings.lab_name, entries)
    write_json(json, {"guests": [{**asdict(one), "state": show.state_of(one)} for one in entries]})


@lab_task(positional=["name"])
def stop(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    name: str | None = None,
) -> None:
    """Stop a guest, or all of them: ./lab guest.stop all."""
    guests = lab(inventory, extra).guests()
    names = guests.stop_all() if name == ALL else [guests.stop(name or "").name]
    _say(f"stopped: {', '.join(names) or 'nothing ran'}")
    write_json(json, {"stopped": names})


@lab_task(positional=["name"])
def ssh(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    name: str | None = None,
    command: str = "",
) -> None:
    """Log in to a guest, or run --command in it."""
    from orrery.guest import disk

    guests = lab(inventory, extra).guests()
    entry = guests.registry.entry(name or "")
    if not entry.ssh_port:
        raise GuestError(f"guest {entry.name} has no interface for people")
    keys = Path(str(guests.state.facts["guest_image"]["keys"]))
    keys = disk.keys(guests.state) if entry.image else keys
    login = Login(
        address="127.0.0.1",
        port=entry.ssh_port,
        user="root",
        key=keys / "id_ed25519",
        known_hosts=keys / "known_hosts",
        alias=SSH_ALIAS,
    )
    code = shell.stream(login.argv(command), timeout_s=7 * 86400.0)
    write_json(json, {"guest": entry.name, "code": code})
    if code != 0:
        raise GuestError(f"guest {entry.name}: ssh ended with code {code}")


@lab_task(positional=["name"])
def console(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    name: str | None = None,
    log: bool = False,
) -> None:
    """Attach to a guest's serial console, Ctrl-] leaves (--log: print what it said)."""
    from orrery.guest.console import attach

    guests = lab(inventory, extra).guests()
    entry = guests.registry.entry(name or "")
    folder = guests.registry.of(entry.name)
    said = (folder / "console.log").read_text(encoding="utf-8", errors="replace")
    write_json(json, {"guest": entry.name, "log": said.splitlines()})
    if log:
        sys.stdout.write(said)
        return
    print(f"console of {entry.name}; Ctrl-] leaves, Enter shows the prompt", file=sys.stderr)
    attach(folder / "console.sock", entry.name)


@lab_task(positional=["name"])
def queues(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    name: str | None = None,
) -> None:
    """Show packets and interrupts of each queue pair, and the core that polls it."""
    from orrery.guest import queues as queue_pairs
    from orrery.guest import show

    this = lab(inventory, extra)
    guests = this.guests()
    entry = guests.registry.entry(name or "")
    found = queue_pairs.look(guests, entry)
    show.queue_pairs(found)
    picture = this.settings.checkout / ".lab" / "pictures" / f"queues-{entry.name}.png"
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        queue_pairs.draw(found, picture)
    except OSError as error:
        raise HostError(f"{picture}: cannot be written: {error.strerror}") from error
    print(f"picture: {picture}")
    write_json(json, {**found.as_mapping(), "picture": str(picture)})


@lab_task
def cpu(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    work: str = DEFAULT_WORK,
    trials: str = "5",
) -> None:
    """Run one CPU job on the host, under KVM where it works, and under TCG."""
    from orrery.guest import accel
    from orrery.guest import cpu as cpu_job
    from orrery.guest.machine import Accel

    scenario = cpu_job.CpuScenario(
        work=params.integer("work", work, low=10, high=100_000),
        trials=params.integer("trials", trials, low=1, high=1000),
    )
    this = lab(inventory, extra)
    guests = this.guests()
    verdict = accel.decide(guests)
    accels = [Accel.TCG] if verdict.answer == Accel.TCG else [Accel.KVM, Accel.TCG]
    _recorded(
        this,
        scenario,
        (scenario.trials + 1) * (len(accels) + 1),
        accels[0],
        json,
        lambda advance: cpu_job.measure(guests, scenario, accels, advance),
        acceleration=verdict.why,
    )
    _say(verdict.why)


@lab_task
def bench(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    backend: str = Backend.VHOST_USER.value,
    trials: str = "5",
) -> None:
    """Measure boot times, the idle switch, and the outage when the switch is killed."""
    from orrery.guest import bench as guest_bench
    from orrery.guest import choose

    scenario = guest_bench.GuestScenario(
        trials=params.integer("trials", trials, low=1, high=100),
        backend=Backend(params.choice("backend", backend, ON_SWITCH)),
    )
    this = lab(inventory, extra)
    guests = this.guests()
    accel = choose.accel_of(guests)
    _recorded(
        this,
        scenario,
        3 * scenario.trials,
        accel,
        json,
        lambda advance: guest_bench.measure(guests, scenario, advance),
    )


def _recorded(
    this: Lab,
    scenario: Scenario,
    steps: int,
    accel: str,
    json: str,
    measure: Callable[[Callable[[int], object]], Any],
    **more: str,
) -> None:
    """Measure with a bar, then show, save and hand over what came out."""
    from rich.progress import Progress

    from orrery.lab.converge import exclusively
    from orrery.measure import host, record, show

    facts = this.state().facts
    # Another measurement would be disturbed, or lose its switch.
    with exclusively(this.settings, scenario.kind):
        seen, started = host.describe(), record.begin()
        with Progress(transient=True) as progress:
            bar = progress.add_task("trials", total=steps)
            figures = measure(lambda n: progress.advance(bar, n))
    summary = {**figures.summary(), **more}
    made = record.make(
        scenario,
        figures.rows(scenario),
        summary,
        started=started,
        host=seen,
        versions={name: str(facts[name]["version"]) for name in ("qemu", "ovs") if name in facts},
        accel=accel,
    )
    path = record.save(made, this.settings.records)
    show.show(made)
    write_json(json, {**summary, "record": str(path)})
