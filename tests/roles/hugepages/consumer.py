"""A program that maps huge pages of a mount and keeps them until its input ends.

Arguments: file, pages. Prints `mapped`, and `kept` at the end when all pages hold what it wrote.
"""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

PAGE = 2 << 20


def main() -> None:
    """Map, write, wait, compare."""
    path, pages = Path(sys.argv[1]), int(sys.argv[2])
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(handle, pages * PAGE)
    with mmap.mmap(handle, pages * PAGE) as memory:
        for number in range(pages):
            memory[number * PAGE] = 65 + number
        print("mapped", flush=True)
        sys.stdin.read()
        kept = all(memory[number * PAGE] == 65 + number for number in range(pages))
        print("kept" if kept else "lost", flush=True)
    path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
