"""The picture in the README is what its source makes."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "docs" / "img" / "architecture.py"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def architecture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("orrery_docs_architecture", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_committed_picture_is_what_the_source_makes(architecture: ModuleType) -> None:
    committed = SOURCE.with_suffix(".svg").read_text(encoding="utf-8")
    assert committed == architecture.render(), "run: .venv/bin/python docs/img/architecture.py"


def test_the_picture_is_the_same_each_time(architecture: ModuleType) -> None:
    assert architecture.render() == architecture.render()


def test_the_picture_is_well_formed_and_described(architecture: ModuleType) -> None:
    root = ElementTree.fromstring(architecture.render())
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert title.text == architecture.TITLE
    assert description is not None
    assert description.text == architecture.DESCRIPTION


def test_no_text_is_wider_than_its_box(architecture: ModuleType) -> None:
    too_wide = []
    for item in architecture._picture():
        if isinstance(item, architecture.Box):
            widths = [9.2 * len(item.title), *(7.6 * len(line) for line in item.lines)]
            if max(widths) > item.width:
                too_wide.append(item.title)
    assert not too_wide


def test_both_schemes_have_enough_contrast(architecture: ModuleType) -> None:
    for colours in (architecture.LIGHT, architecture.DARK):
        for text, ground in (("text", "box"), ("quiet", "frame"), ("accent", "network")):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground, colours)


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two `#rrggbb` colours."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    assert re.fullmatch(r"#[0-9a-f]{6}", colour)
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
