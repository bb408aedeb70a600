"""Who is calling: Basic authentication with uuid and key."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence

from orrery.engine import messages
from orrery.engine.config import User
from orrery.engine.errors import UnauthorizedError


class Users:
    """The users of the engine, found by their credentials."""

    def __init__(self, users: Sequence[User]) -> None:
        self._by_uuid = {user.uuid: (user, user.key.encode()) for user in users}
        # Compared with where the uuid is unknown, so that both cases take the same time.
        self._nobody = secrets.token_urlsafe(48).encode()

    def authenticate(self, header: str | None) -> User:
        """The user behind an Authorization header.

        Raises:
            UnauthorizedError: There is none, or its credentials are wrong.
        """
        if not header:
            raise UnauthorizedError(messages.AUTH_MISSING)
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            raise UnauthorizedError(messages.AUTH_MISSING)
        try:
            credentials = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise UnauthorizedError(messages.AUTH_INVALID) from None
        uuid, _, key = credentials.partition(b":")
        user, expected = self._by_uuid.get(uuid.decode("utf-8", "replace"), (None, self._nobody))
        if not hmac.compare_digest(key, expected) or user is None:
            raise UnauthorizedError(messages.AUTH_INVALID)
        return user
