"""Whether a list of checksums is signed by whom it should be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from orrery import shell
from orrery.errors import HostError
from orrery.guest.image.needs import MissingProgramError
from orrery.vm.image.catalogue import Entry

GPG_TIMEOUT_S = 60
VALID = re.compile(r"^\[GNUPG:\] VALIDSIG ([0-9A-F]+)(?: \S+)* ([0-9A-F]+)$", re.MULTILINE)


class SignatureError(HostError):
    """A signature is missing, false, or of somebody else."""


@dataclass(frozen=True)
class Signed:
    """A signed text.

    Attributes:
        text: The file.
        detached: Its signature; None where that is in the text.
        url: Where it came from.
    """

    text: Path
    detached: Path | None
    url: str


def verified(signed: Signed, entry: Entry, keys: Path, work: Path) -> str:
    """The part of a text that the signature vouches for.

    Args:
        signed: The text.
        entry: Names the key that has to have signed.
        keys: File with it.
        work: Folder for gpg's own files.

    Raises:
        SignatureError: It is not signed, by another key, or was changed afterwards.
        MissingProgramError: The file with the key comes with a package that is not there.
    """
    if not keys.is_file():
        if entry.keyring_package:
            packages = (entry.keyring_package,)
            raise MissingProgramError(str(keys), packages, "it has the key", subject="VM image")
        raise SignatureError(f"VM image: there is no {keys}, which should have the signing key.")
    home = work / "gpg"
    home.mkdir(mode=0o700, exist_ok=True)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--no-autostart", "--no-auto-key-locate"]
    shell.run([*gpg, "--quiet", "--import", keys], timeout_s=GPG_TIMEOUT_S, check=False)
    out = work / "verified"
    out.unlink(missing_ok=True)
    argv: list[str | Path] = [*gpg, "--status-fd", "1"]
    if signed.detached is not None:
        argv += ["--verify", signed.detached, signed.text]
    else:
        argv += ["--output", out, "--decrypt", signed.text]
    done = shell.run(argv, timeout_s=GPG_TIMEOUT_S, check=False)
    signers = {one for found in VALID.findall(done.stdout) for one in found}
    key = entry.signing_key.replace(" ", "").upper()
    if done.returncode != 0 or key not in signers:
        raise SignatureError(
            f"VM image: {signed.url} is not signed by {key} ({_reason(done.stdout, signers)}). It "
            "was changed on the way, or the key is a new one: compare vm_images."
            f"{entry.name}.signing_key with what {entry.title}'s makers publish."
        )
    source = signed.text if signed.detached is not None else out
    return source.read_text(encoding="utf-8", errors="replace")


def _reason(status: str, signers: set[str]) -> str:
    words = {
        "BADSIG": "the signature does not fit the text",
        "NO_PUBKEY": "it is signed by a key that is not in the keyring",
        "EXPKEYSIG": "the key has expired",
        "REVKEYSIG": "the key was revoked",
        "NODATA": "there is no signature",
    }
    for word, text in words.items():
        if f"[GNUPG:] {word}" in status:
            return text
    return f"it is signed by {', '.join(sorted(signers))}" if signers else "gpg refused it"
