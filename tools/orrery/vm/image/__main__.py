"""What the role vm runs to have an image.

`python -m orrery.vm.image ensure --name NAME --catalogue FILE --cache DIR` prints one JSON object:
`changed`, `note` and `image`. Where the host lacks a program the object holds `needs`, the packages
that have it, and the exit code is 3.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from orrery.errors import INTERRUPTED, HostError, OrreryError
from orrery.guest.image.needs import MissingProgramError
from orrery.mnist.download import Network
from orrery.vm.image import catalogue
from orrery.vm.image.choose import WAYS, Chooser, Wish
from orrery.vm.image.mirrors import Host
from orrery.vm.image.store import Store


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    options = _parser().parse_args(argv)
    # As Ctrl-C: what is half done is taken away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    try:
        answer = _ensure(options)
    except MissingProgramError as error:
        print(json.dumps({"changed": False, "needs": list(error.packages)}))
        print(error, file=sys.stderr)
        return error.exit_code
    except OrreryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"VM image: {error.filename}: {error.strerror}.", file=sys.stderr)
        return HostError.exit_code
    except KeyboardInterrupt:
        print("VM image: interrupted; no half image is left.", file=sys.stderr)
        return INTERRUPTED
    print(json.dumps({**answer, "seconds": round(time.monotonic() - began, 3)}))
    return 0


def _ensure(options: argparse.Namespace) -> dict[str, object]:
    network = Network(options.proxy, options.ca_bundle)
    chooser = Chooser(
        catalogue.load(options.catalogue), Store(options.cache), Host(options.mirror, network)
    )
    wish = Wish(
        name=options.name,
        method=options.method,
        source=options.source,
        checksum=options.checksum,
        packages=tuple(options.package),
        offline=options.offline,
        check=options.check,
    )
    return chooser.ensure(wish).as_json()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orrery.vm.image", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("ensure", help="have an image")
    command.add_argument("--name", required=True, help="of the image, as the catalogue has it")
    command.add_argument("--catalogue", type=Path, required=True, help="vm_images as JSON")
    command.add_argument("--cache", type=Path, required=True, help="folder that labs share")
    command.add_argument("--method", choices=WAYS, default="auto", help="how it is had")
    command.add_argument("--source", default="", help="path or URL of a disk to take instead")
    command.add_argument("--checksum", default="", help="SHA-256 or SHA-512 of that disk")
    command.add_argument(
        "--package", action="append", default=[], help="further one in a bootstrapped image"
    )
    command.add_argument("--mirror", default="", help="mirror instead of the host's apt sources")
    command.add_argument("--proxy", default="", help="HTTP proxy for all that is fetched")
    command.add_argument("--ca-bundle", default="", help="certificates to trust besides")
    command.add_argument("--offline", action="store_true", help="fetch nothing")
    command.add_argument("--check", action="store_true", help="only say what would be made")
    return parser


if __name__ == "__main__":
    sys.exit(main())
