"""Where the API is and as whom to use it: the lab's own, or what the command line says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orrery import params
from orrery.errors import ConfigurationError
from orrery.whisk import credentials
from orrery.whisk.client import WhiskClient, base_url


class LabAccess(Protocol):
    """What is asked of a lab."""

    @property
    def api_url(self) -> str:
        """Base URL of its functions API."""

    def credentials(self) -> str:
        """`uuid:key` of its user."""


@dataclass(frozen=True)
class Access:
    """How to reach one host: URL, `uuid:key`, certificates to trust."""

    apihost: str
    auth: str = field(repr=False)
    ca_file: Path | None = None

    def client(self, connections: int) -> WhiskClient:
        """A client for it."""
        return WhiskClient(self.apihost, self.auth, ca_file=self.ca_file, connections=connections)


def find(this: LabAccess, apihost: str, auth: str, ca_file: str) -> Access:
    """The host to look at; what is not given is the lab's own.

    Raises:
        ConfigurationError: The lab is not up, or a host is named without credentials.
        UsageError: The file of certificates is missing.
    """
    certificates = params.path("ca-file", ca_file, exists=True) if ca_file else None
    if apihost:
        return other("apihost", apihost, auth, certificates)
    key = credentials.given(auth).auth if auth else this.credentials()
    return Access(base_url(this.api_url), key, certificates)


def other(option: str, apihost: str, auth: str, certificates: Path | None) -> Access:
    """A host that is not the lab's: the lab's own key is never sent there.

    Raises:
        ConfigurationError: There are no credentials for it.
    """
    if not auth:
        needed = "--auth" if option == "apihost" else f"--{option}-auth"
        raise ConfigurationError(
            f"--{option} {apihost} needs {needed}: uuid:key of a user there, or a file with it"
        )
    return Access(base_url(apihost), credentials.given(auth).auth, certificates)
