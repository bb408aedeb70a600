from __future__ import annotations

import base64
import shutil
import struct
from pathlib import Path

import pytest

from orrery.errors import HostError
from orrery.guest.image import keys
from orrery.guest.image.needs import MissingProgramError

needs_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen: install openssh-client"
)


@needs_keygen
def test_keys_are_made_once_with_closed_modes(tmp_path: Path) -> None:
    folder = tmp_path / "guests"
    assert keys.ensure(folder, "lab", check=True)
    assert not folder.exists()
    assert keys.ensure(folder, "lab", check=False)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == set(keys.MODES)
    assert not keys.ensure(folder, "lab", check=False)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert before["id_ed25519.pub"].endswith(b"lab guests\n")
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    (folder / "host_key").chmod(0o644)
    assert keys.ensure(folder, "lab", check=True)
    assert keys.ensure(folder, "lab", check=False)
    assert (folder / "host_key").stat().st_mode & 0o777 == 0o600


@needs_keygen
def test_the_host_key_is_the_one_that_is_known(tmp_path: Path) -> None:
    keys.ensure(tmp_path / "guests", "lab", check=False)
    host_key = (tmp_path / "guests/host_key").read_bytes()
    alias, kind, public = (tmp_path / "guests/known_hosts").read_text().split()
    assert (alias, kind) == ("orrery-guest", "ssh-ed25519")
    assert host_key[:19] == struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 64)
    assert host_key.endswith(base64.b64decode(public)[-32:])
    assert len(host_key) == 83


def test_half_a_pair_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "id_ed25519").write_text("secret")
    with pytest.raises(HostError) as caught:
        keys.ensure(tmp_path, "lab", check=False)
    assert f"{tmp_path}/id_ed25519 is there without id_ed25519.pub" in str(caught.value)
    assert "Put that back, or remove both" in str(caught.value)
    assert (tmp_path / "id_ed25519").read_text() == "secret"


def test_a_missing_program_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/none")
    with pytest.raises(MissingProgramError, match=r"ssh-keygen is not there.*openssh-client\."):
        keys.ensure(tmp_path, "lab", check=False)


def test_what_is_no_key_of_this_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no private key of OpenSSH"):
        keys.dropbear_key("-----BEGIN X-----\nAAAA\n-----END X-----\n")
