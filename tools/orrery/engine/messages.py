"""Every text of the API: clients and their tests compare them, so they are OpenWhisk's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

CHALLENGE: Final = 'Basic realm="OpenWhisk secure realm"'
AUTH_MISSING: Final = (
    "The resource requires authentication, which was not supplied with the request"
)
AUTH_INVALID: Final = "The supplied authentication is invalid"

PATH_UNKNOWN: Final = "The requested resource could not be found."
RESOURCE_MISSING: Final = "The requested resource does not exist."
RESOURCE_EXISTS: Final = "resource already exists"
CONFLICT: Final = "Concurrent modification to resource detected."
INTERNAL: Final = "There was an internal server error."
OVERLOADED: Final = "System is overloaded, try again later."
STOPPING: Final = "The engine is stopping, try again later."

NAME_ILLEGAL: Final = "The name of the entity contains illegal characters."
NAMESPACE_ILLEGAL: Final = "The namespace contains illegal characters."
ACTIVATION_ID_ILLEGAL: Final = "The activation id is not valid."
EXEC_UNDEFINED: Final = "exec undefined"
PARAMETERS_NOT_ALLOWED: Final = (
    "Request defines parameters that are not allowed (e.g., reserved properties)."
)
DOCS_WITH_COUNT: Final = "The parameter 'docs' is not permitted with 'count'."

NOT_AN_OBJECT: Final = "Object expected"
TOO_DEEP: Final = "the JSON is nested too deeply"
BODY_TIMEOUT: Final = "The request's body did not arrive in time."

ENGINE_STOPPED: Final = "The engine was stopped before this activation had finished."
ENGINE_FAILED: Final = "The engine failed while it ran this activation."
LOGS_LOST: Final = "The engine stopped before this log was collected. Log data might be missing."
INVALID_RESULT: Final = (
    "The action did not produce a valid JSON or JSON Array response: "
    "it has a number or a text that JSON cannot hold."
)


def malformed(reason: str) -> str:
    """Text of a body that does not fit."""
    return f"The request content was malformed:\n{reason}"


def malformed_query(name: str, reason: str) -> str:
    """Text of a query parameter that does not fit."""
    return f"The query parameter '{name}' was malformed:\n{reason}"


def not_a_boolean(value: str) -> str:
    """Reason for a switch that is neither on nor off."""
    return f"'{value}' is not a valid Boolean value"


def not_an_integer(collection: str, value: str) -> str:
    """Reason for a number that is none."""
    return f"The value '{value}' is not an integer for {collection}."


def limit_out_of_range(collection: str, value: int, high: int) -> str:
    """Reason for a list limit outside its range."""
    return f"The value '{value}' is not in the range of 0 to {high} for {collection}."


def skip_out_of_range(collection: str, value: int) -> str:
    """Reason for a negative skip."""
    return f"The value '{value}' is not greater than or equal to 0 for {collection}."


def bad_epoch(value: str) -> str:
    """Reason for a point in time that is none."""
    return f"Parameter is not a valid value for epoch seconds: {value}"


def bad_name_filter(value: str) -> str:
    """Reason for an action name to list by that is none."""
    return f"Parameter may be a 'simple' name or 'package-name/simple' name: {value}"


def bad_timeout(high_ms: int) -> str:
    """Reason for a waiting time outside its range."""
    return f"Timeout must be number of milliseconds up to {high_ms}."


def not_authorized(resource: str) -> str:
    """Text for a namespace that is somebody else's."""
    return f"The supplied authentication is not authorized to access '{resource}'."


def name_too_long(field: str, found: int, allowed: int) -> str:
    """Text for a name over its length."""
    return f"{field} longer than allowed: {found} > {allowed}."


def activation_id_length(found: int) -> str:
    """Text for an activation id of a wrong length."""
    return f"Activation id length is {found} but must be 32."


def too_large(field: str, found: int, allowed: int) -> str:
    """Text for bytes over their limit."""
    return f"{field} larger than allowed: {found} > {allowed} bytes."


def too_many_requests(count: int, allowed: int) -> str:
    """Text of the throttle per minute."""
    return f"Too many requests in the last minute (count: {count}, allowed: {allowed})."


def too_many_in_flight(count: int, allowed: int) -> str:
    """Text of the throttle of activations in flight."""
    return f"Too many concurrent requests in flight (count: {count}, allowed: {allowed})."


def method_not_allowed(methods: Iterable[str]) -> str:
    """Text of a method that a path does not take."""
    return f"HTTP method not allowed, supported methods: {', '.join(methods)}"


def media_type(found: str) -> str:
    """Text of a body that is not JSON."""
    return f"The request's Content-Type [{found}] is not supported. Expected:\napplication/json"


def kind_unknown(kind: str, known: Iterable[str]) -> str:
    """Reason for a kind that this engine does not have."""
    valid = ", ".join(f"'{name}'" for name in known)
    return (
        f"The specified runtime '{kind}' is not supported by this platform. "
        f"Valid values are: {valid}."
    )


def below(name: str, value: int, unit: str, low: int) -> str:
    """Reason for a limit under its range."""
    space = f" {unit}" if unit else ""
    return f"requirement failed: {name} {value}{space} below allowed threshold of {low}{space}"


def above(name: str, value: int, unit: str, high: int) -> str:
    """Reason for a limit over its range."""
    space = f" {unit}" if unit else ""
    return f"requirement failed: {name} {value}{space} exceeds allowed threshold of {high}{space}"


def store_failed(reason: str) -> str:
    """Text of a request whose record cannot be written."""
    return f"The engine cannot write to its database: {reason}. Reading still works."
