"""What matplotlib writes as SVG becomes part of a page that is light or dark.

Plots are drawn in marker colours (`INK`, `MUTED`, `GRID`, `series(n)`). Here each of them is
replaced by a custom property of the page's CSS, `var(--ink)`, so that the page's colour scheme
decides; fonts are the page's, too. Names inside a plot get its key as a prefix, as a page has
several.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

INK, MUTED, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
PROPERTIES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
}

_NAMESPACE = re.compile(r"^\{[^}]*\}")
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_FONT_FAMILY = re.compile(r"font-family:[^;]*(?:;\s*|$)")
# XML 1.0 has no way to write these, nor has UTF-8 one for half a pair.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def series(number: int) -> str:
    """Marker colour of a series."""
    return f"#0a00{number:02x}"


def printable(text: str) -> str:
    """The text with a replacement for every character that no page can hold."""
    return _UNPRINTABLE.sub("\ufffd", text)


def adopt(text: str, key: str, finding: str) -> str:
    """Make a plot part of a page.

    Args:
        text: What matplotlib wrote.
        key: Prefix of all names in it.
        finding: What the plot shows, for those who do not see it.
    """
    # The text comes from matplotlib in this process; there is no foreign entity in it.
    root = ElementTree.fromstring(text)  # noqa: S314 - see above
    _remove(root, {"metadata", "style"})
    used = {name for one in root.iter() for name in _references(one)}
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        attributes = dict(element.attrib)
        element.attrib.clear()
        for name, value in attributes.items():
            plain = _NAMESPACE.sub("", name)
            if plain == "id" and value not in used:
                continue
            element.set(plain, _value(plain, value, key))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("class", "plot")
    root.set("role", "img")
    root.set("aria-label", printable(finding))
    return ElementTree.tostring(root, encoding="unicode")


def _value(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name == "href":
        return f"#{key}-{value.removeprefix('#')}"
    if name == "style":
        value = _FONT_FAMILY.sub("", value)
        value = _COLOUR.sub(lambda found: _property(found[0]), value)
    return _REFERENCE.sub(lambda found: f"url(#{key}-{found[1]})", value)


def _property(colour: str) -> str:
    if colour.startswith("#0a00"):
        return f"var(--series-{int(colour[5:], 16)})"
    return PROPERTIES.get(colour, "var(--ink)")


def _references(element: ElementTree.Element) -> set[str]:
    found = set()
    for name, value in element.attrib.items():
        if name.endswith("href"):
            found.add(value.removeprefix("#"))
        found |= set(_REFERENCE.findall(value))
    return found


def _remove(root: ElementTree.Element, tags: set[str]) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if _NAMESPACE.sub("", child.tag) in tags:
                parent.remove(child)
