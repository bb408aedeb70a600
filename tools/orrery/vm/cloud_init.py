"""What cloud-init came to in a machine, in its own words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from orrery import shell
from orrery.errors import GuestError

RESULT = "/run/cloud-init/result.json"
OUTPUT = "/var/log/cloud-init-output.log"
OUTPUT_LINES = 15
# Its own program costs seconds under emulation; the file is there as soon as it is done.
FINISHED = f"test -e {RESULT} || cloud-init status --wait >/dev/null 2>&1; cat {RESULT}"
SAID = f"sudo -n tail -n {OUTPUT_LINES} {OUTPUT}"

Command = Callable[[str], shell.Completed]


def finish(name: str, command: Command) -> None:
    """Wait until cloud-init is done in a machine.

    Args:
        name: Of the machine, for messages.
        command: Runs a command line in it.

    Raises:
        GuestError: It failed, or says nothing.
    """
    try:
        answer = command(FINISHED).stdout
    except shell.CommandError as error:
        why = "in time (vm_ready_timeout_s)"
        if error.returncode is not None:
            why = f"and ssh ended with code {error.returncode}: {str(error).splitlines()[-1]}"
        raise GuestError(f"VM {name}: SSH answers, cloud-init is not done {why}") from error
    errors = parse(answer)
    if not errors:
        return
    try:
        said = command(SAID).stdout.strip()
    except shell.CommandError as error:
        said = f"(its output cannot be read: {error})"
    raise GuestError(
        f"VM {name}: cloud-init failed: {'; '.join(errors)}\nThe end of {OUTPUT}:\n{said}"
    )


def parse(text: str) -> tuple[str, ...]:
    """The errors in the text of its result.

    Raises:
        GuestError: It is none.
    """
    try:
        data: Mapping[str, Any] = json.loads(text)["v1"]
        return tuple(str(one) for one in data.get("errors") or ())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GuestError(f"cloud-init's result is none ({error!r}): {text[:200]}") from error
