"""What roles run of ours: one JSON object is printed, or what is wrong, with its exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orrery.errors import OrreryError
from orrery.state import LabState, StateFile

Work = Callable[[argparse.Namespace], Mapping[str, Any]]


def parser(name: str) -> argparse.ArgumentParser:
    """A command line with `--state-file`; the caller adds what is its own."""
    made = argparse.ArgumentParser(prog=f"python -m {name}")
    made.add_argument("--state-file", type=Path, required=True)
    return made


def run(made: argparse.ArgumentParser, work: Work) -> int:
    """Do the work of a command line; the exit code."""
    options = made.parse_args()
    try:
        answer = work(options)
    except OrreryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(answer))
    return 0


def state(options: argparse.Namespace) -> LabState:
    """The lab that `--state-file` belongs to.

    Raises:
        ConfigurationError: There is no such lab, or it may not be read.
    """
    return StateFile(options.state_file).read()
