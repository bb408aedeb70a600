"""The action `classify`: which digit is on a picture.

Engines call `main` with the parameters of an activation; README.md beside this package says what
may be in them.
"""

from __future__ import annotations

from classify.action import main

__all__ = ["main"]
