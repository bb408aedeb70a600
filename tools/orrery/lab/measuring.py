"""What every long measurement of `./lab` shares: progress, how it ends, and what it leaves."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from orrery.errors import OrreryError
from orrery.measure import quiet
from orrery.measure.journal import TRIAL, Journal
from orrery.measure.record import Record
from orrery.report import pages

Tell = Callable[[int, int, str, Hashable], object]
"""Gets steps that are done, all of them, what is next, and what a line is said for but once."""
Say = Callable[[str], object]


@contextmanager
def interruptible() -> Iterator[None]:
    """Have a hang-up and a request to end do what Ctrl-C does: take away what is there."""
    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(one, _as_interrupt) for one in signals]
    try:
        yield
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)


@contextmanager
def resumable(
    console: Console, journal: Journal, task: str, asked: Sequence[str], what: str
) -> Iterator[None]:
    """Say how to go on, whatever ends the run, as long as there is something to go on from.

    Args:
        console: Where it is said.
        journal: Of the run; one without a finished trial is removed.
        task: Of `./lab`.
        asked: Its options.
        what: What is kept, `trials`.
    """
    try:
        yield
    except BaseException:
        if any(entry["what"] == TRIAL for entry in journal.entries):
            words = ["./lab", task, *asked, "--resume", str(journal.path)]
            console.print(
                f"Finished {what} are kept. Go on with:\n  {shlex.join(words)}",
                soft_wrap=True,
                markup=False,
            )
        else:
            journal.path.unlink(missing_ok=True)
        raise


@contextmanager
def progress(console: Console, what: str) -> Iterator[tuple[Tell, Say]]:
    """A bar on a terminal, a line for each block elsewhere; `what` is what is counted."""
    if not console.is_terminal:
        yield _lines(console, what), lambda text: console.print(text, soft_wrap=True, markup=False)
        return
    columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def tell(done: int, total: int, text: str, key: Hashable) -> None:
            del key
            bar.update(task, completed=done, total=total, description=text)

        yield tell, lambda text: bar.console.print(text, soft_wrap=True, markup=False)


def sampling(tell: Tell, work: quiet.Work) -> Tell:
    """Have a look at the host before each step is told and begins."""

    def sampled(done: int, total: int, text: str, key: Hashable) -> None:
        work.sample()
        tell(done, total, text, key)

    return sampled


def say_work(console: Console, made: Record) -> None:
    """Say whether the host was quiet, where that is known."""
    said = quiet.sentence(made.host.get("work", {}))
    if said:
        console.print(said, soft_wrap=True, markup=False)


def page(console: Console, made: Record, path: Path, folder: Path) -> Path | None:
    """Write the page of a record; None where it cannot be written, which is said."""
    try:
        found = pages.write(made, path, folder)
    except OrreryError as error:
        console.print(f"no page: {error}", soft_wrap=True, markup=False)
        return None
    console.print(f"page:   {found}", soft_wrap=True, markup=False)
    return found


def versions(facts: Mapping[str, Any]) -> dict[str, str]:
    """Versions of what a measurement of guests uses, as the state file has them."""
    names = ("qemu", "ovs", "dpdk", "testpmd")
    found = {name: str(facts[name]["version"]) for name in names if name in facts}
    tools = facts.get("traffic_tools")
    found |= {name: str(version) for name, version in dict(tools or {}).items()}
    image = facts.get("guest_image") or {}
    if image.get("kernel_version"):
        found["guest kernel"] = str(image["kernel_version"])
    return found


def duration(seconds: float) -> str:
    """A time for people, `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _as_interrupt(number: int, frame: object) -> None:
    """Pass a signal on as Ctrl-C, which asyncio ends its work for in good order.

    A shell starts what stands in the background with Ctrl-C ignored; it ends by an exception then.

    Raises:
        KeyboardInterrupt: Ctrl-C is ignored.
    """
    del number, frame
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _lines(console: Console, what: str) -> Tell:
    said: set[Hashable] = set()

    def tell(done: int, total: int, text: str, key: Hashable) -> None:
        if key not in said:
            said.add(key)
            console.print(f"{done} of {total} {what}: {text}", soft_wrap=True, markup=False)

    return tell
