"""One exception tree; the class decides the exit code (DESIGN 5b).

The text of an error is shown to the user as it is: what was found, what is needed, what to do.
"""

from __future__ import annotations


class OrreryError(Exception):
    """Base of every error that is meant for the user."""

    exit_code = 1


class UsageError(OrreryError):
    """The command line is off."""

    exit_code = 1


class ConfigurationError(OrreryError):
    """A variable, an inventory or a configuration file is wrong."""

    exit_code = 2


class HostError(OrreryError):
    """The host refuses or lacks something."""

    exit_code = 3


class GuestError(OrreryError):
    """A guest or the lab's VM failed."""

    exit_code = 4


class MeasurementError(OrreryError):
    """A measurement could not be made or does not hold."""

    exit_code = 5


class FunctionError(OrreryError):
    """The functions engine or an action failed."""

    exit_code = 6


class TrainingError(OrreryError):
    """Training failed."""

    exit_code = 7


class VerifyError(OrreryError):
    """Something that was promised does not hold."""

    exit_code = 20


INTERRUPTED = 130
"""Exit code after Ctrl-C."""
