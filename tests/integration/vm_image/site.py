"""A site of images on loopback, a key that signs its lists, and the program as roles call it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from orrery import shell

NAME = "disk.qcow2"


@dataclass
class Site:
    """Files that are served, by path.

    Attributes:
        cut: Paths of which only half arrives.
        asked: Paths that were asked for.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def publish(self, disk: bytes, listed: bytes | None = None) -> None:
        """Serve a disk, and a list with the checksum of `listed`."""
        digits = hashlib.sha256(disk if listed is None else listed).hexdigest()
        self.files[f"/{NAME}"] = disk
        self.files["/SHA256SUMS"] = f"{digits} *{NAME}\n".encode()

    def entry(self, **more: str) -> dict[str, str]:
        """What a catalogue says of the disk."""
        return {
            "title": "Some system",
            "system": "debian",
            "release": "some",
            "url": f"{self.url}/{NAME}",
            "checksum_url": f"{self.url}/SHA256SUMS",
            **more,
        }


def server(site: Site) -> ThreadingHTTPServer:
    """A server of a site's files; its URL is written into the site."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            site.asked.append(self.path)
            data = site.files.get(self.path)
            if data is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data[: len(data) // 2] if self.path in site.cut else data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base's name)
            """Say nothing."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{made.server_address[1]}"
    return made


@dataclass(frozen=True)
class Answer:
    """What the program answered."""

    code: int
    data: dict[str, Any]
    error: str


@dataclass(frozen=True)
class Images:
    """The program, with a catalogue of one image."""

    folder: Path
    python: str

    @property
    def cache(self) -> Path:
        """Where images go."""
        return self.folder / "cache"

    def argv(self, name: str, entries: dict[str, dict[str, str]], *more: str) -> list[str]:
        """Its command line."""
        path = self.folder / "images.json"
        path.write_text(json.dumps(entries), encoding="utf-8")
        argv = [self.python, "-m", "orrery.vm.image", "ensure", "--name", name]
        return [*argv, "--catalogue", str(path), "--cache", str(self.cache), *more]

    def ensure(self, entry: dict[str, str], *more: str) -> Answer:
        """Have the image `some-1`."""
        return self.run(self.argv("some-1", {"some-1": entry}, *more))

    def run(self, argv: list[str], timeout_s: float = 600) -> Answer:
        """Run it to its end."""
        done = shell.run(argv, timeout_s=timeout_s, check=False)
        data = json.loads(done.stdout) if done.stdout else {}
        return Answer(done.returncode, data, done.stderr)

    def left(self) -> list[str]:
        """What is in the cache of images besides its lock."""
        folder = self.cache / "vm"
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
        return sorted(set(names) - {"lock"})


@dataclass(frozen=True)
class Signer:
    """A key and who holds it."""

    home: Path
    fingerprint: str
    keyring: Path

    def _gpg(self, *words: str | Path) -> str:
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--yes"]
        argv += ["--pinentry-mode", "loopback", "--passphrase", ""]
        return shell.run([*argv, *words], timeout_s=60).stdout

    def detached(self, text: bytes) -> bytes:
        """Signature of a text."""
        path = self.home / "text"
        path.write_bytes(text)
        self._gpg("--local-user", self.fingerprint, "--detach-sign", path)
        return path.with_suffix(".sig").read_bytes()

    def inline(self, text: bytes) -> bytes:
        """A text with its signature in it."""
        path = self.home / "text"
        path.write_bytes(text)
        self._gpg("--local-user", self.fingerprint, "--clear-sign", path)
        return path.with_suffix(".asc").read_bytes()

    @classmethod
    def make(cls, home: Path, name: str) -> Signer:
        """Make a key."""
        home.mkdir(mode=0o700)
        signer = cls(home, "", home / "keyring.asc")
        signer._gpg("--quick-generate-key", f"{name} <{name}@example.com>", "ed25519", "sign")
        listed = signer._gpg("--with-colons", "--list-keys")
        fingerprint = next(
            line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")
        )
        signer.keyring.write_text(signer._gpg("--armor", "--export"), encoding="ascii")
        return cls(home, fingerprint, signer.keyring)

    def end(self) -> None:
        """End the agent that gpg started for this key alone."""
        argv = ["gpgconf", "--homedir", str(self.home), "--kill", "gpg-agent"]
        shell.run(argv, timeout_s=30)
