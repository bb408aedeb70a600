"""A connection to libvirt, whose Python bindings are there only where role `vm` has built them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from orrery.errors import HostError


class Connection:
    """A connection to libvirt; closed at the end of a `with` block."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._library = bindings()
        self._connection: Any = None

    def __enter__(self) -> Self:
        # It prints every error on its own otherwise.
        self._library.registerErrorHandler(lambda _context, _error: None, None)
        self._connection = self._do(lambda: self._library.open(self.uri), "cannot be reached")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # It may be broken, and what happened in the block counts.
        self._quietly(self._connection.close)

    def _do(self, work: Callable[[], Any], what: str) -> Any:
        """Ask for something.

        Raises:
            HostError: libvirt refuses, or does not answer.
        """
        try:
            return work()
        except self._library.libvirtError as error:
            raise HostError(f"libvirt at {self.uri} {what}: {error}") from error

    def _quietly(self, work: Callable[[], object]) -> None:
        try:
            work()
        except self._library.libvirtError:
            return


def bindings() -> Any:
    """Libvirt's Python bindings.

    Raises:
        HostError: They are not there.
    """
    try:
        return importlib.import_module("libvirt")
    except ImportError as error:
        raise HostError(
            f"libvirt's Python bindings are not there ({error}). Role vm installs them from "
            "requirements-libvirt.lock; PYTHONPATH names their folder (vm_libvirt_python_dir)."
        ) from error
