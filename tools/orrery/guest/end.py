"""What `./lab down` runs first: end all guests and remove what a killed lab left of them."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from orrery import program
from orrery.guest.lifecycle import Guests


def end(options: argparse.Namespace) -> dict[str, Any]:
    """End them; `changed`, and the names of those that ran."""
    removed: list[str] = []
    ended = Guests(program.state(options), say=removed.append).stop_all()
    return {"changed": bool(ended or removed), "ended": ended}


if __name__ == "__main__":
    sys.exit(program.run(program.parser("orrery.guest.end"), end))
