"""python -m orrery.engine --config FILE [--check]."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from orrery.engine import config
from orrery.errors import OrreryError


def main(argv: Sequence[str] | None = None) -> int:
    """Check the configuration and run; return the exit code (2 configuration, 3 host)."""
    parser = argparse.ArgumentParser(
        prog="python -m orrery.engine",
        description="The embedded engine: OpenWhisk's REST API for one machine.",
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="check the configuration and exit")
    options = parser.parse_args(argv)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        settings = config.load(options.config)
        if options.check:
            return 0
        # The server's libraries are not needed for a check.
        from orrery.engine.server import serve

        serve(settings)
    except OrreryError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
