"""Names in paths and headers: entities, kinds, activation ids, transaction ids."""

from __future__ import annotations

import re
import secrets
import time
from typing import Final

from orrery.engine import messages
from orrery.engine.errors import BadRequestError

MAX_NAME: Final = 256

_NAME = re.compile(r"\w|\w[\w@ .&-]{0,254}[\w@.&-]", re.ASCII)
_ID = re.compile(r"[0-9a-f]+")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_KIND = re.compile(r"[a-z][a-z0-9]*:[A-Za-z0-9][A-Za-z0-9.-]*")
_TRANSACTION = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)
_VERSION = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}", re.ASCII)


def is_entity_name(name: str) -> bool:
    """Whether a name may stand for an entity or a namespace."""
    return _NAME.fullmatch(name) is not None


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID with its dashes."""
    return _UUID.fullmatch(text) is not None


def is_kind(text: str) -> bool:
    """Whether a text has the form `family:version`."""
    return _KIND.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Whether a text is a semantic version of three numbers."""
    return _VERSION.fullmatch(text) is not None


def check_entity_name(name: str) -> str:
    """Return the name of an entity.

    Raises:
        BadRequestError: It is too long or has characters that are not allowed.
    """
    if len(name) > MAX_NAME:
        raise BadRequestError(messages.name_too_long("Entity name", len(name), MAX_NAME))
    if not is_entity_name(name):
        raise BadRequestError(messages.NAME_ILLEGAL)
    return name


def check_activation_id(text: str) -> str:
    """Return an activation id.

    Raises:
        BadRequestError: Its length or its characters are wrong.
    """
    if len(text) != 32:
        raise BadRequestError(messages.activation_id_length(len(text)))
    if not _ID.fullmatch(text):
        raise BadRequestError(messages.ACTIVATION_ID_ILLEGAL)
    return text


def new_activation_id() -> str:
    """Make an activation id: 48 bits of time [ms], then 80 random bits.

    Ids that grow with time keep what SQLite touches for a new row in a few hot pages, however
    many rows there are.
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def transaction_id(given: str | None) -> str:
    """The id of one request: the client's where it is usable, otherwise a new one.

    Ids that begin with `sid_` are reserved by OpenWhisk for its own.
    """
    if given and not given.startswith("sid_") and _TRANSACTION.fullmatch(given):
        return given
    return secrets.token_hex(16)
