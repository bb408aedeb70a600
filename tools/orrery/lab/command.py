"""What every task of `./lab` shares: options, errors as one line, exit codes, JSON files."""

from __future__ import annotations

import functools
import inspect
import json as json_module
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabric import task
from invoke.exceptions import Exit

from orrery import params
from orrery.errors import INTERRUPTED, ConfigurationError, HostError, OrreryError
from orrery.lab import settings as lab_settings
from orrery.state import LabState

if TYPE_CHECKING:
    from orrery.guest.lifecycle import Guests


class Lab:
    """The lab that a task's options name."""

    def __init__(self, settings: lab_settings.Settings) -> None:
        self.settings = settings

    def state(self) -> LabState:
        """The lab's state.

        Raises:
            ConfigurationError: There is no such lab, or it may not be read.
        """
        return self.settings.state()

    def guests(self) -> Guests:
        """The lab's guests; what is to be known of them goes to standard error.

        Raises:
            HostError: We are not root.
            ConfigurationError: There is no such lab.
        """
        # Tasks without guests do not wait for it.
        from orrery.guest.lifecycle import Guests

        if os.geteuid() != 0:
            raise HostError(
                "guests, their taps and the switch belong to root: run the command with sudo"
            )
        return Guests(self.state(), say=lambda text: print(text, file=sys.stderr))

    def fact(self, name: str) -> Any:
        """A fact that `up` wrote down.

        Raises:
            ConfigurationError: `up` did not get that far.
        """
        facts = self.state().facts
        if name not in facts:
            raise ConfigurationError(
                f"{self.settings.state_file.path}: '{name}' is not there; the lab is not complete. "
                "Run ./lab up."
            )
        return facts[name]

    @property
    def api_url(self) -> str:
        """Base URL of the functions API, `http://127.0.0.1:3233`."""
        return str(self.fact("api_url"))

    @property
    def files_url(self) -> str:
        """Base URL of the file server."""
        return str(self.fact("files_url"))

    @property
    def credentials_file(self) -> Path:
        """File with the API's credentials."""
        return Path(str(self.fact("credentials_file")))

    def credentials(self) -> str:
        """`uuid:key` of the lab's user.

        Raises:
            ConfigurationError: The file cannot be read.
        """
        path = self.credentials_file
        try:
            data = json_module.loads(path.read_text(encoding="utf-8"))
            return f"{data['uuid']}:{data['key']}"
        except PermissionError:
            raise ConfigurationError(
                f"{path}: only root may read the credentials. Run the command with sudo."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{path}: credentials cannot be read: {error}") from error


def lab(inventory: str, extra: Sequence[str]) -> Lab:
    """The lab that the shared options name.

    Raises:
        ConfigurationError: The inventory or a file of variables is off.
    """
    return Lab(lab_settings.load(inventory, extra))


def write_json(path: str, mapping: Mapping[str, Any]) -> None:
    """Write a task's result where `--json` says; nothing where it is empty.

    Raises:
        UsageError: `path` is blank.
        ConfigurationError: It cannot be written.
    """
    if not path:
        return
    target = params.path("json", path)
    try:
        target.write_text(json_module.dumps(mapping, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--json {target}: {error.strerror}") from error


def lab_task(
    function: Callable[..., Any] | None = None,
    *,
    positional: Sequence[str] = (),
    name: str = "",
    default: bool = False,
) -> Any:
    """Make a Fabric task of a function `(c, inventory="", extra=(), json="", ...)`.

    An `OrreryError` becomes one text on standard error and its exit code, Ctrl-C one line and 130.
    """
    if function is None:
        return functools.partial(lab_task, positional=positional, name=name, default=default)

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except OrreryError as error:
            raise Exit(f"error: {error}", code=error.exit_code) from error
        except KeyboardInterrupt:
            # It may have come where asyncio begins or ends its work: nobody awaits that any more.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            raise Exit("interrupted", code=INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output went away; nothing more can be said to it.
            sys.stderr.close()
            raise Exit(code=1) from None

    # Invoke takes an option's type from its default, and would build a tuple letter by letter.
    signature = inspect.signature(function)
    parameters = [
        p.replace(default=None) if p.name == "extra" else p for p in signature.parameters.values()
    ]
    guarded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined] # functions have it
    options: dict[str, Any] = {"iterable": ["extra"], "positional": list(positional)}
    if name:
        options["name"] = name
    if default:
        # `./lab bench` is `./lab bench.run`.
        options["default"] = True
    return task(guarded, **options)
