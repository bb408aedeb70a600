"""Keys of one lab: the one that people come in with, and the one that its machines show."""

from __future__ import annotations

import base64
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orrery import shell
from orrery.errors import HostError
from orrery.guest.image.needs import MissingProgramError

HOST_ALIAS = "orrery-guest"
KIND = b"ssh-ed25519"
OPENSSH_MAGIC = b"openssh-key-v1\0"
KEYGEN, KEYGEN_PACKAGES = "ssh-keygen", ("openssh-client",)
KEYGEN_TIMEOUT_S = 20
MODES = {"id_ed25519": 0o600, "id_ed25519.pub": 0o600, "host_key": 0o600, "known_hosts": 0o600}


@dataclass(frozen=True)
class Style:
    """How the keys of one kind of machine look.

    Attributes:
        what: For messages and the keys' comments, `guest`.
        alias: Name of the machine in `known_hosts`.
        dropbear: Whether the host key has dropbear's format; OpenSSH's otherwise.
    """

    what: str
    alias: str
    dropbear: bool


GUESTS = Style("guest", HOST_ALIAS, dropbear=True)


def ensure(folder: Path, lab_name: str, *, check: bool, style: Style = GUESTS) -> bool:
    """Have both keys; what is there is never replaced.

    Args:
        folder: Theirs.
        lab_name: Named in the keys.
        check: Whether nothing is made.
        style: Of the machine that they are for.

    Returns:
        Whether something was made, or would be.

    Raises:
        HostError: Half of a pair is missing, or keys cannot be made.
    """
    there = {name for name in MODES if (folder / name).is_file()}
    pairs = [("id_ed25519", "id_ed25519.pub"), ("host_key", "known_hosts")]
    for private, public in pairs:
        if (private in there) != (public in there):
            found, missing = (private, public) if private in there else (public, private)
            raise HostError(
                f"{style.what} keys: {folder / found} is there without {missing}. Put that back, "
                f"or remove both; a {style.what} that runs knows the old ones only."
            )
    new = [private for private, _ in pairs if private not in there]
    loose = [
        path
        for path, mode in [(folder, 0o700), *((folder / name, MODES[name]) for name in there)]
        if path.exists() and path.stat().st_mode & 0o777 != mode
    ]
    if check:
        return bool(new or loose)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for path in loose:
        path.chmod(MODES.get(path.name, 0o700))
    for private in new:
        _generate(folder, private, lab_name, style)
    return bool(new or loose)


def _generate(folder: Path, private: str, lab_name: str, style: Style) -> None:
    why = f"the lab makes keys for its {style.what}s"
    MissingProgramError.look_for(KEYGEN, KEYGEN_PACKAGES, why)
    # A folder beside: keys are there whole or not at all.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as name:
        made = Path(name) / "key"
        argv = [KEYGEN, "-q", "-t", "ed25519", "-N", "", "-C", f"{lab_name} {style.what}s"]
        shell.run([*argv, "-f", made], timeout_s=KEYGEN_TIMEOUT_S)
        public = made.with_suffix(".pub")
        if private == "host_key":
            if style.dropbear:
                made.write_bytes(dropbear_key(made.read_text(encoding="ascii")))
            kind, key, *_ = public.read_text(encoding="ascii").split()
            public.write_text(f"{style.alias} {kind} {key}\n", encoding="ascii")
        names = {"host_key": "known_hosts"}
        for path, target in ((public, names.get(private, f"{private}.pub")), (made, private)):
            path.chmod(MODES[target])
            path.replace(folder / target)


def dropbear_key(openssh: str) -> bytes:
    """An Ed25519 key in dropbear's format, from an OpenSSH private key without a passphrase.

    The formats: PROTOCOL.key of OpenSSH; dropbear writes the kind, and secret and public half in
    one string.

    Raises:
        ValueError: It is another kind of key.
    """
    body = "".join(line for line in openssh.splitlines() if not line.startswith("-----"))
    data = base64.b64decode(body)
    if not data.startswith(OPENSSH_MAGIC):
        raise ValueError("no private key of OpenSSH")
    cipher, rest = _string(data[len(OPENSSH_MAGIC) :])
    if cipher != b"none":
        raise ValueError("the private key has a passphrase")
    _, rest = _string(rest)  # key derivation
    _, rest = _string(rest)  # its options
    _, rest = _string(rest[4:])  # behind the number of keys: the public key
    secret, _ = _string(rest)
    kind, rest = _string(secret[8:])  # behind two check numbers
    if kind != KIND:
        raise ValueError(f"a key of kind {kind.decode(errors='replace')}, not {KIND.decode()}")
    _, rest = _string(rest)  # the public half
    halves, _ = _string(rest)
    return b"".join(struct.pack(">I", len(part)) + part for part in (KIND, halves))


def _string(data: bytes) -> tuple[bytes, bytes]:
    """One string of SSH's data types (RFC 4251, section 5), and what is behind it."""
    (length,) = struct.unpack_from(">I", data)
    return data[4 : 4 + length], data[4 + length :]
