"""Short names of scenarios in tables: what all have in common is said once. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orrery.measure.scenario import words

WIDTH = 30
"""Columns that a table of 100 has for a label."""

PLAIN = "plain"
"""The one of a section that sets nothing which the others set."""

_BARE_NOT = {"none", "yes", "no", "auto"}
"""Values that say nothing without their key."""


@dataclass(frozen=True)
class Labels:
    """Names for the eye; a record's own names stay what they are.

    Attributes:
        common: What all scenarios share, kind first.
        sections: By the name of a scenario: what heads the lines it stands among; may be empty.
        shorts: By the name of a scenario: what tells it from the others of its section.
    """

    common: str
    sections: Mapping[str, str]
    shorts: Mapping[str, str]
    _words: Mapping[str, Mapping[str, str]]

    def full(self, name: str) -> str:
        """Section and short name in one, or the whole name where it is not known."""
        if name not in self.shorts:
            return name
        return " ".join(filter(None, (self.sections[name], self.shorts[name]))) or name

    def pair(self, a: str, b: str) -> tuple[str, str]:
        """What two scenarios differ in, `vhost-user / virtio-net-ovs`, and what they share."""
        if a not in self._words or b not in self._words:
            return f"{self.full(a)} / {self.full(b)}", ""
        one, other = self._words[a], self._words[b]
        shared = {key: word for key, word in one.items() if other.get(key) == word}
        sides = [
            " ".join(word for key, word in side.items() if key not in shared) or PLAIN
            for side in (one, other)
        ]
        return " / ".join(sides), " ".join(shared.values())


def labels(scenarios: Mapping[str, Mapping[str, Any]], width: int = WIDTH) -> Labels:
    """Labels of scenarios, given their parameters by name, in the order of the table.

    Parameters that change least from line to line go into headings of sections, as many as it
    takes for the rest to fit the width; not where kinds differ.
    """
    written = {name: words(parameters) for name, parameters in scenarios.items()}
    kinds = {name: _kind(name, list(found.values())) for name, found in written.items()}
    common = _common(list(written.values()))
    bare = _bare(scenarios)
    own = {
        name: {
            **({"": kinds[name]} if len(set(kinds.values())) > 1 and kinds[name] else {}),
            **{key: bare.get(word, word) for key, word in found.items() if key not in common},
        }
        for name, found in written.items()
    }
    # Scenarios of several kinds have too little in common for sections.
    heads = _heads(list(own.values()), width) if len(set(kinds.values())) == 1 else []
    kind = [next(iter(kinds.values()))] if len(set(kinds.values())) == 1 else []
    return Labels(
        common=" ".join([*kind, *common.values()]).strip(),
        sections={name: _join(found, heads, inside=True) for name, found in own.items()},
        shorts={
            name: _join(found, heads, inside=False) or (PLAIN if len(own) > 1 else "")
            for name, found in own.items()
        },
        _words=own,
    )


def _kind(name: str, found: Sequence[str]) -> str:
    """What a name has in front of its parameters."""
    return name.removesuffix(" ".join(found)).strip()


def _common(written: Sequence[Mapping[str, str]]) -> dict[str, str]:
    if not written:
        return {}
    first, *others = written
    return {key: word for key, word in first.items() if all(o.get(key) == word for o in others)}


def _bare(scenarios: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Words whose value alone says enough: a text that only one parameter has."""
    keys: dict[str, set[str]] = {}
    for parameters in scenarios.values():
        for key, value in parameters.items():
            if isinstance(value, str):
                keys.setdefault(value, set()).add(key)
    return {
        f"{key}={value}": value
        for value, found in keys.items()
        for key in found
        if len(found) == 1 and value not in _BARE_NOT and not value[:1].isdigit() and value
    }


def _heads(own: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """Parameters that head sections: the steadiest first, until the rest fits."""
    keys = list(dict.fromkeys(key for found in own for key in found))
    changes = {
        key: sum(a.get(key) != b.get(key) for a, b in itertools.pairwise(own)) for key in keys
    }
    heads: list[str] = []
    for key in sorted(keys, key=lambda key: changes[key]):
        longest = max((len(_join(found, heads, inside=False)) for found in own), default=0)
        if longest <= width or len(heads) == len(keys) - 1:
            break
        heads.append(key)
    return heads


def _join(found: Mapping[str, str], heads: Sequence[str], *, inside: bool) -> str:
    return " ".join(word for key, word in found.items() if (key in heads) == inside)
