"""The scripts that draw the documents' pictures, and what a reader can make out of a picture."""

from __future__ import annotations

import importlib
import re
import sys
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

from tests.contracts import tree

FOLDER = tree.ROOT / "docs" / "img"
SVG = "{http://www.w3.org/2000/svg}"


def script(name: str) -> ModuleType:
    """A script of docs/img; they import each other as they do when they are run."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


def words(svg: str) -> list[str]:
    """Every text of a picture."""
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def too_wide(picture: Any) -> list[str]:
    """Boxes with a text that is wider than they are, in the widest of the fonts."""
    drawing = script("drawing")
    return [
        item.title
        for item in picture.items
        if isinstance(item, drawing.Box)
        and max(9.2 * len(item.title), *(7.6 * len(line) for line in item.lines), 0) > item.width
    ]


def overlapping(svg: str) -> list[tuple[str, str]]:
    """Pairs of texts that lie on each other."""
    places = []
    for text in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        kinds = text.attrib["class"].split()
        width = (8.4 if "title" in kinds or "area" in kinds else 7.2) * len(text.text or "")
        left = float(text.attrib["x"]) - (width / 2 if "middle" in kinds else 0)
        places.append((left, left + width, float(text.attrib["y"]), text.text or ""))
    return [
        (one[3], other[3])
        for number, one in enumerate(places)
        for other in places[:number]
        if one[0] < other[1] and other[0] < one[1] and abs(one[2] - other[2]) < 13
    ]


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two `#rrggbb` colours."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """How bright a `#rrggbb` colour is, from 0 to 1."""
    assert re.fullmatch(r"#[0-9a-f]{6}", colour)
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
