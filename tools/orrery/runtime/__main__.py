"""Serves one action on port 8080: `python3 -m orrery.runtime`."""

from __future__ import annotations

import argparse
import socket

from orrery.runtime.action import Runtime
from orrery.runtime.server import listen, serve


def main() -> None:
    """Read the command line and serve until the container is stopped."""
    parser = argparse.ArgumentParser(prog="orrery.runtime", description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--fd", type=int, help="serve this listening socket instead of a port")
    options = parser.parse_args()
    given = options.fd is not None
    serve(socket.socket(fileno=options.fd) if given else listen(options.port), Runtime())


if __name__ == "__main__":
    main()
