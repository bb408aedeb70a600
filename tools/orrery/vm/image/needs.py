"""Programs of the host that making images and seeds takes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass

from orrery.guest.image.needs import MissingProgramError


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        package: Of the distribution, that has it.
        why: What it is needed for.
    """

    name: str
    package: str
    why: str

    def look_for(self) -> None:
        """Say so where it is missing.

        Raises:
            MissingProgramError: It is.
        """
        look_for([self])


MMDEBSTRAP = Program("mmdebstrap", "mmdebstrap", "a system is put together from packages")
MKE2FS = Program("mke2fs", "e2fsprogs", "it goes into a file system")
QEMU_IMG = Program("qemu-img", "qemu-utils", "disks are made")
GPG = Program("gpg", "gnupg", "signatures are checked")
ZSTD = Program("zstd", "zstd", "the distribution packs its kernel with it")


def look_for(programs: Iterable[Program]) -> None:
    """Say at once all that is missing, so that one installation does.

    Raises:
        MissingProgramError: Something is.
    """
    missing = [one for one in programs if shutil.which(one.name) is None]
    if missing:
        raise MissingProgramError(
            " and ".join(one.name for one in missing),
            tuple(dict.fromkeys(one.package for one in missing)),
            " and ".join(one.why for one in missing),
            subject="VM image",
        )
