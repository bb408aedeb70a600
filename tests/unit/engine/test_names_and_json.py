from __future__ import annotations

import pytest

from orrery.engine import jsons, names
from orrery.engine.errors import BadRequestError, MalformedError


@pytest.mark.parametrize("name", ["a", "_x", "hello world", "a@b.c&d-e", "9", "x" * 256])
def test_names_of_openwhisk_are_taken(name: str) -> None:
    assert names.check_entity_name(name) == name


@pytest.mark.parametrize("name", ["", " a", "a ", "-a", "a/b", "a\n", "naïve", "a$", "a\0"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        names.check_entity_name(name)
    assert caught.value.message == "The name of the entity contains illegal characters."


def test_a_long_name_says_its_length() -> None:
    with pytest.raises(BadRequestError) as caught:
        names.check_entity_name("x" * 257)
    assert caught.value.message == "Entity name longer than allowed: 257 > 256."


def test_activation_ids_grow_with_time_and_differ() -> None:
    made = [names.new_activation_id() for _ in range(100)]
    assert len(set(made)) == 100
    assert [text[:12] for text in made] == sorted(text[:12] for text in made)
    assert all(names.check_activation_id(text) == text for text in made)


@pytest.mark.parametrize("given", [None, "", "sid_1", "a b", "x" * 200, "a\r\nb"])
def test_a_transaction_id_that_cannot_be_used_is_replaced(given: str | None) -> None:
    found = names.transaction_id(given)
    assert len(found) == 32
    assert found.isalnum()


def test_a_transaction_id_of_the_client_stays() -> None:
    assert names.transaction_id("client-1") == "client-1"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "Expecting property name"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[1e999]", "a number is too large"),
        (b"[" + b"9" * 400 + b".0]", "a number is too large"),
        (b"\xff", "the body is not UTF-8 (byte 0)"),
        (b"[" * 100_000, "the JSON is nested too deeply"),
        (b"[" * 600 + b"]" * 600, "the JSON is nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "Exceeds the limit"),
    ],
)
def test_json_that_is_none_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        jsons.decode(body)
    assert caught.value.message.startswith(f"The request content was malformed:\n{reason}")


def test_wide_json_is_no_deep_json() -> None:
    assert len(jsons.decode(b"[" + b"[1]," * 5000 + b"{}]")) == 5001
    assert jsons.decode(b"[" * 400 + b"]" * 400)


def test_half_a_surrogate_pair_survives() -> None:
    assert jsons.decode(jsons.encode({"a": "\ud800"})) == {"a": "\ud800"}


def test_text_is_encoded_compactly_in_utf8() -> None:
    assert jsons.encode({"a": ["é", 1]}) == '{"a":["é",1]}'.encode()


def test_infinity_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        jsons.encode([float("inf")])
