"""What the role mnist_data runs: MNIST into the cache, files and sample pictures into a folder.

`python -m orrery.mnist.prepare --source URL --cache DIR --folder DIR` prints one JSON object:
`changed`, and what was made. Nothing is written that is already there and undamaged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from orrery.errors import OrreryError
from orrery.mnist import data, images
from orrery.mnist.download import Network


def prepare(
    sources: Sequence[str], cache: Path, folder: Path, network: Network, *, check: bool = False
) -> list[str]:
    """See to it that cache and folder hold everything.

    Args:
        sources: Where MNIST may come from, see `data.ensure`.
        cache: Folder of the four checked files.
        folder: Folder that the file server serves.
        network: Proxy and certificates.
        check: Only say what would be made; without the cache that is everything.

    Returns:
        Paths that were made, or would be.

    Raises:
        OrreryError: MNIST cannot be had.
    """
    if check:
        missing = [p.value.packed for p in data.Part if not data.is_intact(p, cache)]
        if missing:
            return [str(cache / name) for name in missing]
        made = []
    else:
        made = [str(cache / name) for name in data.ensure(sources, cache, network=network)]
    for name, content in wanted(cache).items():
        path = folder / name
        if path.is_file() and path.read_bytes() == content:
            continue
        made.append(str(path))
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The file server is another user, whatever the umask says.
            path.parent.chmod(0o755)
            data.write_atomically(path, content)
    return made


def wanted(cache: Path) -> dict[str, bytes]:
    """Everything that is served, by its path below the folder."""
    served = {part.value.packed: (cache / part.value.packed).read_bytes() for part in data.Part}
    return served | images.samples(data.load(cache, train=False))


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m orrery.mnist.prepare", description=__doc__)
    parser.add_argument("--source", action="append", default=[], help="URL or folder; repeatable")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the checked files")
    parser.add_argument("--folder", type=Path, required=True, help="folder to serve")
    parser.add_argument("--proxy", default="", help="HTTP proxy")
    parser.add_argument("--ca-bundle", default="", help="further certificates to trust")
    parser.add_argument("--check", action="store_true", help="only say what would be made")
    options = parser.parse_args(argv)
    network = Network(options.proxy, options.ca_bundle)
    try:
        made = prepare(options.source, options.cache, options.folder, network, check=options.check)
    except OrreryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 3
    print(json.dumps({"changed": bool(made), "made": made}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
