"""What the role `guests` runs: decide by trying how guests run here."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from orrery import program
from orrery.guest import accel, interrupts
from orrery.guest.lifecycle import Guests
from orrery.guest.machine import Accel


def decide(options: argparse.Namespace) -> dict[str, Any]:
    """The facts `acceleration`, `acceleration_why` and `interrupts_why`."""
    guests = Guests(program.state(options))
    chosen = accel.decide(guests, options.accel)
    queues = interrupts.decide(guests, Accel(chosen.answer))
    return {
        "acceleration": {"wanted": options.accel, "chosen": chosen.answer},
        "acceleration_why": chosen.why,
        "interrupts_why": queues.why,
    }


if __name__ == "__main__":
    parser = program.parser("orrery.guest.decide")
    parser.add_argument("--accel", default=accel.AUTO)
    sys.exit(program.run(parser, decide))
