from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from orrery.errors import ConfigurationError, UsageError
from orrery.whisk import access, credentials


@dataclass(frozen=True)
class Lab:
    api_url: str = "http://127.0.0.1:3233"

    def credentials(self) -> str:
        return "lab:key"


def test_credentials_are_read_from_json_and_from_text(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text(json.dumps({"uuid": "u", "key": "k", "namespace": "guest"}))
    assert credentials.read(path) == credentials.Credentials("u", "k", "guest")
    path.write_text("u:k:l\n")
    assert credentials.read(path).auth == "u:k:l"


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(credentials.Credentials("u", "secret"))
    assert "secret" not in repr(access.Access("http://x", "u:secret"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f: holds no credentials. Needed is uuid:key, or JSON with uuid and key."),
        ("u:", "f: holds no credentials. Needed is uuid:key, or JSON with uuid and key."),
        ('{"uuid": "u"}', "f: credentials need key"),
        ('{"uuid": 3, "key": ""}', "f: credentials need uuid and key"),
    ],
)
def test_what_holds_no_credentials_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        credentials.parse(text, "f")
    assert str(error.value) == message


def test_broken_json_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigurationError, match=r"f: is no valid JSON") as error:
        credentials.parse('{"key": "secret"', "f")
    assert "secret" not in str(error.value)


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        credentials.read(tmp_path / "none")
    assert str(error.value) == f"{tmp_path}/none: there are no credentials. Run ./lab up."


def test_an_option_takes_the_text_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a:b")
    assert credentials.given("u:k").auth == "u:k"
    assert credentials.given(str(path)).auth == "a:b"


def test_without_options_the_lab_is_meant() -> None:
    found = access.find(Lab(), "", "", "")
    assert (found.apihost, found.auth, found.ca_file) == ("http://127.0.0.1:3233", "lab:key", None)
    assert access.find(Lab(), "", "u:k", "").auth == "u:k"


def test_the_key_of_the_lab_is_not_sent_to_another_host() -> None:
    with pytest.raises(ConfigurationError) as error:
        access.find(Lab(), "whisk.example.org", "", "")
    assert str(error.value).startswith("--apihost whisk.example.org needs --auth: uuid:key of")
    with pytest.raises(ConfigurationError, match="--baseline x needs --baseline-auth: uuid:key of"):
        access.other("baseline", "x", "", None)


def test_another_host_is_reached_with_its_own_key() -> None:
    found = access.find(Lab(), "whisk.example.org", "u:k", "")
    assert (found.apihost, found.auth) == ("https://whisk.example.org", "u:k")


def test_a_missing_file_of_certificates_is_named() -> None:
    with pytest.raises(UsageError, match="--ca-file: there is no /none"):
        access.find(Lab(), "", "", "/none")
