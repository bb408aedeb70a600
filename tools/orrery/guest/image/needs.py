"""Programs that the host lacks, with the packages that have them."""

from __future__ import annotations

import shutil

from orrery.errors import HostError


class MissingProgramError(HostError):
    """A program is needed that the host does not have.

    Attributes:
        packages: Packages of the distribution that have it.
    """

    def __init__(
        self, what: str, packages: tuple[str, ...], why: str, subject: str = "guest image"
    ) -> None:
        self.packages = packages
        super().__init__(
            f"{subject}: {what} is not there, and is needed because {why}. "
            f"Install {' '.join(packages)}."
        )

    @classmethod
    def look_for(cls, program: str, packages: tuple[str, ...], why: str) -> None:
        """Say so where a program is missing.

        Raises:
            MissingProgramError: It is.
        """
        if shutil.which(program) is None:
            raise cls(program, packages, why)
