"""What the pictures of the documents are drawn with: boxes, areas, arrows, one style.

Standard library only, no date and no random identifier, so that the same source always makes the
same bytes; `tests/unit/docs` compares the two. A picture has its own background and follows
`prefers-color-scheme`, so it can be read on light and on dark pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

LIGHT = {
    "page": "#ffffff",
    "frame": "#f6f8fa",
    "network": "#e8f1fb",
    "box": "#ffffff",
    "line": "#57606a",
    "edge": "#8c959f",
    "accent": "#0a58a8",
    "text": "#1f2328",
    "quiet": "#57606a",
}
DARK = {
    "page": "#0d1117",
    "frame": "#161b22",
    "network": "#14263c",
    "box": "#0d1117",
    "line": "#9da7b1",
    "edge": "#6e7681",
    "accent": "#79b8ff",
    "text": "#e6edf3",
    "quiet": "#a3adb8",
}
LINE_PX = 18


@dataclass(frozen=True)
class Box:
    """A named thing: a title and lines about it; coordinates and sizes in pixels."""

    x: int
    y: int
    width: int
    height: int
    title: str
    lines: Sequence[str] = ()
    style: str = "box"
    mono: bool = False

    def svg(self) -> list[str]:
        """The rectangle, its title and its lines."""
        middle = self.x + self.width // 2
        top = self.y + (self.height - LINE_PX * len(self.lines)) // 2 + 5
        title = "title mono" if self.mono else "title"
        parts = [
            f'<rect class="{self.style}" x="{self.x}" y="{self.y}" width="{self.width}" '
            f'height="{self.height}" rx="6"/>',
            _text(middle, top, self.title, f"{title} middle"),
        ]
        for index, line in enumerate(self.lines, start=1):
            parts.append(_text(middle, top + LINE_PX * index, line, "small middle"))
        return parts


@dataclass(frozen=True)
class Area:
    """A place that holds boxes; its name is at the bottom, `indent` from the left."""

    x: int
    y: int
    width: int
    height: int
    title: str
    style: str
    indent: int = 24

    def svg(self) -> list[str]:
        """The rectangle and its name."""
        return [
            f'<rect class="{self.style}" x="{self.x}" y="{self.y}" width="{self.width}" '
            f'height="{self.height}" rx="10"/>',
            _text(self.x + self.indent, self.y + self.height - 14, self.title, "area"),
        ]


@dataclass(frozen=True)
class Arrow:
    """A path along points, with an optional label at a place of its own; dashed is no data."""

    points: Sequence[tuple[int, int]]
    label: str = ""
    label_at: tuple[int, int] = (0, 0)
    both_ways: bool = False
    dashed: bool = False

    def svg(self) -> list[str]:
        """The line with its head, and the label."""
        path = " ".join(f"{x},{y}" for x, y in self.points)
        start = ' marker-start="url(#head)"' if self.both_ways else ""
        style = "arrow dashed" if self.dashed else "arrow"
        parts = [f'<polyline class="{style}" points="{path}"{start} marker-end="url(#head)"/>']
        if self.label:
            parts.append(_text(*self.label_at, self.label, "small"))
        return parts


@dataclass(frozen=True)
class Note:
    """A word that belongs to no box; `x` is its middle."""

    x: int
    y: int
    text: str
    mono: bool = False

    def svg(self) -> list[str]:
        """The text."""
        return [_text(self.x, self.y, self.text, f"small {'mono ' if self.mono else ''}middle")]


Item = Area | Box | Arrow | Note


@dataclass(frozen=True)
class Picture:
    """A picture: its size in pixels, what a screen reader says, what is on it."""

    width: int
    height: int
    title: str
    description: str
    items: Sequence[Item]

    def svg(self, light: dict[str, str] = LIGHT, dark: dict[str, str] | None = DARK) -> str:
        """The whole picture as SVG text.

        Args:
            light: Colours where the reader asks for none.
            dark: Colours for readers with a dark scheme; None leaves that rule out.
        """
        dashed = any(isinstance(item, Arrow) and item.dashed for item in self.items)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" '
            'aria-labelledby="title description">',
            f'<title id="title">{escape(self.title)}</title>',
            f'<desc id="description">{escape(self.description)}</desc>',
            *_style(light, dark, dashed=dashed),
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto-start-reverse">'
            '<path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
            f'<rect class="page" width="{self.width}" height="{self.height}" rx="12"/>',
        ]
        for item in self.items:
            parts.extend(item.svg())
        return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: int, y: int, content: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{escape(content)}</text>'


def _rules(colours: dict[str, str]) -> str:
    return " ".join(
        [
            f".page {{ fill: {colours['page']}; }}",
            f".frame {{ fill: {colours['frame']}; stroke: {colours['edge']}; }}",
            f".network {{ fill: {colours['network']}; stroke: {colours['accent']}; }}",
            f".box {{ fill: {colours['box']}; stroke: {colours['line']}; }}",
            f".strong {{ fill: {colours['box']}; stroke: {colours['accent']}; }}",
            f".arrow {{ stroke: {colours['line']}; }}",
            f".head {{ fill: {colours['line']}; }}",
            f".title {{ fill: {colours['text']}; }}",
            f".area {{ fill: {colours['accent']}; }}",
            f".small {{ fill: {colours['quiet']}; }}",
        ]
    )


def _style(light: dict[str, str], dark: dict[str, str] | None, *, dashed: bool) -> list[str]:
    sans = "font-family: 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif;"
    lines = [
        "<style>",
        f"text {{ {sans} font-size: 13px; }}",
        ".title { font-weight: 600; font-size: 15px; }",
        ".area { font-weight: 600; font-size: 14px; }",
        ".mono { font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; }",
        ".middle { text-anchor: middle; }",
        ".frame, .box { stroke-width: 1; }",
        ".network { stroke-width: 1; stroke-dasharray: 5 4; }",
        ".strong { stroke-width: 2; }",
        ".arrow { fill: none; stroke-width: 1.5; }",
        *([".dashed { stroke-dasharray: 5 4; }"] if dashed else []),
        _rules(light),
    ]
    if dark is not None:
        lines.append(f"@media (prefers-color-scheme: dark) {{ {_rules(dark)} }}")
    return [*lines, "</style>"]
