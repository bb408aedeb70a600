"""The Docker command line for modules of this project.

The client is used, not the socket: it is there wherever the daemon is, works with every daemon
from 20.10 on, and needs no Python package on the host.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAB_LABEL = "orrery.lab"

# A client with BuildKit as its default would look for a builder this project never uses.
_ENVIRONMENT = {"LC_ALL": "C", "DOCKER_BUILDKIT": "0", "DOCKER_CLI_HINTS": "false"}


class DockerError(Exception):
    """The client, or the daemon behind it, did not do what was asked."""


@dataclass(frozen=True)
class Answer:
    """What a call of the client left: exit code and both streams."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Docker:
    """One daemon, reached through its socket.

    Attributes:
        socket: Path of the daemon's Unix socket.
    """

    socket: str

    @property
    def usable(self) -> bool:
        """Whether client and socket are there; false on a bare host in check mode."""
        return shutil.which("docker") is not None and Path(self.socket).is_socket()

    def try_call(self, *arguments: str, timeout_s: float = 60, stdin: Any = None) -> Answer:
        """Run `docker` with these arguments and return what came, whatever its exit code.

        Args:
            *arguments: Words of the command line.
            timeout_s: Bound of the call [s]; past it the client is killed.
            stdin: Open file that becomes the client's standard input.

        Raises:
            DockerError: There is no client, or it took longer than `timeout_s`.
        """
        command = shutil.which("docker")
        if command is None:
            raise DockerError("docker: no such program on PATH. The role docker installs it.")
        environment = {**os.environ, **_ENVIRONMENT, "DOCKER_HOST": f"unix://{self.socket}"}
        environment.pop("DOCKER_CONTEXT", None)
        try:
            done = subprocess.run(
                [command, *arguments],
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                capture_output=True,
                timeout=timeout_s,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DockerError(
                f"docker {' '.join(arguments[:3])}: no answer within {timeout_s:.0f} s."
            ) from error
        return Answer(done.returncode, _text(done.stdout), _text(done.stderr))

    def call(self, *arguments: str, timeout_s: float = 60, stdin: Any = None) -> str:
        """Run `docker` with these arguments and return its standard output, stripped.

        Raises:
            DockerError: The call failed; the text holds command, exit code and last lines.
        """
        answer = self.try_call(*arguments, timeout_s=timeout_s, stdin=stdin)
        if answer.code != 0:
            lines = (answer.err or answer.out).strip().splitlines()[-8:]
            raise DockerError(
                f"docker {' '.join(arguments[:4])} ended with {answer.code}: " + " | ".join(lines)
            )
        return answer.out.strip()

    def inspect(self, kind: str, *names: str) -> list[dict[str, Any]]:
        """Descriptions of those of these objects (`image`, `network`...) that exist."""
        if not names:
            return []
        answer = self.try_call(kind, "inspect", *names)
        try:
            found = json.loads(answer.out or "[]")
        except ValueError as error:
            raise DockerError(f"docker {kind} inspect answered no JSON: {answer.err}") from error
        if answer.code != 0 and not found and not _says_missing(answer.err):
            raise DockerError(
                f"docker {kind} inspect ended with {answer.code}: {answer.err.strip()}"
            )
        return list(found)

    def labels(self, image: str) -> dict[str, str] | None:
        """Labels of an image, or None where there is no such image."""
        found = self.inspect("image", image)
        return dict((found[0].get("Config") or {}).get("Labels") or {}) if found else None

    def images(self, **labels: str) -> list[str]:
        """References (or ids, where untagged) of all images with these labels."""
        filters = [f"--filter=label={key}={value}" for key, value in labels.items()]
        ids = self.call("images", "--all", "--quiet", "--no-trunc", *filters).split()
        names: list[str] = []
        for image in self.inspect("image", *dict.fromkeys(ids)):
            names.extend(image.get("RepoTags") or [image["Id"]])
        return names

    def remove_images(self, names: list[str]) -> tuple[list[str], list[str]]:
        """Remove images that nothing uses; returns those removed and those still in use."""
        waiting = list(names)
        # A child keeps its parent, so another round follows for as long as one goes.
        while True:
            kept = [name for name in waiting if self.try_call("rmi", name).code != 0]
            gone = len(kept) < len(waiting)
            waiting = kept
            if not (gone and kept):
                break
        left = [name for name in waiting if self.inspect("image", name)]
        return [name for name in names if name not in left], left


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _says_missing(stderr: str) -> bool:
    return "No such" in stderr or "not found" in stderr
