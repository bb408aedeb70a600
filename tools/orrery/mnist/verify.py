"""Ten real digits through the API, and the same ten inverted; all twenty have to be right.

`python -m orrery.mnist.verify --apihost URL --credentials FILE --files-url URL` prints one JSON
object. Exit code 20 and a sentence say what does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from orrery.errors import FunctionError, OrreryError, VerifyError
from orrery.mnist import api
from orrery.mnist.images import CLASSES
from orrery.whisk import credentials
from orrery.whisk.client import WhiskClient

FOLDERS = ("digits", "digits-inverted")


async def verify(client: WhiskClient, files_url: str, action: str = api.ACTION) -> dict[str, Any]:
    """Classify the samples on the file server, one call each.

    Returns:
        `summary`, `right`, `count` and what was recognised, by folder.

    Raises:
        VerifyError: One is wrong, or was not classified at all.
    """
    found: dict[str, list[int]] = {}
    for folder in FOLDERS:
        found[folder] = []
        for digit in range(CLASSES):
            url = f"{files_url.rstrip('/')}/mnist/{folder}/{digit}.png"
            try:
                answer = await api.classify(client, {"url": url}, action)
            except FunctionError as error:
                raise VerifyError(f"{url} was not classified: {error}") from error
            found[folder].append(answer.res)
    wrong = [
        f"{folder}/{digit}.png was read as {read}"
        for folder, digits in found.items()
        for digit, read in enumerate(digits)
        if read != digit
    ]
    if wrong:
        raise VerifyError(f"{len(wrong)} of {2 * CLASSES} digits are wrong: {', '.join(wrong)}")
    summary = f"{CLASSES} of {CLASSES} digits right, {CLASSES} of {CLASSES} inverted"
    return {"summary": summary, "right": 2 * CLASSES, "count": 2 * CLASSES, "res": found}


async def _run(options: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    auth = credentials.read(options.credentials).auth
    async with WhiskClient(options.apihost, auth) as client:
        result = await verify(client, options.files_url, options.action)
    return {**result, "seconds": round(time.monotonic() - began, 3)}


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m orrery.mnist.verify", description=__doc__)
    parser.add_argument("--apihost", required=True, help="URL of the functions API")
    parser.add_argument("--credentials", type=Path, required=True, help="file of uuid and key")
    parser.add_argument("--files-url", required=True, help="URL of the file server")
    parser.add_argument("--action", default=api.ACTION, help="name of the action")
    try:
        result = asyncio.run(_run(parser.parse_args(argv)))
    except OrreryError as error:
        print(error, file=sys.stderr)
        return VerifyError.exit_code
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
