"""The source of architecture.svg: `python docs/img/architecture.py` writes it beside this file.

Standard library only, no date and no random identifier, so that the same source always makes the
same bytes; `tests/unit/docs` compares the two. The picture has its own background and follows
`prefers-color-scheme`, so it can be read on light and on dark pages.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH = 960
HEIGHT = 588
TARGET = Path(__file__).with_suffix(".svg")

TITLE = "Orrery: what ./lab up builds on one host"
DESCRIPTION = (
    "The lab command drives Ansible, which builds the host; clients talk to the functions engine "
    "on port 3233, the engine runs actions in Docker containers on the lab's own network, and the "
    "actions read images from the file server on port 3240."
)

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
        top = self.y + (self.height - 18 * len(self.lines)) // 2 + 5
        title = "title mono" if self.mono else "title"
        parts = [
            f'<rect class="{self.style}" x="{self.x}" y="{self.y}" width="{self.width}" '
            f'height="{self.height}" rx="6"/>',
            _text(middle, top, self.title, f"{title} middle"),
        ]
        for index, line in enumerate(self.lines, start=1):
            parts.append(_text(middle, top + 18 * index, line, "small middle"))
        return parts


@dataclass(frozen=True)
class Area:
    """A place that holds boxes, with its name in the bottom left corner, clear of arrows."""

    x: int
    y: int
    width: int
    height: int
    title: str
    style: str

    def svg(self) -> list[str]:
        """The rectangle and its name."""
        return [
            f'<rect class="{self.style}" x="{self.x}" y="{self.y}" width="{self.width}" '
            f'height="{self.height}" rx="10"/>',
            _text(self.x + 24, self.y + self.height - 14, self.title, "area"),
        ]


@dataclass(frozen=True)
class Arrow:
    """A path along points, with an optional label at a place of its own."""

    points: Sequence[tuple[int, int]]
    label: str = ""
    label_at: tuple[int, int] = (0, 0)
    both_ways: bool = False

    def svg(self) -> list[str]:
        """The line with its head, and the label."""
        path = " ".join(f"{x},{y}" for x, y in self.points)
        start = ' marker-start="url(#head)"' if self.both_ways else ""
        parts = [f'<polyline class="arrow" points="{path}"{start} marker-end="url(#head)"/>']
        if self.label:
            parts.append(_text(*self.label_at, self.label, "small"))
        return parts


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


def _style(light: dict[str, str], dark: dict[str, str] | None) -> list[str]:
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
        _rules(light),
    ]
    if dark is not None:
        lines.append(f"@media (prefers-color-scheme: dark) {{ {_rules(dark)} }}")
    return [*lines, "</style>"]


def _picture() -> list[Area | Box | Arrow]:
    return [
        Box(24, 20, 300, 62, "./lab up", ("runs site.yml and sums up",), mono=True),
        Box(
            384,
            20,
            552,
            62,
            "./lab mnist.classify  mnist.evaluate  whisk.bench",
            ("or wsk, or curl: any client of the OpenWhisk REST API",),
            mono=True,
        ),
        Area(24, 112, 912, 456, "one Ubuntu or Debian host", "frame"),
        Box(
            48,
            136,
            252,
            254,
            "Ansible roles",
            (
                "preflight: asserts, no changes",
                "docker and function network",
                "base image, action images",
                "engine as a service",
                "file server as a service",
                "classify with its model",
                "verify: ten digits, ten right",
            ),
        ),
        Box(
            384,
            136,
            528,
            84,
            "functions engine, port 3233",
            (
                "OpenWhisk REST API v1: authentication, limits, activations",
                "container pool: cold, warm, paused; time, memory, log",
            ),
            style="strong",
        ),
        Area(384, 262, 528, 128, "function network 10.161.33.0/24, a Docker bridge", "network"),
        Box(400, 276, 148, 74, "container", ("any action",)),
        Box(572, 276, 148, 74, "container", ("classify: LeNet-5",)),
        Box(756, 276, 140, 74, "file server", ("nginx, port 3240",)),
        Box(48, 438, 252, 84, "state, mode 0600", ("/var/lib/orrery/state.json", "read by down")),
        Box(384, 438, 240, 84, "store", ("SQLite: actions, activations", "under /var/lib/orrery")),
        Box(672, 438, 240, 84, "records", (".lab/records/*.json", "trials, host, versions")),
        Arrow(((174, 82), (174, 132))),
        Arrow(((648, 82), (648, 132)), "HTTP on 127.0.0.1, uuid:key", (660, 102)),
        Arrow(((300, 178), (380, 178)), "install", (318, 170)),
        Arrow(((174, 390), (174, 434)), "note changes", (184, 417)),
        Arrow(((474, 220), (474, 272)), "/init, /run", (484, 246)),
        Arrow(((646, 220), (646, 272))),
        Arrow(((720, 313), (752, 313))),
        Arrow(((384, 204), (342, 204), (342, 480), (380, 480))),
        Arrow(((936, 51), (948, 51), (948, 480), (916, 480))),
    ]


def render(light: dict[str, str] = LIGHT, dark: dict[str, str] | None = DARK) -> str:
    """The whole picture as SVG text.

    Args:
        light: Colours where the reader asks for none.
        dark: Colours for readers with a dark scheme; None leaves that rule out.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(TITLE)}</title>',
        f'<desc id="description">{escape(DESCRIPTION)}</desc>',
        *_style(light, dark),
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto-start-reverse">'
        '<path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="12"/>',
    ]
    for item in _picture():
        parts.extend(item.svg())
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> int:
    """Write the picture beside this file."""
    TARGET.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
