"""Where `./lab mnist.train` takes data and packages from: the variables that roles read, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from orrery.errors import ConfigurationError
from orrery.mnist.download import Network
from orrery.mnist.train_venv import Origin

GROUP_VARS = Path("playbooks") / "group_vars" / "all"


def variables(checkout: Path, inventory: Path, extra: Iterable[str]) -> dict[str, Any]:
    """The lab-wide variables; the later of playbooks, inventory and `-e` wins.

    Only plain values are meant: templates are not rendered.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    found: dict[str, Any] = {}
    folder = inventory if inventory.is_dir() else inventory.parent
    places = [
        *sorted((checkout / GROUP_VARS).glob("*.yml")),
        folder / "group_vars" / "all.yml",
        *sorted((folder / "group_vars" / "all").glob("*.yml")),
    ]
    for place in places:
        if place.is_file():
            found.update(_read(place))
    for text in extra:
        if text.startswith("@"):
            found.update(_read(Path(text[1:]).expanduser()))
        else:
            name, _, value = text.partition("=")
            found[name] = value
    return found


def mnist_sources(values: Mapping[str, Any]) -> list[str]:
    """`mnist_source`, which may be one source or a list."""
    given = values.get("mnist_source") or []
    return [given] if isinstance(given, str) else [str(entry) for entry in given]


def network(values: Mapping[str, Any]) -> Network:
    """Proxy and certificates for downloads."""
    return Network(_text(values, "lab_http_proxy"), _text(values, "lab_ca_bundle"))


def origin(values: Mapping[str, Any]) -> Origin:
    """Where the training venv's packages come from."""
    return Origin(
        torch_source=_text(values, "lab_torch_source"),
        torch_sha256=_text(values, "lab_torch_checksum"),
        wheel_dir=_text(values, "lab_wheel_dir"),
        ca_bundle=_text(values, "lab_ca_bundle"),
        proxy=_text(values, "lab_http_proxy"),
    )


def _text(values: Mapping[str, Any], name: str) -> str:
    return str(values.get(name) or "")


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    return data if isinstance(data, dict) else {}
