"""Waiting for what comes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(look: Callable[[], Any], what: str, timeout_s: float = 90) -> Any:
    """Look until there is something; that.

    Raises:
        AssertionError: It did not come within `timeout_s` seconds.
    """
    end = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < end, f"waited {timeout_s:g} s in vain for {what}"
        time.sleep(0.05)
    return found
