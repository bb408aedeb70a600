"""What the role guest_image runs: has the image, and a lab's keys.

`python -m orrery.guest.image build --cache DIR --source DIR` prints one JSON object: `changed`, and
where kernel, initial file system and probe are. Where the host lacks a program the object holds
`needs`, the packages that have it, and the exit code is 3.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from orrery.errors import INTERRUPTED, HostError, OrreryError
from orrery.guest.image import build, contents, keys, packages
from orrery.guest.image.needs import MissingProgramError
from orrery.packages import apt


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    options = _parser().parse_args(argv)
    # As Ctrl-C: what is half done is taken away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    try:
        answer = _build(options)
    except MissingProgramError as error:
        print(json.dumps({"changed": False, "needs": [*error.packages, *_also(options, error)]}))
        print(error, file=sys.stderr)
        return error.exit_code
    except OrreryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"guest image: {error.filename}: {error.strerror}.", file=sys.stderr)
        return HostError.exit_code
    except KeyboardInterrupt:
        print("guest image: interrupted; no half image is left.", file=sys.stderr)
        return INTERRUPTED
    print(json.dumps({**answer, "seconds": round(time.monotonic() - began, 3)}))
    return 0


def _build(options: argparse.Namespace) -> dict[str, object]:
    source_of = packages.Apt(options.cache / "guest", options.mirror, options.proxy)
    if options.check and not options.source.exists():
        return {"changed": True, "note": f"{options.source} is not there yet."}
    source = contents.load(options.source)
    try:
        image = build.ensure(source, source_of, offline=options.offline, check=options.check)
    except apt.UnreachableError as error:
        if not options.check:
            raise
        return {"changed": True, "note": str(error)}
    answer = image.as_json()
    if options.keys is None:
        return answer
    made = keys.ensure(options.keys, options.lab_name, check=options.check)
    return {**answer, "changed": answer["changed"] or made, "keys": str(options.keys)}


def _also(options: argparse.Namespace, error: MissingProgramError) -> list[str]:
    """What else would be missed later on, so that one installation does."""
    wanted = {keys.KEYGEN: keys.KEYGEN_PACKAGES} if options.keys is not None else {}
    if "ubuntu" in apt.read_os_release(apt.OS_RELEASE).values():
        wanted["zstd"] = ("zstd",)
    missing = [names for program, names in wanted.items() if shutil.which(program) is None]
    return [name for names in missing for name in names if name not in error.packages]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orrery.guest.image", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("build", help="have the image of these inputs")
    command.add_argument("--cache", type=Path, required=True, help="folder that labs share")
    command.add_argument("--source", type=Path, required=True, help="the role's files")
    command.add_argument("--keys", type=Path, help="folder of the lab's keys; has these, too")
    command.add_argument("--lab-name", default="orrery", help="named in the keys")
    command.add_argument("--mirror", default="", help="mirror instead of the host's apt sources")
    command.add_argument("--proxy", default="", help="HTTP proxy in front of it")
    command.add_argument("--offline", action="store_true", help="fetch nothing")
    command.add_argument("--check", action="store_true", help="only say what would be made")
    return parser


if __name__ == "__main__":
    sys.exit(main())
