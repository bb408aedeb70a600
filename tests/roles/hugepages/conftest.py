"""One test at a time changes the kernel's pool, and finds it afterwards as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ansible.module_utils
import pytest

from tests.support import hugepages
from tests.support.hugepages import POOL

# Where Ansible would send the module_utils from.
UTILS = str(Path(__file__).resolve().parents[3] / "plugins" / "module_utils")
if UTILS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(UTILS)

OURS = "t-huge"


class Pool:
    """The kernel's pool of 2 MB pages."""

    def size(self) -> int:
        """Pages of it; labs that are none of ours may come and go."""
        return hugepages.size(OURS)

    def read(self, name: str) -> int:
        """One of its numbers."""
        return int((POOL / f"{name}_hugepages").read_text())

    def add(self, pages: int) -> None:
        """What a user does who needs more or fewer."""
        persistent = self.read("nr") - self.read("surplus")
        (POOL / "nr_hugepages").write_text(str(persistent + pages))


@pytest.fixture(autouse=True)
def pool() -> Iterator[Pool]:
    """The kernel's pool of 2 MB pages; tests of other files wait meanwhile (labs do not)."""
    if not POOL.exists():
        pytest.skip("not here: this kernel has no huge pages of 2 MB")
    with hugepages.held():
        before = hugepages.size(OURS)
        yield Pool()
        assert hugepages.size(OURS) == before
